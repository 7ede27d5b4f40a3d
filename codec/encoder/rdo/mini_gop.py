# SPDX-License-Identifier: MIT
"""Which pictures of a period become anchors: the cheapest chain of blocks, found by dynamic programming.

A block of 1, 2, 4 or 8 pictures starts at a multiple of its length and ends with the anchor that closes it; what lies
between is B-frames. Costs are whatever the caller measures or estimates, as long as they add up.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import NamedTuple

NEVER = float("inf")


class BlockCosts(NamedTuple):
    """What blocks of one length cost: of the picture at each offset, as anchor and as B-frame; NEVER = cannot be."""

    anchor_costs: Sequence[float]
    bframe_costs: Sequence[float]

    def of(self, start: int, end: int) -> float:
        """The block from one anchor to the next; one past the last picture, that is the next I and costs nothing."""
        anchor = self.anchor_costs[end] if end < len(self.anchor_costs) else 0.0
        return anchor + sum(self.bframe_costs[start + 1 : end])


def best_gaps(costs: Mapping[int, BlockCosts], count: int, *, linked: bool, singles: bool = True) -> tuple[int, ...]:
    """The gaps between the anchors of a period of `count` pictures, by the block costs of each length, 1 among them.

    If `linked`, the next period's I, at offset `count`, is the last anchor, and pictures may lead it. Without `singles`
    the last block alone may be a picture alone.
    """
    stop = count if linked else count - 1
    best = [0.0] + [NEVER] * stop
    last = [1] * (stop + 1)  # the length of the last block of the cheapest chain so far
    for end in range(1, stop + 1):
        for length, cost in costs.items():
            start = end - length
            allowed = singles or length > 1 or end == stop
            if allowed and start >= 0 and start % length == 0 and best[start] + cost.of(start, end) < best[end]:
                best[end], last[end] = best[start] + cost.of(start, end), length
    gaps: list[int] = []
    end = stop
    while end:
        gaps.insert(0, last[end])
        end -= last[end]
    return tuple(gaps[:-1] if linked else gaps)


def cost_of(gaps: Sequence[int], costs: Mapping[int, BlockCosts], count: int) -> float:
    """What any chain of blocks costs, the pictures past its last anchor as a block that ends with the next I.

    A block of a length that was not looked at costs what its part of the next longer one does.
    """
    return sum(block.of(start, end) for block, start, end in _blocks(gaps, costs, count))


def bframe_costs_of(gaps: Sequence[int], costs: Mapping[int, BlockCosts], count: int) -> dict[int, float]:
    """What each B-frame of a chain of blocks costs, by offset, those past its last anchor too."""
    blocks = _blocks(gaps, costs, count)
    return {offset: block.bframe_costs[offset] for block, start, end in blocks for offset in range(start + 1, end)}


def corrected(
    costs: Mapping[int, BlockCosts], gaps: Sequence[int], anchor_costs: Sequence[float]
) -> dict[int, BlockCosts]:
    """The costs of blocks, after a chain of them was coded whose anchors cost so much, by offset.

    The anchors of each length are made dearer by as much as those in the chain were dearer than expected, on average.
    """
    more: dict[int, list[float]] = {length: [] for length in costs}
    for length, end in zip(gaps, accumulate(gaps), strict=True):
        more[length].append(anchor_costs[end] - costs[length].anchor_costs[end])
    moved = {length: fmean(found) for length, found in more.items() if found}
    return {
        length: BlockCosts([cost + moved.get(length, 0.0) for cost in block.anchor_costs], block.bframe_costs)
        for length, block in costs.items()
    }


def _blocks(gaps: Sequence[int], costs: Mapping[int, BlockCosts], count: int) -> Iterator[tuple[BlockCosts, int, int]]:
    """For each block of a chain: the costs of blocks of its length, and the offsets where it begins and ends."""
    start = 0
    for gap in (*gaps, count - sum(gaps)):
        length = min((length for length in costs if length >= gap), default=max(costs))
        yield costs[length], start, start + gap
        start += gap
