# SPDX-License-Identifier: MIT
"""The ways to code a period: orders coded and measured, and from what was seen in two of them, the one that looks best.

What anchors cost 1, 2, 4 and 8 pictures apart is known from coding them so, and B-frames between anchors 2 apart are
known too. In the middle of longer blocks only the prediction is made: with payload, a B-frame there loses the same part
of its excess over the anchors' distortion as those 2 apart do. The frames between such a middle and its anchors count
as if their references were anchors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from .bframe import Between, Choice, Predictor, Score
from .frame import Yuv420
from .metrics import psnr
from .packets import Unit
from .plan import NEVER, BlockCosts, best_gaps, cost_of
from .rate import Price
from .reconstruct import Reconstructor, noise_level
from .segments import Period, every
from .sequence import code_bframes, noise_of
from .tracks import Coded, Tracks

PricedWrite = Callable[[Between, Yuv420, int, float, Score], Choice]  # codes a picture at a slope, judged by a score
UNKNOWN_PSNR = 40.0  # of anchors that carry no noise level


@dataclass(frozen=True)
class Candidate:
    """One way to code a period, measured: costs in bits by POC, and in all with those that will lead the next I."""

    name: str
    unit: Unit
    costs: dict[int, float]
    choices: dict[int, Choice]
    total: float


class Surveyor:
    """Measure candidates, and estimate what was not measured."""

    def __init__(self, tracks: Tracks, bframes: Predictor, write: PricedWrite, b_offset: float) -> None:
        self.tracks, self.bframes = tracks, bframes
        self._write, self.b_offset = write, b_offset

    def candidate(self, name: str, period: Period, coded: Coded, price: Price) -> Candidate:
        """A period in one order, its B-frames coded; those that will lead the next I count as the others on average."""
        colour = self.tracks.info.colour
        unit = replace(coded.unit, noise=noise_of(coded.source, coded.decoded, colour))
        scratch = Reconstructor(self.tracks.info, self.tracks.anchors, self.bframes)
        write = lambda where, source, poc: self.code(where, source, poc, price)  # noqa: E731
        _, choices = code_bframes(scratch, coded.source, unit, coded.decoded, write)
        bframes = {poc: choice.cost * self.tracks.pixels for poc, choice in choices.items()}
        costs = coded.costs(price) | bframes
        left = len(period.frames) - len(costs)
        return Candidate(name, unit, costs, choices, sum(costs.values()) + left * fmean((bframes or costs).values()))

    def code(self, where: Between, source: Yuv420, poc: int, price: Price) -> Choice:
        """One B-frame, at the slope of the anchors around it."""
        pixels = self.tracks.pixels
        anchors = psnr(where.noise**2) if where.noise else UNKNOWN_PSNR
        slope = price.slope(anchors, pixels) * 2**self.b_offset

        def score(shown: Yuv420) -> float:
            return price.of(self.tracks.quality(source, shown)) / pixels

        return self._write(where, source, poc, slope, score)

    def plan(
        self, period: Period, price: Price, own: Candidate, regular: Candidate, spaced: Mapping[int, Coded]
    ) -> tuple[int, ...]:
        """The gaps that look best, from the encoder's own order, anchors 2 apart, and anchors further apart."""
        count = len(period.frames)
        if not regular.choices:
            return own.unit.segment.gaps
        offsets = range(period.intra, period.intra + count)
        mean = fmean(regular.costs[poc] for poc in regular.choices)
        bframes = [regular.costs[poc] if poc in regular.choices else mean for poc in offsets]
        costs = {
            1: BlockCosts([own.costs[poc] for poc in offsets], bframes),
            2: BlockCosts([regular.costs.get(poc, NEVER) for poc in offsets], bframes),
        }
        for distance, anchors in spaced.items():
            bframes = self._with_middles(bframes, period, anchors, distance, price, regular)
            known = anchors.costs(price)
            costs[distance] = BlockCosts([known.get(poc, NEVER) for poc in offsets], bframes)
            if distance not in best_gaps(costs, count, linked=period.linked):
                break  # still longer ones will not pay either
        if self.tracks.anchors.regular:
            even = (every(distance)(period) for distance in costs)
            return min(even, key=lambda gaps: cost_of(gaps, costs, count))
        return best_gaps(costs, count, linked=period.linked)

    def _with_middles(
        self, bframes: list[float], period: Period, anchors: Coded, distance: int, price: Price, regular: Candidate
    ) -> list[float]:
        """B-frame costs by offset, those in the middles of blocks of this length estimated."""
        pixels = self.tracks.pixels
        level = fmean(price.of(quality) for quality in anchors.qualities.values())
        free = fmean(choice.free for choice in regular.choices.values()) * pixels - level
        coded = fmean(choice.cost for choice in regular.choices.values()) * pixels - level
        share = min(1.0, max(0.0, coded / free)) if free > 0 else 1.0
        estimates = {
            middle: level + share * max(0.0, excess - level)
            for middle, excess in self._predictions(period, anchors, distance, price).items()
        }
        if not estimates:
            return [NEVER] * len(bframes)
        middles = range(distance // 2, len(bframes), distance)
        mean = fmean(estimates.values())  # for the block that the next I ends
        return [estimates.get(n, mean) if n in middles else cost for n, cost in enumerate(bframes)]

    def _predictions(self, period: Period, anchors: Coded, distance: int, price: Price) -> dict[int, float]:
        """What the distortion of the predictions in the middles of blocks costs, by offset."""
        noise = noise_level(noise_of(anchors.source, anchors.decoded, self.tracks.info.colour))
        found = {}
        for start in range(0, len(period.frames) - distance, distance):
            ends = [period.intra + start, period.intra + start + distance]
            if not all(end in anchors.decoded for end in ends):
                continue
            past, future = (self.bframes.reference(anchors.decoded[end]) for end in ends)
            frame, first, last = (period.frames[start + step] for step in (distance // 2, 0, distance))
            time = (frame.pts - first.pts) / (last.pts - first.pts)
            picture = self.bframes.predict(past, future, time, noise)
            found[start + distance // 2] = price.of(self.tracks.quality(frame.picture, picture))
        return found
