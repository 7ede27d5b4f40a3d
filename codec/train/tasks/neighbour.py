# SPDX-License-Identifier: MIT
"""The post-filter that sees neighbouring decoded pictures; a weights file of its own is exported.

Any decoded pass will do. Those of strong encoders are what it is for: `codec train decode-passes --strong`.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...bframe.neighbour_filter import EVEN, NeighbourConfig, NeighbourFilter, by_plane
from ...bframe.postfilter import PLANES, PostFilter
from ...errors import ModelError
from ...models import store
from ...models.neighbour_file import load_neighbour, save_neighbour
from ...models.network_file import load_network
from ...models.open import load_file
from ...models.registry import find
from ...video.colour import packed, unpacked
from ..data import Library
from ..neighbour_samples import CPU, NeighbourSampler, NeighbourTraining, compared, held_out
from ..precision import mixed_precision
from ..run import Run, put_parameters
from ..sampling import Batch
from ..task import Items, Task, Validation
from .postfilter import decibels, remaining

USUAL, UNEVEN = 2.0, 1e-4  # of a correction's weight, and what its squared logarithm counts
UNFORESEEN = 0.2  # part of the samples that lack what a network makes of their neighbours

NeighbourRun = Run[NeighbourFilter, NeighbourTraining]


class NeighbourTask(Task[NeighbourFilter, NeighbourTraining]):
    """Learns to take out errors of decoded pictures. The score is what it gains on them, in dB of RGB PSNR."""

    name = "neighbour"
    decoded = strong = True
    recipe = NeighbourTraining
    sampler = NeighbourSampler

    def build(self, config: NeighbourTraining, device: torch.device) -> NeighbourFilter:
        """The filter. ModelError unless `init`, if any, holds a filter that it can start from."""
        name = config.codec.network
        model = NeighbourFilter(config.codec, load_network(find(name), device) if name else None)
        if config.init:
            _start(model, find(config.init))
        return model.to(device).to(memory_format=torch.channels_last)

    def losses(self, run: NeighbourRun, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """What is left of the errors by their noise, which is minimised, and the gain in dB, about."""
        batch = batch if run.config.pictures else compared(batch, run.model.network)
        batch = _perhaps_unforeseen(batch, run.config.codec, rng)
        with mixed_precision(batch.past.device, run.config.bf16):
            added = run.model(batch.past, torch.split(batch.future, PLANES, 1), batch.noise)
        error = batch.target - batch.past
        if run.model.corrections is None:
            return remaining(error, added, batch.noise)
        change, uneven = weighed(error, added, run.config.codec.corrections)
        terms = remaining(error, change, batch.noise)
        return {**terms, "loss": terms["loss"] + UNEVEN * uneven}

    def items(self, run: NeighbourRun, library: Library) -> Items:
        """Whole decoded pictures, `past`, of held-out clips."""
        device = next(run.model.parameters()).device
        found = islice(held_out(library, run.config), run.config.validation_clips)
        network = run.model.network
        return {"pictures": [item._replace(batch=compared(item.batch.to(device), network).to(CPU)) for item in found]}

    def validate(self, run: NeighbourRun, items: Items, device: torch.device) -> Validation:
        """The mean gain in dB of filtering held-out pictures, which is the score."""
        with run.averaged() as model:
            gains = [gain(model, item.batch.to(device)) for item in items["pictures"]]
        return Validation.of_gains(gains, "pictures")

    def export(self, run: NeighbourRun, path: Path) -> None:
        """Write the averaged weights. OutputError if they cannot be written."""
        model = NeighbourFilter(run.config.codec, run.model.network)
        put_parameters(model, run.average)
        save_neighbour(model, path, **run.notes)


TASK = NeighbourTask()


def _perhaps_unforeseen(batch: Batch, config: NeighbourConfig, rng: np.random.Generator) -> Batch:
    """The batch, some of whose samples lack what the network made, as periods do that are better without it."""
    count = PLANES * len(config.places)
    kept = torch.from_numpy(rng.random((len(batch.past), 1, 1, 1)) >= UNFORESEEN).to(batch.future)
    future = torch.cat([batch.future[:, :count], batch.future[:, count:] * kept], 1)
    return batch._replace(future=future)


@torch.no_grad()
def gain(model: NeighbourFilter, batch: Batch) -> float:
    """By how many dB of RGB PSNR the filter betters decoded pictures, before they are rounded, in float32.

    The batch is one that `compared` has made.
    """
    error, added = batch.target - batch.past, model(batch.past, torch.split(batch.future, PLANES, 1), batch.noise)
    return decibels(error, added if model.corrections is None else weighed(error, added, model.config.corrections)[0])


def weighed(error: Tensor, added: Tensor, corrections: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The change (B,6,h,w) with corrections by the weights that leave the least error of the batch, plane by plane.

    `added` (B,6+n,h,w) is what the filter answers. No gradient goes through the weights: where the error is least, it
    does not change with them. A scalar says how far the weights of corrections are from USUAL, in squared logarithms;
    they are coded in eighths.
    """
    planes, uneven = [], added.new_zeros(())
    for maps, wanted in zip(by_plane(added.float(), corrections), unpacked(error), strict=True):
        flat = maps.transpose(0, 1).flatten(1)
        gram, cross = flat @ flat.mT, flat @ wanted.flatten()
        weights = torch.linalg.solve(gram + torch.diag(EVEN * gram.diagonal() + 1e-12), cross)
        planes.append((weights.detach().view(1, -1, 1, 1) * maps).sum(1, keepdim=True))
        uneven = uneven + (weights[1:].square() / USUAL**2 + 1e-6).log().square().sum()
    y, u, v = planes
    return packed((y, u, v)), uneven


def _start(model: NeighbourFilter, path: Path) -> None:
    """Weights of a file's filter into a fresh one. ModelError if it holds none that fits."""
    if store.holds(path, store.NEIGHBOUR):
        known: NeighbourFilter | PostFilter | None = load_neighbour(path)
    else:
        codec = load_file(path).codec
        known = None if codec is None else codec.postfilter
    take_over(model, known, path, carried="post-filter")


def take_over(model: NeighbourFilter, known: NeighbourFilter | PostFilter | None, path: Path, *, carried: str) -> None:
    """The weights of a file's filter into a fresh one. ModelError if it does not fit, or the file has none.

    `carried` is what a B-frame codec in the file should have carried.
    """
    if known is None:
        raise ModelError(f"{path}: neither a B-frame codec with a {carried} nor a filter that sees neighbours")
    try:
        model.start_from(known)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error
