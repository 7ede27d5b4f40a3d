# SPDX-License-Identifier: MIT
"""Candidates: the ways to code a period, each coded and measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ...bframe.predictor import Predictor
from ...bframe.records import Anchor, Choice, Interval
from ...bitstream.units import Unit
from ...decoder.reconstruct import Reconstructor
from ...gop.periods import Period
from ...video.metrics import psnr
from ...video.picture import Yuv420
from ..coded_anchors import CodedAnchors
from ..segments import WriteBFrame, code_bframes
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


class GivenUpError(Exception):
    """A candidate is given up: its B-frames cost so much that it will not win."""


class CandidateCoder:
    """Codes candidates, and keeps what it found in a period for the next candidate of the same period.

    `bframes` writes B-frames, at 2^b_offset times their slope and with so much effort, judged by structure if so said.
    """

    def __init__(
        self,
        passes: AnchorPasses,
        bframes: Predictor,
        *,
        b_offset: float = 0.0,
        effort: int = 0,
        structural: bool = False,
    ) -> None:
        self.passes, self.bframes = passes, bframes
        self.b_offset, self.effort, self.structural = b_offset, effort, structural
        self._blocks: dict[tuple[int, int], Blocks] = {}  # by POC and span, of a period

    def forget(self) -> None:
        """Let go of what was found in a period; no other asks for it."""
        self._blocks.clear()

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
        anchor_costs, known = lagrangian.costs(coded), known or {}
        pocs = [picture.poc for picture in coded.source.segment.bframes()]
        left_out = set(pocs) - set(pocs[::step])

        def write(interval: Interval, source: Yuv420, poc: int) -> Choice:
            if poc in left_out:
                return _not_coded(source)
            choice = known.get(poc) or self.code(interval, source, poc, lagrangian)
            if race is not None:
                race.add(poc, choice.cost * self.passes.pixels)
                if race.lost:
                    raise GivenUpError
            return choice

        try:
            choices, bframes = self._with_bframes(coded, write)
        except GivenUpError:
            return None
        for poc in left_out:
            del choices[poc], bframes[poc]
        costs = anchor_costs | bframes
        left = len(period.frames) - len(costs)
        total = sum(costs.values()) + left * fmean((bframes or costs).values())
        return Candidate(name=name, unit=coded.unit, anchors=coded.anchors, costs=costs, choices=choices, total=total)

    def alone(self, name: str, coded: CodedAnchors, lagrangian: Lagrangian, gained: float = 0.0) -> Candidate:
        """A period of anchors only, as its encoder made it, were each of them better by so many bits."""
        costs = {poc: cost - gained for poc, cost in lagrangian.costs(coded).items()}
        return Candidate(
            name=name, unit=coded.unit, anchors=coded.anchors, costs=costs, choices={}, total=sum(costs.values())
        )

    def own(self, coded: CodedAnchors, lagrangian: Lagrangian, rivals: Sequence[Candidate], gained: float) -> Candidate:
        """The encoder's own order, but anchors that no other refers to become B-frames where that costs less.

        All other anchors stay as they are, to the bit; so do all that are left once little is to be gained, or less
        than a rival gained. They are not even filtered, which `gained` so many bits a picture in another order, where
        the rival would still be ahead.
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
        savings = {poc: COMES_TRUE * bits for poc, bits in _expected(saved, lagrangian.costs(coded), rivals).items()}
        lead = sum(savings.values()) - needed
        if lead < 0:
            return own
        race = Race({poc: -saving for poc, saving in savings.items()}, lead)
        return self._with_disposable_replaced(own, coded, lagrangian, race, saved)

    def _with_disposable_replaced(
        self, own: Candidate, coded: CodedAnchors, lagrangian: Lagrangian, race: Race, saved: Mapping[int, float]
    ) -> Candidate:
        """The encoder's own order with B-frames in place of disposable anchors, which would save so many bits."""
        gone = set(saved)
        before = {poc: bits + lagrangian.distortion(coded.qualities[poc]) for poc, bits in saved.items()}

        def write(interval: Interval, source: Yuv420, poc: int) -> Choice:
            if race.lost:
                return _not_coded(source)
            choice = self.code(interval, source, poc, lagrangian, at_most=before[poc])
            race.add(poc, min(0.0, choice.cost * self.passes.pixels - before[poc]))
            return choice

        thin = self.passes.without(coded, gone)
        choices, bframes = self._with_bframes(thin, write)
        for low, high in thin.source.segment.spans():
            between = range(low + 1, high)
            if sum(bframes[poc] for poc in between) >= sum(before[poc] for poc in between):
                gone.difference_update(between)
        rest = self.passes.without(coded, gone)
        costs = lagrangian.costs(rest) | {poc: bframes[poc] for poc in gone}
        return Candidate(
            name=own.name,
            unit=rest.unit,
            anchors=rest.anchors,
            costs=costs,
            choices={poc: choices[poc] for poc in gone},
            total=sum(costs.values()),
        )

    def _with_bframes(self, coded: CodedAnchors, write: WriteBFrame) -> tuple[dict[int, Choice], dict[int, float]]:
        """By POC what became of the B-frames of a unit, and their J in bits."""
        scratch = Reconstructor(self.passes.info, self.passes.anchor_codec, self.bframes)
        _, choices = code_bframes(scratch, coded.source, coded.unit, coded.anchors, write)
        return choices, {poc: choice.cost * self.passes.pixels for poc, choice in choices.items()}

    def code(
        self, interval: Interval, source: Yuv420, poc: int, lagrangian: Lagrangian, *, at_most: float = NEVER
    ) -> Choice:
        """One B-frame, at the slope of the anchors around it; only predicted if it will cost more than `at_most`."""
        pixels = self.passes.pixels
        anchor_psnr = psnr(interval.noise**2) if interval.noise else UNKNOWN_PSNR
        slope = lagrangian.slope(anchor_psnr, pixels) * 2 ** (B_LEVEL[self.passes.meter.measure] + self.b_offset)
        anchor_distortion = -lagrangian.bits_per_db * anchor_psnr if lagrangian.measure == "psnr_rgb" else -NEVER

        def score(shown: Yuv420) -> float:
            return lagrangian.distortion(self.passes.meter.quality(source, shown)) / pixels

        def give_up(free: float) -> bool:
            return anchor_distortion + LEAST_SHARE * max(0.0, free * pixels - anchor_distortion) > at_most

        choice = self.bframes.write(
            interval,
            source,
            poc,
            slope=slope,
            score=score,
            effort=self.effort,
            structural=self.structural,
            give_up=give_up,
            start=self._blocks.get((poc, interval.span)),
        )
        if choice.blocks is not None:
            self._blocks[poc, interval.span] = choice.blocks
        return choice


def _expected(saved: Mapping[int, float], costs: Mapping[int, float], rivals: Iterable[Candidate]) -> dict[int, float]:
    """What B-frames in place of anchors should save, in bits, by what they cost in other orders; at most all bits."""
    known = {poc: rival.costs[poc] for rival in rivals for poc in rival.choices}
    mean = fmean(known.values()) if known else -NEVER
    return {poc: min(bits, max(0.0, costs[poc] - known.get(poc, mean))) for poc, bits in saved.items()}


def _not_coded(source: Yuv420) -> Choice:
    """A stand-in for a B-frame that is not coded and never shown: the source picture at infinite cost."""
    return Choice(source, None, [], NEVER, NEVER)
