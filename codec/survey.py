# SPDX-License-Identifier: MIT
"""The ways to code a period: orders coded and measured, and from what was seen in two of them, the one that looks best.

What anchors cost 1, 2, 4 and 8 pictures apart is known from coding them so, and B-frames between anchors 2 apart are
known too. In the middle of longer blocks only the prediction is made: with payload, a B-frame there loses the same part
of its excess over the anchors' distortion as those 2 apart do. The frames between such a middle and its anchors count
as if their references were anchors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

from .bframe import Between, Choice, Predictor, Score
from .frame import Yuv420
from .metrics import psnr
from .packets import Unit
from .plan import NEVER, BlockCosts, best_gaps, cost_of
from .rate import Price
from .reconstruct import Reconstructor, noise_level
from .segments import Period, every
from .sequence import WriteBFrame, code_bframes
from .tracks import Coded, Tracks

# Codes a picture at a slope, judged by a score; stops at the prediction if its cost is said to be hopeless.
PricedWrite = Callable[[Between, Yuv420, int, float, Score, Callable[[float], bool]], Choice]
LEAST_SHARE = 0.3  # of the prediction's excess over the anchors' distortion: no payload leaves less, rate included
SEEN = 0.4  # of an order's B-frames coded, and it may be given up,
CLEAR = 0.15  # if by then it seems to cost more than its rival by so much of that one's bits,
LITTLE = 0.005  # or if it is not going to save so much
UNKNOWN_PSNR = 40.0  # of anchors that carry no noise level
# Octaves from the slope at the anchors' quality to that of B-frames, which end up to 1 dB below: what a dB is worth
# does not change, so a unit of squared error is worth less. The best of 0, -0.7, -1.4 on foreman and carphone, and
# with errors weighed by structure of -0.1, -0.3, -0.5 on four clips.
B_LEVEL = {"psnr_rgb": -0.7, "ms_ssim": -0.3}


@dataclass(frozen=True)
class Candidate:
    """One way to code a period, measured: costs in bits by POC, and in all with those that will lead the next I."""

    name: str
    unit: Unit
    costs: dict[int, float]
    choices: dict[int, Choice]
    total: float

    @property
    def bits(self) -> int:
        """Of all pictures, distortion left out."""
        payloads = [len(choice.packet.data) for choice in self.choices.values() if choice.packet is not None]
        return 8 * (sum(len(anchor.data) for anchor in self.unit.anchors) + sum(payloads))


class _LostError(Exception):
    """An order that is not worth going on with."""


class _Contest:
    """Whether an order under way will cost far more than its rival, supposing that it goes on as it began."""

    def __init__(self, anchors: Mapping[int, float], rival: Candidate, bframes: int) -> None:
        self.rival, self.bframes = rival, bframes
        self.anchors = sum(cost - rival.costs[poc] for poc, cost in anchors.items())
        self.excess: list[float] = []

    def lost(self, poc: int, cost: float) -> bool:
        """Whether it is clear after one more B-frame."""
        self.excess.append(cost - self.rival.costs[poc])
        expected = self.anchors + fmean(self.excess) * self.bframes
        return len(self.excess) >= SEEN * self.bframes and expected > CLEAR * self.rival.bits


class _Gain:
    """Whether what B-frames in place of spare anchors save is worth going on, were it half as much again as so far."""

    def __init__(self, needed: float, bframes: int) -> None:
        self.needed, self.bframes = needed, bframes
        self.saved: list[float] = []

    def add(self, saved: float) -> None:
        """One more, which only counts if it saves anything."""
        self.saved.append(max(0.0, saved))

    @property
    def hopeless(self) -> bool:
        return len(self.saved) >= SEEN * self.bframes and 1.5 * fmean(self.saved) * self.bframes < self.needed


def _not_coded(source: Yuv420) -> Choice:
    """For a B-frame that nobody will look at."""
    return Choice(source, None, [], NEVER, NEVER)


class Surveyor:
    """Measure candidates, and estimate what was not measured."""

    def __init__(self, tracks: Tracks, bframes: Predictor, write: PricedWrite, b_offset: float) -> None:
        self.tracks, self.bframes = tracks, bframes
        self._write, self.b_offset = write, b_offset

    def candidate(
        self,
        name: str,
        period: Period,
        coded: Coded,
        price: Price,
        rival: Candidate | None = None,
        *,
        known: Mapping[int, Choice] | None = None,
        step: int = 1,
    ) -> Candidate | None:
        """A period in one order, its B-frames coded but for those that are `known` from before.

        Only one in `step` is coded, where no other refers to them. Those that are not, and those that will lead the
        next I, count as the others on average. None if after some it is clear that the rival costs less by far.
        """
        coded = self.tracks.shown(coded)
        anchors, known = coded.costs(price), known or {}
        pocs = [picture.poc for picture in coded.source.segment.bframes()]
        left_out = set(pocs) - set(pocs[::step])
        contest = None if rival is None else _Contest(anchors, rival, len(pocs))

        def write(where: Between, source: Yuv420, poc: int) -> Choice:
            if poc in left_out:
                return _not_coded(source)
            choice = known.get(poc) or self.code(where, source, poc, price)
            if contest is not None and contest.lost(poc, choice.cost * self.tracks.pixels):
                raise _LostError
            return choice

        try:
            choices, bframes = self._with_bframes(coded, write)
        except _LostError:
            return None
        for poc in left_out:
            del choices[poc], bframes[poc]
        costs = anchors | bframes
        left = len(period.frames) - len(costs)
        total = sum(costs.values()) + left * fmean((bframes or costs).values())
        return Candidate(name, coded.unit, costs, choices, total)

    def alone(self, name: str, coded: Coded, price: Price) -> Candidate:
        """A period of anchors only, as its encoder made it."""
        costs = coded.costs(price)
        return Candidate(name, coded.unit, costs, {}, sum(costs.values()))

    def thinned(self, own: Candidate, coded: Coded, price: Price, rival: Candidate) -> Candidate:
        """The encoder's own order, but anchors that no other refers to become B-frames where that costs less.

        All other anchors stay as they are, to the bit; so do all that are left once little is to be gained, or less
        than the rival gained.
        """
        # Not the packets' bits: what is hidden in them for later pictures stays.
        saved = {poc: self._saved(coded, poc) for poc in self.tracks.spare(coded)}
        needed = max(own.total - rival.total, LITTLE * own.bits)
        if sum(saved.values()) <= needed:
            return own  # so much is saved only where B-frames cost nothing and look better
        spare = set(saved)
        worth = {poc: bits + price.of(coded.qualities[poc]) for poc, bits in saved.items()}
        gain = _Gain(needed, len(spare))

        def write(where: Between, source: Yuv420, poc: int) -> Choice:
            if gain.hopeless:
                return _not_coded(source)
            choice = self.code(where, source, poc, price, worth=worth[poc])
            gain.add(worth[poc] - choice.cost * self.tracks.pixels)
            return choice

        thin = self.tracks.without(coded, spare)
        choices, bframes = self._with_bframes(thin, write)
        for low, high in thin.source.segment.spans():
            between = range(low + 1, high)
            if sum(bframes[poc] for poc in between) >= sum(worth[poc] for poc in between):
                spare.difference_update(between)
        rest = self.tracks.without(coded, spare)
        costs = rest.costs(price) | {poc: bframes[poc] for poc in spare}
        kept = {poc: choices[poc] for poc in spare}
        return Candidate(own.name, rest.unit, costs, kept, sum(costs.values()))

    def _with_bframes(self, coded: Coded, write: WriteBFrame) -> tuple[dict[int, Choice], dict[int, float]]:
        """By POC what became of the B-frames of a unit, and what they cost in bits."""
        scratch = Reconstructor(self.tracks.info, self.tracks.anchors, self.bframes)
        _, choices = code_bframes(scratch, coded.source, coded.unit, coded.anchors, write)
        return choices, {poc: choice.cost * self.tracks.pixels for poc, choice in choices.items()}

    def _saved(self, coded: Coded, poc: int) -> float:
        """Bits that go with a spare anchor."""
        return coded.point.bits - self.tracks.without(coded, {poc}).point.bits

    def code(self, where: Between, source: Yuv420, poc: int, price: Price, *, worth: float = NEVER) -> Choice:
        """One B-frame, at the slope of the anchors around it; only predicted if it will cost more than it is worth."""
        pixels = self.tracks.pixels
        anchors = psnr(where.noise**2) if where.noise else UNKNOWN_PSNR
        slope = price.slope(anchors, pixels) * 2 ** (B_LEVEL[self.tracks.measure] + self.b_offset)
        level = -price.bits_per_db * anchors if price.measure == "psnr_rgb" else -NEVER

        def score(shown: Yuv420) -> float:
            return price.of(self.tracks.quality(source, shown)) / pixels

        def hopeless(free: float) -> bool:
            return level + LEAST_SHARE * max(0.0, free * pixels - level) > worth

        return self._write(where, source, poc, slope, score, hopeless)

    def plan(
        self, period: Period, price: Price, own: Candidate, regular: Candidate, spaced: Mapping[int, Coded]
    ) -> tuple[int, ...]:
        """The gaps that look best, from the encoder's own order, B-frames 2 apart, and anchors 2 and more apart.

        All anchors are those of encoders that run on, or none would be like the other.
        """
        count = len(period.frames)
        if not regular.choices:
            return own.unit.segment.gaps
        offsets = range(period.intra, period.intra + count)
        mean = fmean(regular.costs[poc] for poc in regular.choices)
        bframes = [regular.costs[poc] if poc in regular.choices else mean for poc in offsets]

        def block(anchors: Coded, bframes: list[float]) -> BlockCosts:
            known = anchors.costs(price)
            return BlockCosts([known.get(poc, NEVER) for poc in offsets], bframes)

        # Of the own order's pictures some are B-frames, for even less.
        costs = {1: BlockCosts([own.costs[poc] for poc in offsets], bframes), 2: block(spaced[2], bframes)}
        for distance in sorted(spaced)[1:]:
            wide = self.tracks.shown(spaced[distance])
            bframes = self._with_middles(bframes, period, wide, distance, price, regular)
            costs[distance] = block(wide, bframes)
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
        noise = noise_level(anchors.unit.noise)
        found = {}
        for start in range(0, len(period.frames) - distance, distance):
            ends = [period.intra + start, period.intra + start + distance]
            if not all(end in anchors.anchors for end in ends):
                continue
            past, future = (self.bframes.reference(anchors.anchors[end].shown) for end in ends)
            frame, first, last = (period.frames[start + step] for step in (distance // 2, 0, distance))
            time = (frame.pts - first.pts) / (last.pts - first.pts)
            picture = self.bframes.predict(past, future, time, noise)
            found[start + distance // 2] = price.of(self.tracks.quality(frame.picture, picture))
        return found
