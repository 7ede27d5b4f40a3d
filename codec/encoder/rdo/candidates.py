# SPDX-License-Identifier: MIT
"""Candidates: the ways to code a period, each coded and measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ...bframe.predictor import Predictor
from ...bframe.records import Anchor, Choice, Interval, ToWrite
from ...bitstream.units import Unit
from ...decoder.reconstruct import Reconstructor
from ...gop.periods import Period
from ...gop.structure import Segment
from ...parallel.executor import Executor
from ...video.metrics import psnr
from ...video.picture import Colour, Yuv420
from ..coded_anchors import CodedAnchors
from ..distortion import quality_of
from ..segments import begin_bframes
from .anchor_passes import AnchorPasses
from .early_stop import Race
from .lagrangian import Lagrangian
from .mini_gop import NEVER

if TYPE_CHECKING:  # CompressAI takes seconds to import
    from ...bframe.block_motion import Blocks

LEAST_SHARE = 0.3  # of the prediction's excess over the anchors' distortion: no payload leaves less, rate included
LITTLE = 0.005  # of an order's bits: to save less than that is not tried
COMES_TRUE = 0.6  # of what B-frames instead of disposable pictures should save, about the most that they do
MORE = 2.0  # times as much as in another order is the most that filtering gains
UNKNOWN_PSNR = 40.0  # of anchors that carry no noise level
# Octaves from the slope at the anchors' quality to that of B-frames, which end up to 1 dB below. In bits for a dB,
# lambda does not change, so in bits for a unit of squared error it is lower. The best of 0, -0.7, -1.4 on foreman and
# carphone, and with errors weighed by structure of -0.1, -0.3, -0.5 on four clips.
B_LEVEL = {"psnr_rgb": -0.7, "ms_ssim": -0.3}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to code a period, measured: J in bits by POC, and in all with those that will lead the next I."""

    name: str
    unit: Unit
    anchors: dict[int, Anchor]
    costs: dict[int, float]
    choices: dict[int, Choice]
    total: float

    @property
    def bits(self) -> int:
        """Bits of all anchors and of all payloads of B-frames, framing and distortion left out."""
        payloads = [len(choice.packet.data) for choice in self.choices.values() if choice.packet is not None]
        return 8 * (sum(len(anchor.data) for anchor in self.unit.anchor_packets) + sum(payloads))


@dataclass(frozen=True)
class LagrangianScore:
    """What the distortion of a decoded picture costs, in bits a pixel; a record, so that any process can tell."""

    source: Yuv420
    lagrangian: Lagrangian
    colour: Colour

    def __call__(self, shown: Yuv420) -> float:
        """Lambda * D of the picture as it is shown."""
        quality = quality_of(self.source, shown, self.colour, self.lagrangian.measure)
        return self.lagrangian.distortion(quality) / (self.source.width * self.source.height)


@dataclass(frozen=True)
class LeastCost:
    """Whether a B-frame will cost more than `at_most` bits, by the score of its prediction in bits a pixel.

    `anchor_cost` is what the distortion of the anchors around it costs, in bits.
    """

    anchor_cost: float
    pixels: int
    at_most: float

    def __call__(self, free: float) -> bool:
        """Whether no payload will pay."""
        return self.anchor_cost + LEAST_SHARE * max(0.0, free * self.pixels - self.anchor_cost) > self.at_most


class CandidateCoder:
    """Codes candidates, and keeps what it found in a period for the next candidate of the same period.

    `executor` codes B-frames, at 2^b_offset times their slope and with so many steps of `effort` to refine them.
    `structural` has errors weighed by structure.
    """

    def __init__(
        self,
        passes: AnchorPasses,
        bframes: Predictor,
        executor: Executor,
        *,
        b_offset: float = 0.0,
        effort: int = 0,
        structural: bool = False,
    ) -> None:
        self.passes, self.bframes, self.executor = passes, bframes, executor
        self.b_offset, self.effort, self.structural = b_offset, effort, structural
        self._blocks: dict[tuple[int, int], Blocks] = {}  # by POC and span, of the periods that are under way

    def forget(self, period: Period) -> None:
        """Let go of what was found in a period; no other asks for it."""
        pocs = range(period.intra, period.intra + len(period.frames))
        for key in [key for key in list(self._blocks) if key[0] in pocs]:  # other periods may be under way
            del self._blocks[key]

    def candidate(
        self,
        name: str,
        period: Period,
        coded: CodedAnchors,
        lagrangian: Lagrangian,
        *,
        race: Race | None = None,
        known: Mapping[int, Choice] | None = None,
        step: int = 1,
    ) -> Candidate | None:
        """A period in one order with these anchors, as shown; its B-frames coded but for those `known` from before.

        Only one in `step` is coded, where no other refers to them. Those that are not, and those that will lead the
        next I, count as the others on average. None if the race is lost before they are all coded.
        """
        anchor_costs = lagrangian.costs(coded)
        pocs = [picture.poc for picture in coded.source.segment.bframes()]
        left_out = set(pocs) - set(pocs[::step])
        stand_ins = {poc: _not_coded(coded.source.at(poc).picture) for poc in left_out}
        choices: dict[int, Choice] = {}
        for poc, choice in self._coded(coded, lagrangian, known={**(known or {}), **stand_ins}):
            if poc in left_out:
                continue
            choices[poc] = choice
            if race is not None:
                race.add(poc, choice.cost * self.passes.pixels)
                if race.lost:
                    return None
        costs = anchor_costs | self._costs(choices)
        left = len(period.frames) - len(costs)
        total = sum(costs.values()) + left * fmean((self._costs(choices) or costs).values())
        return Candidate(name=name, unit=coded.unit, anchors=coded.anchors, costs=costs, choices=choices, total=total)

    def alone(self, name: str, coded: CodedAnchors, lagrangian: Lagrangian, gained: float = 0.0) -> Candidate:
        """A period of anchors only, as its encoder made it, were each of them better by so many bits."""
        costs = {poc: cost - gained for poc, cost in lagrangian.costs(coded).items()}
        return Candidate(
            name=name, unit=coded.unit, anchors=coded.anchors, costs=costs, choices={}, total=sum(costs.values())
        )

    def own(
        self,
        coded: CodedAnchors,
        lagrangian: Lagrangian,
        rivals: Sequence[Candidate],
        gained: float,
        seen: Mapping[int, float],
    ) -> Candidate:
        """The encoder's own order, but anchors that no other refers to become B-frames where that costs less.

        All other anchors stay as they are, to the bit. All of them do where B-frames would gain little, or less than
        the best rival is ahead by. `gained` is what filtering saved in another order, in bits a picture. Where a rival
        would be ahead even if it saved MORE times that, nothing is filtered. `seen` is what B-frames cost in other
        orders, in bits by POC.
        """
        plain = self.alone("own", coded, lagrangian)
        rival = min((rival.total for rival in rivals), default=NEVER)
        saved = {poc: self.passes.bits_of(coded, poc) for poc in self.passes.disposable(coded)}
        if plain.total - MORE * gained * len(plain.costs) - sum(saved.values()) >= rival:
            return plain
        coded = self.passes.meter.filtered(coded)
        own = self.alone("own", coded, lagrangian)
        needed = max(own.total - rival, LITTLE * own.bits)
        if sum(saved.values()) <= needed:
            return own  # so much is saved only where B-frames cost nothing and look better
        savings = {poc: COMES_TRUE * bits for poc, bits in _expected(saved, lagrangian.costs(coded), seen).items()}
        lead = sum(savings.values()) - needed
        if lead < 0:
            return own
        race = Race({poc: -saving for poc, saving in savings.items()}, lead)
        return self._with_disposable_replaced(own, coded, lagrangian, race, saved)

    def _with_disposable_replaced(
        self, own: Candidate, coded: CodedAnchors, lagrangian: Lagrangian, race: Race, saved: Mapping[int, float]
    ) -> Candidate:
        """The encoder's own order with B-frames in place of disposable anchors, which would save so many bits."""
        before = {poc: bits + lagrangian.distortion(coded.qualities[poc]) for poc, bits in saved.items()}
        thin = self._thinned(coded, set(saved))
        choices: dict[int, Choice] = {}
        for poc, choice in self._coded(thin, lagrangian, at_most=before):
            choices[poc] = choice
            race.add(poc, min(0.0, choice.cost * self.passes.pixels - before[poc]))
            if race.lost:
                break
        gone = _cheaper(thin.source.segment, self._costs(choices), before)
        rest = self._thinned(coded, gone)
        if 0 < len(gone) < len(saved) and rest.unit.sight:
            choices = dict(self._coded(rest, lagrangian, at_most=before))  # some references are others now
        bframes = self._costs(choices)
        costs = lagrangian.costs(rest) | {poc: bframes[poc] for poc in gone}
        replaced = Candidate(
            name=own.name,
            unit=rest.unit,
            anchors=rest.anchors,
            costs=costs,
            choices={poc: choices[poc] for poc in gone},
            total=sum(costs.values()),
        )
        return min(replaced, own, key=lambda candidate: candidate.total)

    def _thinned(self, coded: CodedAnchors, gone: set[int]) -> CodedAnchors:
        """Anchors without those that are gone, filtered as their decoder will, which does not have these either."""
        return self.passes.meter.filtered_again(self.passes.without(coded, gone)) if gone else coded

    def _costs(self, choices: Mapping[int, Choice]) -> dict[int, float]:
        """J of B-frames in bits, by POC."""
        return {poc: choice.cost * self.passes.pixels for poc, choice in choices.items()}

    def _coded(
        self,
        coded: CodedAnchors,
        lagrangian: Lagrangian,
        *,
        known: Mapping[int, Choice] | None = None,
        at_most: Mapping[int, float] | None = None,
    ) -> Iterator[tuple[int, Choice]]:
        """What becomes of the B-frames of a unit, by POC in coding order; whoever stops asking lets the others be."""
        known, limits = known or {}, at_most or {}
        spans = {picture.poc: picture.refs[1] - picture.refs[0] for picture in coded.source.segment.bframes()}

        def write(interval: Interval, source: Yuv420, poc: int) -> ToWrite:
            return self.to_write(interval, source, poc, lagrangian, at_most=limits.get(poc, NEVER))

        scratch = Reconstructor(self.passes.info, self.passes.anchor_codec, self.bframes, self.executor)
        under_way = begin_bframes(scratch, coded.source, coded.unit, coded.anchors, write, known=known)
        try:
            for poc, choice in under_way.results():
                if choice.blocks is not None and poc not in known:
                    self._blocks[poc, spans[poc]] = choice.blocks
                yield poc, choice
        finally:
            under_way.cancel()

    def to_write(
        self, interval: Interval, source: Yuv420, poc: int, lagrangian: Lagrangian, *, at_most: float = NEVER
    ) -> ToWrite:
        """One B-frame, at the slope of the anchors around it; only predicted if it will cost more than `at_most`."""
        pixels, measure = self.passes.pixels, self.passes.meter.measure
        anchor_psnr = psnr(interval.noise**2) if interval.noise else UNKNOWN_PSNR
        anchor_cost = -lagrangian.bits_per_db * anchor_psnr if lagrangian.measure == "psnr_rgb" else -NEVER
        return ToWrite(
            interval=interval,
            source=source,
            poc=poc,
            slope=lagrangian.slope(anchor_psnr, pixels) * 2 ** (B_LEVEL[measure] + self.b_offset),
            score=LagrangianScore(source, lagrangian, self.passes.info.colour),
            effort=self.effort,
            structural=self.structural,
            give_up=LeastCost(anchor_cost, pixels, at_most),
            start=self._blocks.get((poc, interval.span)),
        )


def _cheaper(segment: Segment, bframes: Mapping[int, float], before: Mapping[int, float]) -> set[int]:
    """POCs of the pictures that cost less as B-frames than `before`, all between two anchors taken together.

    Costs are in bits by POC; a B-frame that was not coded is never cheaper.
    """
    found: set[int] = set()
    for low, high in segment.spans():
        between = range(low + 1, high)
        if sum(bframes.get(poc, NEVER) for poc in between) < sum(before[poc] for poc in between):
            found.update(between)
    return found


def _expected(saved: Mapping[int, float], costs: Mapping[int, float], seen: Mapping[int, float]) -> dict[int, float]:
    """What B-frames in place of anchors should save, in bits, by what they cost in other orders; at most all bits."""
    mean = fmean(seen.values()) if seen else -NEVER
    return {poc: min(bits, max(0.0, costs[poc] - seen.get(poc, mean))) for poc, bits in saved.items()}


def _not_coded(source: Yuv420) -> Choice:
    """A stand-in for a B-frame that is not coded and never shown: the source picture at infinite cost."""
    return Choice(source, None, [], NEVER, NEVER)
