# SPDX-License-Identifier: MIT
"""Where parts of a picture are in a neighbouring one: block matching, coarse to fine, and sampling along it.

No network, and no weights. Both pictures are at hand as they were decoded, so that their motion needs no guessing.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ncm import warp

from ..video.colour import unpacked


class Stage(NamedTuple):
    """One search: of pictures `shrink` times smaller, so many samples to all sides, a vector for every `block`."""

    shrink: int
    radius: int
    block: int  # samples wide and high
    fractions: bool  # whether vectors end between samples


STAGES = (Stage(4, 6, 2, False), Stage(2, 2, 4, True), Stage(1, 2, 4, True))
FARTHEST = sum(stage.shrink * stage.radius for stage in STAGES)  # samples of luma, but for fractions
AROUND = 3  # blocks, across, whose errors count for the one in the middle
SMALLEST = 1e-6  # curvature of costs: equal ones have none, and it divides


def aligned(current: Tensor, neighbour: Tensor) -> Tensor:
    """The packed planes (B,6,h,w) of a neighbour, each sample taken from where the current picture's luma finds it."""
    (here, _, _), (luma, _, _) = unpacked(current), unpacked(neighbour)
    flow = match(here, luma)
    chroma = warp(neighbour[:, 4:], F.avg_pool2d(flow, 2) / 2, mode="bicubic")
    return torch.cat([F.pixel_unshuffle(warp(luma, flow, mode="bicubic"), 2), chroma], 1)


def match(current: Tensor, neighbour: Tensor) -> Tensor:
    """Vectors (B,2,H,W), x first, in samples, from each sample of luma (B,1,H,W) to its like in the neighbour's."""
    height, width = current.shape[2:]
    flow = current.new_zeros(len(current), 2, -(-height // STAGES[0].shrink), -(-width // STAGES[0].shrink))
    before = STAGES[0].shrink
    for stage in STAGES:
        small, other = (_shrunk(picture, stage.shrink) for picture in (current, neighbour))
        times = before // stage.shrink
        flow = _enlarged(flow, times, small) * times
        flow = flow + _search(small, warp(other, flow), stage)
        before = stage.shrink
    return flow


def _moved_by_rows(plane: Tensor, radius: int) -> Iterator[Tensor]:
    """A plane (B,1,H,W) at all n*n places up to `radius` away, (B,n,H,W) for a row of places; edges are repeated.

    They are views. A row at a time, what is made of them stays in the cache.
    """
    height, width = plane.shape[2:]
    padded = F.pad(plane, (radius,) * 4, mode="replicate")
    for y in range(2 * radius + 1):
        yield padded[:, 0, y : y + height].unfold(2, width, 1).transpose(1, 2)


def _search(current: Tensor, neighbour: Tensor, stage: Stage) -> Tensor:
    """Vectors (B,2,H,W) of at most `radius` to the least mean absolute difference of blocks around each sample."""
    costs, best = _costs(current, neighbour, stage)
    across = 2 * stage.radius + 1
    vector = torch.cat([best % across, best // across], 1).to(costs) - stage.radius
    if stage.fractions:
        vector = vector + torch.cat([_fraction(costs, best, across, step) for step in (1, across)], 1)
    return _enlarged(vector, stage.block, current)


def _costs(current: Tensor, neighbour: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Mean absolute differences (B,n*n,h,w) of blocks at all n*n places, row by row, and the best places (B,1,h,w)."""
    if current.device.type == "cpu":
        from .block_errors import block_errors  # a compiler takes its time to import

        return block_errors(current, neighbour, radius=stage.radius, block=stage.block, around=AROUND // 2)
    return costs_by_tensors(current, neighbour, stage)


def costs_by_tensors(current: Tensor, neighbour: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """What `_costs` answers, by tensor operations, for devices that compiled loops are not for."""
    moved = _moved_by_rows(neighbour, stage.radius)
    blocks = [F.avg_pool2d((row - current).abs_(), stage.block, ceil_mode=True) for row in moved]
    costs = F.avg_pool2d(torch.cat(blocks, 1), AROUND, 1, AROUND // 2, count_include_pad=False)
    return costs, costs.argmin(1, keepdim=True)


def _fraction(costs: Tensor, best: Tensor, across: int, step: int) -> Tensor:
    """How far (B,1,h,w), from -0.5 to 0.5, beside the best place a parabola through it and both neighbours is least.

    A step of 1 is along x, one of `across` along y. Nothing at the edge of the search.
    """
    place = best % across if step == 1 else best // across
    inside = (place > 0) & (place < across - 1)
    before, here, after = (costs.gather(1, (best + move).clamp(0, costs.shape[1] - 1)) for move in (-step, 0, step))
    curve = (before + after - 2 * here).clamp(min=SMALLEST)
    return torch.where(inside, (before - after) / (2 * curve), 0.0).clamp(-0.5, 0.5)


def _shrunk(picture: Tensor, factor: int) -> Tensor:
    """Means (B,C,ceil(H/factor),ceil(W/factor)) over squares of a picture (B,C,H,W), smaller ones at its edge."""
    return F.avg_pool2d(picture, factor, ceil_mode=True) if factor > 1 else picture


def _enlarged(vectors: Tensor, times: int, like: Tensor) -> Tensor:
    """Vectors of a picture for one so many times larger, as large as another; they point as far as before."""
    if times == 1:
        return vectors
    height, width = like.shape[2:]
    return F.interpolate(vectors, scale_factor=times, mode="bilinear", align_corners=False)[..., :height, :width]
