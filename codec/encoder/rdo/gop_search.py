# SPDX-License-Identifier: MIT
"""From what was seen in two orders of a period, the order that looks best.

    costs of blocks of each length --dynamic programme--> gaps --anchors coded--> what it should cost in all
            ^                                                         |
            +---- corrected by what these anchors cost ---------------+

What anchors cost 1, 2, 4 and 8 pictures apart is known from coding them so, and B-frames between anchors 2 apart are
known too. In the middle of longer blocks only the prediction is made: with payload, a B-frame there loses the same part
of its excess over the anchors' distortion as those 2 apart do. The frames between such a middle and its anchors count
as if their references were anchors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from ...bframe.predictor import Predictor
from ...decoder.reconstruct import noise_level
from ...gop.periods import Period, every
from .anchor_passes import AnchorPasses, Coded
from .candidates import Candidate
from .mini_gop import NEVER, BlockCosts, best_gaps, bframes_of, corrected, cost_of
from .price import Lagrangian

ROUNDS = 2  # of planning, from all lengths and from those of 2 and more
PROMISE = 0.005  # of an order's bits: what a plan should save at least
OVERDRAWN = 0.03  # of an order's bits: what a plan may be found to lose before it is given up


@dataclass(frozen=True)
class PeriodStatistics:
    """What is known of a period when it is planned.

    own: about what the encoder's own order costs; regular: the order with anchors 2 apart, in part; spaced: by distance
    anchors of encoders that run on, as they are decoded; gained: bits that filtering them is worth a picture.
    """

    period: Period
    price: Lagrangian
    own: Candidate
    regular: Candidate
    spaced: Mapping[int, Coded]
    gained: float

    @property
    def count(self) -> int:
        """Of pictures."""
        return len(self.period.frames)

    def by_offset(self, anchors: Coded) -> list[float]:
        """What anchors cost were they filtered; NEVER where there is none."""
        known = anchors.costs(self.price)
        return [known.get(self.period.intra + offset, NEVER) - self.gained for offset in range(self.count)]


class Budget:
    """How much more the B-frames of an order may cost than they were thought to, by POC, in all."""

    def __init__(self, estimates: Mapping[int, float], left: float) -> None:
        self.estimates, self.left = estimates, left

    def spent(self, poc: int, cost: float) -> bool:
        """Whether it is used up after one more B-frame."""
        self.left -= cost - self.estimates.get(poc, cost)
        return self.left < 0


class Plan(NamedTuple):
    """An order to code: its anchors, as shown, and what may be spent on its B-frames."""

    anchors: Coded
    budget: Budget


class GopSearch:
    """Finds orders. Anchors of plans are coded, their B-frames only estimated."""

    def __init__(self, tracks: AnchorPasses, bframes: Predictor) -> None:
        self.tracks, self.bframes = tracks, bframes

    def best(self, seen: PeriodStatistics) -> Plan | None:
        """The order that looks best; None if none looks better than the regular one."""
        if not seen.regular.choices:
            return None
        costs = self._costs(seen)
        gaps = self._gaps(seen, costs)
        if max(gaps, default=1) <= 2:
            return None
        coded = self.tracks.shown(self.tracks.cheapest(seen.period, gaps, seen.price))
        bframes = {seen.period.intra + offset: cost for offset, cost in bframes_of(gaps, costs, seen.count).items()}
        saved = seen.regular.total - sum(coded.costs(seen.price).values()) - sum(bframes.values())
        if saved <= PROMISE * seen.regular.bits:
            return None
        return Plan(coded, Budget(bframes, saved + OVERDRAWN * seen.regular.bits))

    def _gaps(self, seen: PeriodStatistics, costs: dict[int, BlockCosts]) -> tuple[int, ...]:
        """Those that should cost least; of anchors that are cheap to code, the best of several plans, coded."""
        if self.tracks.anchors.regular:
            even = (every(distance)(seen.period) for distance in costs)
            return min(even, key=lambda gaps: cost_of(gaps, costs, seen.count))
        if not self.tracks.anchors.remembers:
            return best_gaps(costs, seen.count, linked=seen.period.linked)
        tried: dict[tuple[int, ...], float] = {}
        for singles in (True, False):
            known = costs
            for _ in range(ROUNDS):
                gaps = best_gaps(known, seen.count, linked=seen.period.linked, singles=singles)
                if gaps in tried:
                    break
                anchors = seen.by_offset(self.tracks.code_anew(seen.period, gaps))
                bframes = bframes_of(gaps, costs, seen.count)
                tried[gaps] = sum(cost for cost in anchors if cost < NEVER) + sum(bframes.values())
                known = corrected(known, gaps, anchors)
        return min(tried, key=lambda gaps: tried[gaps])

    def _costs(self, seen: PeriodStatistics) -> dict[int, BlockCosts]:
        """By length what blocks cost, from the encoder's own order, B-frames 2 apart, and anchors 2 and more apart.

        All anchors are those of encoders that run on, or none would be like the other.
        """
        period, regular = seen.period, seen.regular
        offsets = range(period.intra, period.intra + seen.count)
        mean = fmean(regular.costs[poc] for poc in regular.choices)
        bframes = [regular.costs[poc] if poc in regular.choices else mean for poc in offsets]
        # Of the own order's pictures some are B-frames, for even less.
        costs = {1: BlockCosts([seen.own.costs[poc] for poc in offsets], bframes)}
        for distance, anchors in sorted(seen.spaced.items()):
            if distance > 2:
                bframes = self._with_middles(bframes, seen, anchors, distance)
            costs[distance] = BlockCosts(seen.by_offset(anchors), bframes)
            if distance > 2 and distance not in best_gaps(costs, seen.count, linked=period.linked, singles=False):
                break  # still longer ones will not pay either
        return costs

    def _with_middles(self, bframes: list[float], seen: PeriodStatistics, anchors: Coded, distance: int) -> list[float]:
        """B-frame costs by offset, those in the middles of blocks of this length estimated."""
        pixels, choices = self.tracks.pixels, seen.regular.choices.values()
        level = fmean(seen.price.of(quality) for quality in anchors.qualities.values()) - seen.gained
        free = fmean(choice.free for choice in choices) * pixels - level
        coded = fmean(choice.cost for choice in choices) * pixels - level
        share = min(1.0, max(0.0, coded / free)) if free > 0 else 1.0
        estimates = {
            middle: level + share * max(0.0, cost - seen.gained - level)
            for middle, cost in self._predictions(seen, anchors, distance).items()
        }
        if not estimates:
            return [NEVER] * len(bframes)
        middles = range(distance // 2, len(bframes), distance)
        mean = fmean(estimates.values())  # for the block that the next I ends
        return [estimates.get(n, mean) if n in middles else cost for n, cost in enumerate(bframes)]

    def _predictions(self, seen: PeriodStatistics, anchors: Coded, distance: int) -> dict[int, float]:
        """What the distortion of the predictions in the middles of blocks costs, by offset."""
        period, noise = seen.period, noise_level(anchors.unit.noise)
        found = {}
        for start in range(0, seen.count - distance, distance):
            ends = [period.intra + start, period.intra + start + distance]
            if not all(end in anchors.anchors for end in ends):
                continue
            past, future = (self.bframes.reference(anchors.anchors[end].shown) for end in ends)
            frame, first, last = (period.frames[start + step] for step in (distance // 2, 0, distance))
            time = (frame.pts - first.pts) / (last.pts - first.pts)
            picture = self.bframes.predict(past, future, time, noise)
            found[start + distance // 2] = seen.price.of(self.tracks.quality(frame.picture, picture))
        return found
