# SPDX-License-Identifier: MIT
"""When a candidate is given up before all of its B-frames are coded: one rule for all of them."""

from collections.abc import Mapping
from statistics import fmean

SEEN = 0.4  # of a candidate's B-frames coded, and it may be given up


class Race:
    """A candidate under way against the best cost that is known, supposing that it goes on as it began.

    `expected` is what its B-frames should cost, in bits by POC, and `lead` by how much it would then win. `costs` is
    what those cost that are coded.
    """

    def __init__(self, expected: Mapping[int, float], lead: float) -> None:
        self.expected, self.lead = expected, lead
        self.costs: dict[int, float] = {}

    def add(self, poc: int, cost: float) -> None:
        """One more B-frame is coded, at this cost."""
        self.costs[poc] = cost

    @property
    def lost(self) -> bool:
        """Whether so many are coded that they tell, and they cost too much."""
        if len(self.costs) < SEEN * len(self.expected):
            return False
        excess = fmean(cost - self.expected.get(poc, cost) for poc, cost in self.costs.items())
        return excess * len(self.expected) > self.lead
