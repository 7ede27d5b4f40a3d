# SPDX-License-Identifier: MIT
"""Several processes that train one network: each works on a share of every batch, and gradients are averaged.

All ranks start from the same weights and apply the same gradient, so their weights, averages and optimisers stay
identical without ever being sent. One exchange a step is all that the plain loop needs to become parallel.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import InputError

PATIENCE = timedelta(hours=3)  # how long ranks wait while the first one decodes a corpus or validates


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is, and its device; by default it is the only one."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that logs, validates and saves."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the means over all ranks into the tensors, in one exchange; the same bits on every rank."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        means = torch.split(flat / self.count, [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; returns when all have asked."""
        if self.count == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(votes)
        return bool(votes > 0)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The ranks that torchrun started, for as long as the context lasts; without torchrun, this process alone."""
    count, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if count == 1:
        yield Ranks(device)
        return
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise InputError(f"{local + 1} processes here, but {count} GPUs; let torchrun start {count} per machine")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(device, dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
