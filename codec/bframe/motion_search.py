# SPDX-License-Identifier: MIT
"""The encoder's search for the motion-compensated blocks of a B-frame: which ones, their references, their vectors."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..learned.transform import block_basis
from .block_motion import BOTH, NETWORK, SIZE, SPLIT, Blocks, enlarged, quarter_steps
from .subpel import STEPS, UNIT, Quarters, units_of

COARSE = 4  # pixels of the first, full search
REACH = 12  # of these, to each side
LUMA = (0.2126, 0.7152, 0.0722)
LUMA_LAMBDA = 2.0  # times lambda: errors of luma are accompanied by those of chroma,
REALITY = 2.5  # and cost more than reverse water-filling says: best of 1 to 2.5 on six clips, with chroma and without
VECTOR_BITS = 1.5  # of a component on the network's motion; 2 more for every doubling
KIND_BITS = 4.0  # of a block that is compensated or split, more than of one left to the network
ROUGH, FINE, FINEST = (16, 8, 4, 4, 2, 1, 1), (4, 2, 1), (2, 1)  # steps in quarter pixels

Cost = Callable[[Tensor], Tensor]


def find_blocks(
    past: Tensor,
    future: Tensor,
    target: Tensor,
    *,
    flow: Tensor,
    predicted: Tensor,
    slope: Tensor,
    weight: Tensor,
    start: Blocks | None = None,
) -> Blocks | None:
    """The blocks that lower the estimated cost of coding target (B,3,H,W), None if none does.

    flow (B,4,H,W) in pixels and `predicted` are the network's; slope (B,) is lambda; weight (1,1,H,W) or (1,1,1,1) is
    what errors weigh, 0 where pictures are padding. The search is wide, or close to the blocks it starts from.
    """
    searcher = _Searcher(past, future, target, slope=slope, weight=weight)
    whole = searcher.blocks(flow, predicted, SIZE, start=None if start is None else start.vectors)
    near = enlarged(whole.vectors, 2) if start is None else start.part_vectors
    small = searcher.blocks(flow, predicted, SIZE // 2, start=near)
    parts_cost = 4 * F.avg_pool2d(small.cost, 2) + KIND_BITS
    split = parts_cost < whole.cost
    kinds = torch.where(split, SPLIT, whole.kinds)
    return Blocks(kinds, whole.vectors, small.kinds, small.vectors) if (kinds != NETWORK).any() else None


class _Best(NamedTuple):
    """For every block of one size: kind, vectors of that kind, and cost in bits."""

    kinds: Tensor
    vectors: Tensor
    cost: Tensor


class _Searcher:
    """Search for blocks of pictures, looked at as units. Costs are bits and distortion, in bits, (B,1,h,w)."""

    def __init__(self, past: Tensor, future: Tensor, target: Tensor, *, slope: Tensor, weight: Tensor) -> None:
        threshold = 3 / (2 * math.log(2) * LUMA_LAMBDA * slope.view(-1, 1, 1, 1))
        self.luma = _luma(target)
        self.references = [_luma(picture) for picture in (past, future)]
        self.units = units_of(self.luma)
        self.scale = units_of((weight / threshold).sqrt().expand_as(self.luma))
        self.quarters = [Quarters(reference) for reference in self.references]
        self.basis = block_basis(UNIT**2, UNIT, colours=torch.ones(1, 1)).flatten(1).T.to(target)

    def blocks(self, flow: Tensor, predicted: Tensor, size: int, *, start: Tensor | None) -> _Best:
        """The best of all kinds for every block; vectors start at `start` (B,4,h,w), else from everywhere."""
        near = quarter_steps(flow, size).chunk(2, 1)
        starts: list[list[Tensor]]
        if start is None:
            starts = [[n, torch.zeros_like(n), *self._far(side, size)] for side, n in enumerate(near)]
        else:
            starts = [[n, s] for n, s in zip(near, start.chunk(2, 1), strict=True)]
        steps = ROUGH if start is None else FINEST
        alone = [self._one(side, n, s, size, steps) for side, (n, s) in enumerate(zip(near, starts, strict=True))]
        both = self._both(alone, near, size, FINE if start is None else FINEST)
        return self._choice(predicted, alone, both, near, size)

    def _choice(
        self, predicted: Tensor, alone: Sequence[Tensor], both: Sequence[Tensor], near: Sequence[Tensor], size: int
    ) -> _Best:
        pictures = [self._copied(side, v, size) for side, v in enumerate(alone)]
        mean = (self._copied(0, both[0], size) + self._copied(1, both[1], size)) / 2
        bits = [_vector_bits(v, n) for v, n in zip(alone, near, strict=True)]
        bits_both = _vector_bits(both[0], near[0]) + _vector_bits(both[1], near[1])
        costs = [  # in the order of the kinds
            self._cost(units_of(_luma(predicted)), size),
            self._cost(pictures[0], size) + bits[0] + KIND_BITS,
            self._cost(pictures[1], size) + bits[1] + KIND_BITS,
            self._cost(mean, size) + bits_both + KIND_BITS,
        ]
        cost, kinds = torch.cat(costs, 1).min(1, keepdim=True)
        vectors = torch.where(kinds == BOTH, torch.cat(list(both), 1), torch.cat(list(alone), 1))
        return _Best(kinds, vectors, cost)

    def _one(self, side: int, near: Tensor, starts: Sequence[Tensor], size: int, steps: Sequence[int]) -> Tensor:
        """Vectors (B,2,h,w) to one reference, in quarter pixels, of the least cost that is found for each block."""

        def cost(vectors: Tensor) -> Tensor:
            return self._cost(self._copied(side, vectors, size), size) + _vector_bits(vectors, near)

        return _descend(cost, starts, steps)

    def _both(
        self, alone: Sequence[Tensor], near: Sequence[Tensor], size: int, steps: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Vectors to both references whose mean fits, one improved after the other."""
        vectors = list(alone)
        for side in (0, 1, 0):
            other = self._copied(1 - side, vectors[1 - side], size)

            def cost(tried: Tensor, side: int = side, other: Tensor = other) -> Tensor:
                mean = (self._copied(side, tried, size) + other) / 2
                return self._cost(mean, size) + _vector_bits(tried, near[side])

            vectors[side] = _descend(cost, [vectors[side]], steps)
        return vectors[0], vectors[1]

    def _copied(self, side: int, vectors: Tensor, size: int) -> Tensor:
        """Units along vectors (B,2,h,w), one a block of `size`."""
        return self.quarters[side].copied(enlarged(vectors, size // UNIT))

    def _far(self, side: int, size: int) -> list[Tensor]:
        """The two best vectors of a full search in small pictures, which needs nothing to start from."""
        small = [F.avg_pool2d(x, COARSE) for x in (self.luma, self.references[side])]
        height, width = small[0].shape[2:]
        margin = F.pad(small[1], (REACH,) * 4, mode="replicate")
        window, stride = size // COARSE + 2, size // COARSE
        costs, vectors = [], []
        for down in range(-REACH, REACH + 1):
            for right in range(-REACH, REACH + 1):
                moved = margin[:, :, REACH + down :, REACH + right :][:, :, :height, :width]
                error = F.pad((moved - small[0]).abs(), (1, 1, 1, 1), mode="replicate")
                costs.append(F.avg_pool2d(error, window, stride) + 1e-4 * math.hypot(down, right))
                vectors.append((STEPS * COARSE * right, STEPS * COARSE * down))
        best = torch.cat(costs, 1).topk(2, 1, largest=False).indices
        table = torch.tensor(vectors, device=best.device)
        return [table[best[:, n]].permute(0, 3, 1, 2) for n in range(2)]

    def _cost(self, units: Tensor, size: int) -> Tensor:
        """Bits to code what units lack, by block of `size`, and what is left of it by then, in bits by the slope.

        Coefficients below the threshold are left as they are, others coded to it: reverse water-filling.
        """
        count, _, height, width = self.luma.shape
        power = ((self.units - units).mul_(self.scale) @ self.basis).square_()
        bits = power.clamp(max=1).add_(power.clamp_(min=1).log_()).sum(1) * (REALITY / (2 * math.log(2)))
        bits = bits.view(count, 1, height // UNIT, width // UNIT)
        blocks = size // UNIT
        return F.avg_pool2d(bits, blocks) * blocks**2 if blocks > 1 else bits


def _descend(cost: Cost, starts: Sequence[Tensor], steps: Sequence[int]) -> Tensor:
    """For every block the cheapest start (B,2,h,w), moved by steps to the four sides as long as that pays."""
    best = starts[0]
    least = cost(best)

    def attempt(tried: Tensor) -> None:
        nonlocal best, least
        cost_of_tried = cost(tried)
        best, least = torch.where(cost_of_tried < least, tried, best), torch.minimum(cost_of_tried, least)

    for start in starts[1:]:
        attempt(start)
    for step in steps:
        for right, down in ((step, 0), (-step, 0), (0, step), (0, -step)):
            attempt(best + torch.tensor([right, down], device=best.device).view(1, 2, 1, 1))
    return best


def _vector_bits(vectors: Tensor, near: Tensor) -> Tensor:
    """(B,1,h,w): about how many bits vectors take, coded off the network's motion `near`, both in quarter pixels."""
    return (VECTOR_BITS + 2 * torch.log2(1 + (vectors - near).abs().float())).sum(1, keepdim=True)


def _luma(picture: Tensor) -> Tensor:
    return (picture * picture.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
