# SPDX-License-Identifier: MIT
"""The ways to code a period: orders coded and measured."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ...bframe.block_motion import Blocks
from ...bframe.predictor import Predictor
from ...bframe.records import Anchor, Choice, Interval, Score
from ...bitstream.units import Unit
from ...decoder.reconstruct import Reconstructor
from ...gop.periods import Period
from ...video.metrics import psnr
from ...video.picture import Yuv420
from ..segments import WriteBFrame, code_bframes
from .anchor_passes import AnchorPasses, Coded
from .mini_gop import NEVER
from .price import Lagrangian

# Codes a picture at a slope, judged by a score; stops at the prediction if its cost is said to be hopeless. Blocks are
# searched for around those of an earlier attempt, if there are any.
PricedWrite = Callable[[Interval, Yuv420, int, float, Score, Callable[[float], bool], Blocks | None], Choice]
LEAST_SHARE = 0.3  # of the prediction's excess over the anchors' distortion: no payload leaves less, rate included
SEEN = 0.4  # of an order's B-frames coded, and it may be given up,
CLEAR = 0.15  # if by then it seems to cost more than its rival by so much of that one's bits,
LITTLE = 0.005  # or if it is not going to save so much
MORE = 2.0  # times as much as in another order is the most that filtering gains
COMES_TRUE = 0.6  # of what B-frames instead of spare pictures should save, about the most that they do
FEW = 0.25  # of the pictures that might be B-frames instead, coded, tell how much that saves
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
    anchors: dict[int, Anchor]
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
    """Whether what B-frames in place of spare anchors save is worth going on, by what they should, by POC."""

    def __init__(self, needed: float, expected: Mapping[int, float]) -> None:
        self.needed, self.expected = needed, expected
        self.seen: list[int] = []
        self.saved = 0.0

    def add(self, poc: int, saved: float) -> None:
        """One more, which only counts if it saves anything."""
        self.seen.append(poc)
        self.saved += max(0.0, saved)

    @property
    def give_up(self) -> bool:
        """Whether it is too little, were all others half as good again as those so far, next to what they should be."""
        whole, so_far = sum(self.expected.values()), sum(self.expected[poc] for poc in self.seen)
        if len(self.seen) < FEW * len(self.expected):
            return COMES_TRUE * whole < self.needed
        return self.saved + 1.5 * (self.saved / so_far if so_far else 1.0) * (whole - so_far) < self.needed


def _expected(saved: Mapping[int, float], costs: Mapping[int, float], rivals: Iterable[Candidate]) -> dict[int, float]:
    """What B-frames in place of anchors should save, in bits, by what they cost in other orders; at most all bits."""
    known = {poc: rival.costs[poc] for rival in rivals for poc in rival.choices}
    mean = fmean(known.values()) if known else -NEVER
    return {poc: min(bits, max(0.0, costs[poc] - known.get(poc, mean))) for poc, bits in saved.items()}


def _not_coded(source: Yuv420) -> Choice:
    """For a B-frame that nobody will look at."""
    return Choice(source, None, [], NEVER, NEVER)


class CandidateCoder:
    """Measure candidates, and estimate what was not measured."""

    def __init__(self, tracks: AnchorPasses, bframes: Predictor, write: PricedWrite, b_offset: float) -> None:
        self.tracks, self.bframes = tracks, bframes
        self._write, self.b_offset = write, b_offset
        self._blocks: dict[tuple[int, int], Blocks] = {}  # by POC and span, of a period

    def forget(self) -> None:
        """Let go of what was found in a period; no other asks for it."""
        self._blocks.clear()

    def candidate(
        self,
        name: str,
        period: Period,
        coded: Coded,
        price: Lagrangian,
        rival: Candidate | None = None,
        *,
        known: Mapping[int, Choice] | None = None,
        step: int = 1,
        spent: Callable[[int, float], bool] = lambda poc, cost: False,
    ) -> Candidate | None:
        """A period in one order with these anchors, as shown; its B-frames coded but for those `known` from before.

        Only one in `step` is coded, where no other refers to them. Those that are not, and those that will lead the
        next I, count as the others on average. None if after some it is clear that the rival costs less by far, or if
        they, with their costs in bits, have `spent` too much.
        """
        anchors, known = coded.costs(price), known or {}
        pocs = [picture.poc for picture in coded.source.segment.bframes()]
        left_out = set(pocs) - set(pocs[::step])
        contest = None if rival is None else _Contest(anchors, rival, len(pocs))

        def write(interval: Interval, source: Yuv420, poc: int) -> Choice:
            if poc in left_out:
                return _not_coded(source)
            choice = known.get(poc) or self.code(interval, source, poc, price)
            cost = choice.cost * self.tracks.pixels
            if spent(poc, cost) or (contest is not None and contest.lost(poc, cost)):
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
        return Candidate(name, coded.unit, coded.anchors, costs, choices, total)

    def alone(self, name: str, coded: Coded, price: Lagrangian, gained: float = 0.0) -> Candidate:
        """A period of anchors only, as its encoder made it, were each of them better by so many bits."""
        costs = {poc: cost - gained for poc, cost in coded.costs(price).items()}
        return Candidate(name, coded.unit, coded.anchors, costs, {}, sum(costs.values()))

    def own(self, coded: Coded, price: Lagrangian, rivals: Sequence[Candidate], gained: float) -> Candidate:
        """The encoder's own order, but anchors that no other refers to become B-frames where that costs less.

        All other anchors stay as they are, to the bit; so do all that are left once little is to be gained, or less
        than a rival gained. They are not even filtered, which `gained` so many bits a picture in another order, where
        the rival would still be ahead.
        """
        plain = self.alone("own", coded, price)
        rival = min((rival.total for rival in rivals), default=NEVER)
        # Not the packets' bits: what is hidden in them for later pictures stays.
        saved = {poc: self._saved(coded, poc) for poc in self.tracks.disposable(coded)}
        if plain.total - MORE * gained * len(plain.costs) - sum(saved.values()) >= rival:
            return plain
        coded = self.tracks.shown(coded)
        own = self.alone("own", coded, price)
        needed = max(own.total - rival, LITTLE * own.bits)
        if sum(saved.values()) <= needed:
            return own  # so much is saved only where B-frames cost nothing and look better
        return self._thinned(own, coded, price, _Gain(needed, _expected(saved, coded.costs(price), rivals)), saved)

    def _thinned(
        self, own: Candidate, coded: Coded, price: Lagrangian, gain: _Gain, saved: Mapping[int, float]
    ) -> Candidate:
        """The encoder's own order with B-frames in place of spare anchors, which would save so many bits."""
        disposable = set(saved)
        worth = {poc: bits + price.of(coded.qualities[poc]) for poc, bits in saved.items()}

        def write(interval: Interval, source: Yuv420, poc: int) -> Choice:
            if gain.give_up:
                return _not_coded(source)
            choice = self.code(interval, source, poc, price, worth=worth[poc])
            gain.add(poc, worth[poc] - choice.cost * self.tracks.pixels)
            return choice

        thin = self.tracks.without(coded, disposable)
        choices, bframes = self._with_bframes(thin, write)
        for low, high in thin.source.segment.spans():
            between = range(low + 1, high)
            if sum(bframes[poc] for poc in between) >= sum(worth[poc] for poc in between):
                disposable.difference_update(between)
        rest = self.tracks.without(coded, disposable)
        costs = rest.costs(price) | {poc: bframes[poc] for poc in disposable}
        kept = {poc: choices[poc] for poc in disposable}
        return Candidate(own.name, rest.unit, rest.anchors, costs, kept, sum(costs.values()))

    def _with_bframes(self, coded: Coded, write: WriteBFrame) -> tuple[dict[int, Choice], dict[int, float]]:
        """By POC what became of the B-frames of a unit, and what they cost in bits."""
        scratch = Reconstructor(self.tracks.info, self.tracks.anchors, self.bframes)
        _, choices = code_bframes(scratch, coded.source, coded.unit, coded.anchors, write)
        return choices, {poc: choice.cost * self.tracks.pixels for poc, choice in choices.items()}

    def _saved(self, coded: Coded, poc: int) -> float:
        """Bits that go with a spare anchor."""
        return coded.point.bits - self.tracks.without(coded, {poc}).point.bits

    def code(self, interval: Interval, source: Yuv420, poc: int, price: Lagrangian, *, worth: float = NEVER) -> Choice:
        """One B-frame, at the slope of the anchors around it; only predicted if it will cost more than it is worth."""
        pixels = self.tracks.pixels
        anchors = psnr(interval.noise**2) if interval.noise else UNKNOWN_PSNR
        slope = price.slope(anchors, pixels) * 2 ** (B_LEVEL[self.tracks.measure] + self.b_offset)
        level = -price.bits_per_db * anchors if price.measure == "psnr_rgb" else -NEVER

        def score(shown: Yuv420) -> float:
            return price.of(self.tracks.quality(source, shown)) / pixels

        def give_up(free: float) -> bool:
            return level + LEAST_SHARE * max(0.0, free * pixels - level) > worth

        choice = self._write(interval, source, poc, slope, score, give_up, self._blocks.get((poc, interval.span)))
        if choice.blocks is not None:
            self._blocks[poc, interval.span] = choice.blocks
        return choice
