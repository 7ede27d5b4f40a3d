# SPDX-License-Identifier: MIT
"""The encoder's search for the motion-compensated blocks of a B-frame: which ones, their references, their vectors."""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..learned.transform import block_basis
from .alignment import moved_by_rows
from .block_motion import BOTH, NETWORK, SIZE, SPLIT, Blocks, enlarged, quarter_steps
from .subpel import MANY, STEPS, UNIT, Quarters, units_of

COARSE = 4  # pixels of the first, full search
SEARCH_RANGE = 12  # of these, to each side
LUMA = (0.2126, 0.7152, 0.0722)
LUMA_LAMBDA = 2.0  # times lambda: errors of luma are accompanied by those of chroma
REALITY = 2.5  # times the bits that reverse water-filling says: best of 1 to 2.5 on six clips, with chroma and without
SHORTER = 1e-4  # levels in [0,1] for each step of a vector: among equals the shortest wins
VECTOR_BITS = 1.5  # of a component on the network's motion; 2 more for every doubling
KIND_BITS = 4.0  # of a block that is compensated or split, more than of one left to the network
LEAST_ONE, LEAST_BOTH = (KIND_BITS + n * VECTOR_BITS for n in (2, 4))  # of one with one vector, with two
AT_ONCE = {"cpu": 2048}  # blocks: of large pictures not all are looked up in one go, for their memory
ROUGH, FINE, FINEST = (8, 4, 2), (4, 2, 1), (2, 1)  # steps in quarter pixels

Cost = Callable[[Tensor], Tensor]


class _Best(NamedTuple):
    """For every block of one size: kind, vectors of that kind, and cost in bits."""

    kinds: Tensor
    vectors: Tensor
    cost: Tensor


class BlockSearch:
    """Searches for the blocks that lower the estimated cost of coding one picture between two references.

    target, past and future are (B,3,H,W); slope (B,) is lambda; weight (B,1,H,W) or (1,1,1,1) is what errors weigh, 0
    where pictures are padding. Costs are bits, and distortion in bits. Pictures are looked at as units.
    Only those blocks are searched for whose prediction by the network costs more than a vector: no other can win.
    Vectors of the blocks around are tried for each block too, as neighbours mostly move alike.
    """

    def __init__(self, past: Tensor, future: Tensor, target: Tensor, *, slope: Tensor, weight: Tensor) -> None:
        # The power of a coefficient from which on its bits pay; 3, as errors are means over the colours.
        threshold = 3 / (2 * math.log(2) * LUMA_LAMBDA * slope.view(-1, 1, 1, 1))
        self.luma = _luma(target)
        self.references = [_luma(picture) for picture in (past, future)]
        self.units = units_of(self.luma)
        self.scale = units_of((weight / threshold).sqrt().expand_as(self.luma))
        self.quarters = Quarters(torch.cat(self.references))
        self.basis = block_basis(UNIT**2, UNIT, colours=torch.ones(1, 1)).flatten(1).T.to(target)

    def find(self, *, flow: Tensor, predicted: Tensor, start: Blocks | None = None) -> Blocks | None:
        """The blocks that lower the cost, None if none does.

        flow (B,4,H,W) in pixels and `predicted` are the network's. The search is close to the blocks to start from; if
        there are none, a wide one finds where to start.
        """
        luma = units_of(_luma(predicted))
        places, parts = (_Places(self, flow, luma, size) for size in (SIZE, SIZE // 2))
        whole = _best_of(places, self._wide(places) if start is None else start.vectors)
        small = _best_of(parts, enlarged(whole.vectors, 2) if start is None else start.part_vectors)
        parts_cost = 4 * F.avg_pool2d(small.cost, 2) + KIND_BITS
        kinds = torch.where(parts_cost < whole.cost, SPLIT, whole.kinds)
        return Blocks(kinds, whole.vectors, small.kinds, small.vectors) if (kinds != NETWORK).any() else None

    def _wide(self, places: "_Places") -> Tensor:
        """The best vectors (B,4,h,w) of blocks of `SIZE` to each of the references, sought everywhere."""
        far = zip(*(self._far_in(reference) for reference in self.references), strict=True)
        starts = torch.stack([places.near, torch.zeros_like(places.near), *map(torch.stack, far)])
        found = places.near.clone()
        for some in places.worth_searching():
            found[:, some.places], _ = _descend(some.cost_of_one, starts[:, :, some.places], ROUGH)
        return _planes(found, places.shape)

    def _far_in(self, reference: Tensor) -> list[Tensor]:
        """The two best vectors (N,2) of a full search in one of the references, in small pictures."""
        current, other = (F.avg_pool2d(x, COARSE) for x in (self.luma, reference))
        window, stride = SIZE // COARSE + 2, SIZE // COARSE
        reach, costs = range(-SEARCH_RANGE, SEARCH_RANGE + 1), []
        for moved in moved_by_rows(other, SEARCH_RANGE):
            error = F.pad((moved - current).abs_(), (1, 1, 1, 1), mode="replicate")
            costs.append(F.avg_pool2d(error, window, stride))
        lengths = torch.tensor([math.hypot(down, right) for down in reach for right in reach], device=other.device)
        best = (torch.cat(costs, 1) + SHORTER * lengths.view(-1, 1, 1)).topk(2, 1, largest=False).indices
        vectors = [(STEPS * COARSE * right, STEPS * COARSE * down) for down in reach for right in reach]
        table = torch.tensor(vectors, device=other.device)
        return [table[best[:, n]].flatten(0, 2) for n in range(2)]


class _Places:
    """Blocks of one size by their places (N,), counted by sample, row and column, and what vectors would cost there.

    near (2,N,2) is the network's motion to both references; units (N,n) are the units of each block; network_cost (N,)
    is that of the network's prediction. `shape` is that of a plane (B,1,h,w) of all blocks.
    """

    def __init__(self, search: BlockSearch, flow: Tensor, predicted: Tensor, size: int) -> None:
        vectors = quarter_steps(flow, size)
        count, _, height, width = vectors.shape
        self._search, self.shape, self.near = search, (count, 1, height, width), _sides(vectors)
        self.places = torch.arange(count * height * width, device=flow.device)
        across = size // UNIT
        row, column = self.places // width, across * (self.places % width)  # rows of all samples one below the other
        inner = torch.arange(across, device=flow.device)
        units = (across * row[:, None, None] + inner[:, None]) * across * width + column[:, None, None] + inner
        self.units = units.flatten(1)
        self._look_up()
        self.network_cost = self.cost(predicted[self.units])

    def _look_up(self) -> None:
        search = self._search
        self._target, self._scale = search.units[self.units], search.scale[self.units]
        self._origins = search.quarters.origins(torch.stack([self.units, self.units + len(search.units)]))

    def worth_searching(self) -> Iterator["_Places"]:
        """Those blocks whose prediction by the network costs more than a vector, not too many at a time."""
        places = (self.network_cost > LEAST_ONE).nonzero()[:, 0]
        return map(self.only, torch.split(places, AT_ONCE.get(places.device.type, MANY)))

    def only(self, chosen: Tensor) -> "_Places":
        """Some of these blocks, by their numbers here."""
        other = copy(self)
        other.places, other.near, other.units = self.places[chosen], self.near[:, chosen], self.units[chosen]
        other.network_cost = self.network_cost[chosen]
        other._look_up()
        return other

    def along(self, side: int, vectors: Tensor) -> Tensor:
        """Units (...,N,n,64) along vectors (...,N,2) to one reference."""
        return self._search.quarters.along(self._origins[:, side], vectors)

    def cost(self, units: Tensor) -> Tensor:
        """Bits (...,N) to code what units (...,N,n,64) lack, and what is left of it by then, in bits by the slope.

        Coefficients below the threshold are left as they are, others coded to it: reverse water-filling.
        """
        power = ((self._target - units).mul_(self._scale) @ self._search.basis).square_()
        bits = power.clamp(max=1).add_(power.clamp_(min=1).log_()).sum(-1) * (REALITY / (2 * math.log(2)))
        return bits.sum(-1)

    def cost_of_one(self, vectors: Tensor) -> Tensor:
        """The cost (...,2,N) of vectors (...,2,N,2), each to its reference alone."""
        return self.cost(self._search.quarters.along(self._origins, vectors)) + _vector_bits(vectors, self.near)

    def both(self, vectors: Tensor, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Vectors (2,N,2) to both references whose mean fits, one improved after the other, and their costs (N,)."""
        pair = list(vectors)
        least = vectors.new_zeros(vectors.shape[1], dtype=torch.float32)
        for side in (0, 1, 0):
            other = self.along(1 - side, pair[1 - side])

            def cost(tried: Tensor, side: int = side, other: Tensor = other) -> Tensor:
                return self.cost((self.along(side, tried) + other).div_(2)) + _vector_bits(tried, self.near[side])

            pair[side], least = _descend(cost, pair[side][None], steps)
        return torch.stack(pair), least + _vector_bits(pair[1], self.near[1])


def _best_of(blocks: _Places, start: Tensor) -> _Best:
    """The best of all kinds for every block; vectors start at the network's and at `start` (B,4,h,w)."""
    starts = torch.stack([blocks.near, *map(_sides, _around(start))])
    found, cost = blocks.near.clone(), blocks.network_cost.clone()
    kinds = torch.full_like(blocks.places, NETWORK)
    for some in blocks.worth_searching():
        best = _searched(some, starts[:, :, some.places])
        kinds[some.places], found[:, some.places], cost[some.places] = best
    return _Best(kinds.view(blocks.shape), _planes(found, blocks.shape), cost.view(blocks.shape))


def _searched(blocks: _Places, starts: Tensor) -> _Best:
    """Kinds (N,), vectors (2,N,2) and costs (N,) of blocks; starts (K,2,N,2) is where to begin with one reference."""
    vectors, least = _descend(blocks.cost_of_one, starts, FINEST)
    cost, kinds = torch.cat([blocks.network_cost[None], least + KIND_BITS]).min(0)
    twice = (cost > LEAST_BOTH).nonzero()[:, 0]
    if len(twice):
        both, least = blocks.only(twice).both(vectors[:, twice], FINE)
        better = least + KIND_BITS < cost[twice]
        twice = twice[better]
        kinds[twice], vectors[:, twice], cost[twice] = BOTH, both[:, better], (least + KIND_BITS)[better]
    return _Best(kinds, vectors, cost)


def _descend(cost: Cost, starts: Tensor, steps: Sequence[int]) -> tuple[Tensor, Tensor]:
    """For every block the cheapest of its starts (K,...,2), moved by steps as long as that pays, and its cost (...).

    A step goes to the right or left, then down or up: where one way pays, the other leads back.
    """
    costs = cost(starts)
    best, least = starts[0], costs[0]
    for tried, cost_of_tried in zip(starts[1:], costs[1:], strict=True):
        best = torch.where((cost_of_tried < least)[..., None], tried, best)
        least = torch.minimum(cost_of_tried, least)
    moves = torch.tensor([[[step, 0], [-step, 0]] for step in steps], device=best.device)
    for move in torch.stack([moves, moves.flip(-1)], 1).flatten(0, 1):
        tried = best + move.view(2, *[1] * (best.dim() - 1), 2)
        costs = cost(tried)
        there, back = costs < least
        best = torch.where(there[..., None], tried[0], torch.where(back[..., None], tried[1], best))
        least = torch.where(there, costs[0], torch.minimum(costs[1], least))
    return best, least


def _vector_bits(vectors: Tensor, near: Tensor) -> Tensor:
    """(...): about how many bits vectors (...,2) in quarter pixels take, coded off the network's motion `near`."""
    return (VECTOR_BITS + 2 * torch.log2(1 + (vectors - near).abs().float())).sum(-1)


def _sides(planes: Tensor) -> Tensor:
    """(2,N,2): the vectors of every block to both references, of planes (B,4,h,w)."""
    return torch.stack(planes.chunk(2, 1)).permute(0, 1, 3, 4, 2).flatten(1, 3)


def _around(planes: Tensor) -> list[Tensor]:
    """Planes (B,C,h,w), and those of the blocks to the left, to the right, above and below; edges are repeated."""
    rows, columns = (torch.arange(-1, side + 1, device=planes.device).clamp(0, side - 1) for side in planes.shape[2:])
    left, right = planes[..., columns[:-2]], planes[..., columns[2:]]
    return [planes, left, right, planes[..., rows[:-2], :], planes[..., rows[2:], :]]


def _planes(sides: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(B,4,h,w): what `_sides` made (2,N,2) of, the shape being that of one plane (B,1,h,w)."""
    count, _, height, width = shape
    return sides.view(2, count, height, width, 2).permute(1, 0, 4, 2, 3).flatten(1, 2)


def _luma(picture: Tensor) -> Tensor:
    return (picture * picture.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
