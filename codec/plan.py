# SPDX-License-Identifier: MIT
"""Which pictures of a period are worth being anchors: the cheapest chain of blocks, found by dynamic programming.

A block of 1, 2, 4 or 8 pictures starts at a multiple of its length and ends with the anchor that closes it; what lies
between is B-frames. Costs are whatever the caller measures or estimates, as long as they add up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

NEVER = float("inf")


class BlockCosts(NamedTuple):
    """What blocks of one length cost: of the picture at each offset, as anchor and as B-frame; NEVER = cannot be."""

    anchors: Sequence[float]
    bframes: Sequence[float]

    def of(self, start: int, end: int) -> float:
        """The block from one anchor to the next; one past the last picture, that is the next I and costs nothing."""
        anchor = self.anchors[end] if end < len(self.anchors) else 0.0
        return anchor + sum(self.bframes[start + 1 : end])


def best_gaps(costs: Mapping[int, BlockCosts], count: int, *, linked: bool) -> tuple[int, ...]:
    """The gaps between the anchors of a period of `count` pictures, by the block costs of each length, 1 among them.

    If `linked`, the next period's I, at offset `count`, is the last anchor, and pictures may lead it.
    """
    stop = count if linked else count - 1
    best = [0.0] + [NEVER] * stop
    last = [1] * (stop + 1)  # the length of the last block of the cheapest chain so far
    for end in range(1, stop + 1):
        for length, cost in costs.items():
            start = end - length
            if start >= 0 and start % length == 0 and best[start] + cost.of(start, end) < best[end]:
                best[end], last[end] = best[start] + cost.of(start, end), length
    gaps: list[int] = []
    end = stop
    while end:
        gaps.insert(0, last[end])
        end -= last[end]
    return tuple(gaps[:-1] if linked else gaps)


def cost_of(gaps: Iterable[int], costs: Mapping[int, BlockCosts], count: int) -> float:
    """What a chain of blocks costs, the pictures past its last anchor as a block that ends with the next I."""
    start, total = 0, 0.0
    for gap in gaps:
        total += costs[gap].of(start, start + gap)
        start += gap
    rest = count - start
    return total if rest == 1 else total + costs.get(rest, costs[max(costs)]).of(start, count)
