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

from dataclasses import dataclass
from statistics import fmean

from ...bframe.records import Interval
from ...bframe.tasks import PredictTask
from ...decoder.reconstruct import noise_level
from ...gop.periods import Period, every
from ...parallel.executor import Executor, results
from ..coded_anchors import CodedAnchors
from .anchor_passes import AnchorPasses, PeriodPasses
from .candidates import Candidate
from .early_stop import Race
from .lagrangian import Lagrangian
from .mini_gop import NEVER, BlockCosts, best_gaps, bframe_costs_of, corrected, cost_of

ROUNDS = 2  # of planning, from all lengths and from those of 2 and more
PROMISE = 0.005  # of an order's bits: what a plan should save at least
OVERDRAWN = 0.03  # of an order's bits: what a plan may seem to lose before it is given up


@dataclass(frozen=True, kw_only=True)
class PeriodStatistics:
    """What is known of a period when a plan is made.

    alone: about what the encoder's own order costs; regular: the order with anchors 2 apart, in part; filter_gain: bits
    that filtering anchors saves a picture.
    """

    passes: PeriodPasses
    alone: Candidate
    regular: Candidate
    filter_gain: float

    @property
    def period(self) -> Period:
        """The source pictures of the period."""
        return self.passes.period

    @property
    def lagrangian(self) -> Lagrangian:
        """The Lagrangian of this period, with lambda as measured in it."""
        return self.passes.lagrangian

    @property
    def count(self) -> int:
        """Number of pictures in the period."""
        return len(self.period.frames)

    def by_offset(self, coded: CodedAnchors) -> list[float]:
        """What anchors cost were they filtered; NEVER where there is none."""
        known = self.lagrangian.costs(coded)
        return [known.get(self.period.intra + offset, NEVER) - self.filter_gain for offset in range(self.count)]


class GopSearch:
    """Finds orders. Anchors of plans are coded, their B-frames only estimated."""

    def __init__(self, passes: AnchorPasses, executor: Executor) -> None:
        self.passes, self.executor = passes, executor

    def best(self, statistics: PeriodStatistics) -> tuple[CodedAnchors, Race] | None:
        """The anchors of the order that looks best, as shown, and its race against the regular one, if it is better."""
        if not statistics.regular.choices:
            return None
        costs = self._costs(statistics)
        gaps = self._gaps(statistics, costs)
        if max(gaps, default=1) <= 2:
            return None
        coded = self.passes.meter.filtered(self.passes.cheapest(statistics.period, gaps, statistics.lagrangian))
        bframes = {
            statistics.period.intra + offset: cost
            for offset, cost in bframe_costs_of(gaps, costs, statistics.count).items()
        }
        saved = statistics.regular.total - sum(statistics.lagrangian.costs(coded).values()) - sum(bframes.values())
        if saved <= PROMISE * statistics.regular.bits:
            return None
        return coded, Race(bframes, saved + OVERDRAWN * statistics.regular.bits)

    def _gaps(self, statistics: PeriodStatistics, costs: dict[int, BlockCosts]) -> tuple[int, ...]:
        """The gaps between anchors of the order that should cost least.

        If the encoder remembers what it coded, the anchors of several plans are coded; else there is one plan.
        Regular encoders get evenly spaced anchors.
        """
        if self.passes.anchor_codec.regular:
            even = (every(distance)(statistics.period) for distance in costs)
            return min(even, key=lambda gaps: cost_of(gaps, costs, statistics.count))
        if not self.passes.anchor_codec.remembers:
            return best_gaps(costs, statistics.count, linked=statistics.period.linked)
        tried: dict[tuple[int, ...], float] = {}
        for singles in (True, False):
            known = costs
            for _ in range(ROUNDS):
                gaps = best_gaps(known, statistics.count, linked=statistics.period.linked, singles=singles)
                if gaps in tried:
                    break
                anchor_costs = statistics.by_offset(self.passes.code_anew(statistics.period, gaps))
                bframes = bframe_costs_of(gaps, costs, statistics.count)
                tried[gaps] = sum(cost for cost in anchor_costs if cost < NEVER) + sum(bframes.values())
                known = corrected(known, gaps, anchor_costs)
        return min(tried, key=lambda gaps: tried[gaps])

    def _costs(self, statistics: PeriodStatistics) -> dict[int, BlockCosts]:
        """By length what blocks cost, from the encoder's own order, B-frames 2 apart, and anchors 2 and more apart.

        All anchors are those of encoders that run on, as costs of encoders that begin anew do not compare with them.
        """
        period, regular = statistics.period, statistics.regular
        offsets = range(period.intra, period.intra + statistics.count)
        mean = fmean(regular.costs[poc] for poc in regular.choices)
        bframes = [regular.costs[poc] if poc in regular.choices else mean for poc in offsets]
        # An upper bound: in the encoder's own order some of these pictures become B-frames, for less.
        costs = {1: BlockCosts([statistics.alone.costs[poc] for poc in offsets], bframes)}
        for distance, coded in sorted(statistics.passes.runs.items())[1:]:
            if distance > 2:
                bframes = self._with_middles(bframes, statistics, coded, distance)
            costs[distance] = BlockCosts(statistics.by_offset(coded), bframes)
            if distance > 2 and distance not in best_gaps(costs, statistics.count, linked=period.linked, singles=False):
                break  # still longer ones will not pay either
        return costs

    def _with_middles(
        self, bframes: list[float], statistics: PeriodStatistics, coded: CodedAnchors, distance: int
    ) -> list[float]:
        """B-frame costs by offset, those in the middles of blocks of this length estimated."""
        pixels, choices = self.passes.pixels, statistics.regular.choices.values()
        distortions = [statistics.lagrangian.distortion(quality) for quality in coded.qualities.values()]
        anchors_cost = fmean(distortions) - statistics.filter_gain
        free = fmean(choice.free for choice in choices) * pixels - anchors_cost
        sent = fmean(choice.cost for choice in choices) * pixels - anchors_cost
        share = min(1.0, max(0.0, sent / free)) if free > 0 else 1.0
        estimates = {
            middle: anchors_cost + share * max(0.0, cost - statistics.filter_gain - anchors_cost)
            for middle, cost in self._predictions(statistics, coded, distance).items()
        }
        if not estimates:
            return [NEVER] * len(bframes)
        middles = range(distance // 2, len(bframes), distance)
        mean = fmean(estimates.values())  # for the block that the next I ends
        return [estimates.get(n, mean) if n in middles else cost for n, cost in enumerate(bframes)]

    def _predictions(self, statistics: PeriodStatistics, coded: CodedAnchors, distance: int) -> dict[int, float]:
        """What the distortion of the predictions in the middles of blocks costs, by offset."""
        period, noise = statistics.period, noise_level(coded.unit.anchor_quality_qdb)
        intervals: dict[int, Interval] = {}
        for start in range(0, statistics.count - distance, distance):
            ends = [period.intra + start, period.intra + start + distance]
            if not all(end in coded.anchors for end in ends):
                continue
            past, future = (coded.anchors[end] for end in ends)
            middle = start + distance // 2
            frame, first, last = (period.frames[offset] for offset in (middle, start, start + distance))
            time = (frame.pts - first.pts) / (last.pts - first.pts)
            anchors = past.decoded, future.decoded
            intervals[middle] = Interval(past.shown, future.shown, time, noise, anchors, distance)
        made = results(self.executor, [PredictTask(interval) for interval in intervals.values()])
        return {
            offset: statistics.lagrangian.distortion(
                self.passes.meter.quality(period.frames[offset].picture, one.picture)
            )
            for offset, one in zip(intervals, made, strict=True)
        }
