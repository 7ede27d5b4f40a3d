# SPDX-License-Identifier: MIT
"""The in-loop filter of B-frames that a B-frame codec carries.

What is exported is the codec named in the recipe with this filter in place of its own; nothing else of it changes.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...bframe.loop_filter import LoopFilter, best_strengths, nearest, strengthened
from ...bframe.neighbour_filter import NeighbourFilter
from ...bframe.postfilter import PLANES
from ...models import store
from ...models.neighbour_file import load_neighbour
from ...models.open import load as load_model
from ...models.registry import find
from ...video.colour import packed, unpacked
from ..data import Library
from ..loop_filter_samples import LoopFilterSampler, LoopFilterTraining, held_out
from ..precision import mixed_precision
from ..run import Run
from ..sampling import Batch
from ..task import Items, Task, Validation
from .neighbour import take_over
from .postfilter import carrier_of, decibels, export_with, remaining

LoopFilterRun = Run[LoopFilter, LoopFilterTraining]


class LoopFilterTask(Task[LoopFilter, LoopFilterTraining]):
    """Learns to take out errors of coded B-frames. The score is what it gains on them, in dB of RGB PSNR."""

    name = "loopfilter"
    decoded = True
    recipe = LoopFilterTraining
    sampler = LoopFilterSampler

    def build(self, config: LoopFilterTraining, device: torch.device) -> LoopFilter:
        """The filter. ModelError unless `init`, if any, holds a filter that it can start from."""
        model = LoopFilter(config.codec)
        if config.init:
            _start(model, find(config.init))
        return model.to(device).to(memory_format=torch.channels_last)

    def losses(self, run: LoopFilterRun, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """What is left of the errors by the noise of anchors, which is minimised, and the gain in dB, about."""
        with mixed_precision(batch.past.device, run.config.bf16):
            change = run.model(batch.past, torch.split(batch.future, PLANES, 1), batch.noise)
        return remaining(batch.target - batch.past, change, batch.noise)

    def items(self, run: LoopFilterRun, library: Library) -> Items:
        """Whole coded B-frames of held-out clips."""
        return {"B-frames": held_out(library, run.config, carrier_of(run.config.base))}

    def validate(self, run: LoopFilterRun, items: Items, device: torch.device) -> Validation:
        """The mean gain in dB of filtering held-out B-frames by the strengths that an encoder sends; the score."""
        with run.averaged() as model:
            gains = [gain(model, item.batch.to(device)) for item in items["B-frames"]]
        return Validation.of_gains(gains, "B-frames")

    def export(self, run: LoopFilterRun, path: Path) -> None:
        """Write the recipe's codec with the averaged weights as its filter. ModelError if it is no B-frame codec."""
        export_with("loop_filter", run, path)


TASK = LoopFilterTask()


@torch.no_grad()
def gain(model: LoopFilter, batch: Batch) -> float:
    """By how many dB of RGB PSNR the filter betters B-frames, before they are rounded, in float32."""
    error, change = batch.target - batch.past, model(batch.past, torch.split(batch.future, PLANES, 1), batch.noise)
    changes, none = unpacked(change), unpacked(torch.zeros_like(change))
    return decibels(error, packed(strengthened(none, changes, best_strengths(changes, unpacked(error)))))


def _start(model: LoopFilter, path: Path) -> None:
    """Weights of a file's filter into a fresh one. ModelError if it holds none that fits."""
    known: NeighbourFilter | None
    if store.holds(path, store.NEIGHBOUR):
        known = nearest(load_neighbour(path))
    else:
        codec = load_model(str(path)).codec
        known = None if codec is None else codec.loop_filter
    take_over(model, known, path, carried="loop filter")
