# SPDX-License-Identifier: MIT
"""The order of every period chosen by what it costs, the anchor encoder's own order among the choices.

    periods --> own order, and one coarser ----> lambda
            --> anchors 2, 4, 8 apart ---------> what blocks of each length cost --> planned order
                                                                                         |
            own order, anchors 2 apart, planned order: coded and measured --> the cheapest goes into the stream

The closed groups of all orders begin at the same pictures, so each may come from another. With a schedule that is
given, only lambda is measured beside it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import tee
from operator import attrgetter
from statistics import fmean

from ...gop.periods import Period, SourceSegment
from ...gop.structure import Segment, letters
from ...notes import tell
from ...parallel.executor import done_ahead
from ...video.picture import Frame
from ..coded_anchors import CodedAnchors
from ..journal import Kept
from ..segments import CodedPeriod, kept_period
from .anchor_passes import PeriodPasses
from .candidates import Candidate, CandidateCoder
from .early_stop import Race
from .gop_search import GopSearch, PeriodStatistics
from .lagrangian import Lagrangian, lagrangian_of

PROBE = 0.7  # octaves of slope from the wanted quality to the coarser one: 2 crf of x265
COARSER = 0.35  # octaves of slope a step, to stay below a rate
DISTANCES = (1, 2, 4, 8)
ALIKE = 8  # pictures around: in as many, an encoder's own order has dear and cheap ones
CLEAR = 0.06  # of the own order's bits: what the regular order may seem to lose before it is given up
SURE = 0.01  # of an order's bits: one that is so much dearer when half of it is coded will not win

_total = attrgetter("total")


class GopDecision:
    """Decides how each period of a video is coded; `distance` is None for the adaptive order.

    The first periods were decided before, if any are `kept`.
    """

    def __init__(
        self,
        coder: CandidateCoder,
        distance: int | None,
        maxrate: int | None = None,
        kept: Iterator[Kept] = iter(()),  # noqa: B008 (it has nothing to share)
    ) -> None:
        self.coder, self.passes = coder, coder.passes
        self.search = GopSearch(coder.passes, coder.executor)
        self.distance, self.maxrate, self.kept = distance, maxrate, kept
        self.above: dict[int, float] = {}  # the rate of each segment above maxrate, in bits a second, by its I

    def decisions(self, source: Iterable[Period]) -> Iterator[CodedPeriod]:
        """The periods of a video as they go into the stream.

        Pictures past a period's last anchor wait for the next I, which they lead; these are not decided yet.
        """
        waiting: tuple[Frame, ...] = ()
        notes: dict[int, str] = {}
        number = 0
        for passes, decided in done_ahead(self.coder.executor, self.decide, self._passes(source)):
            notes = {**notes, **decided.notes}  # of those that waited too
            joined = replace(_joined(decided, waiting, number), notes=notes)
            yield joined
            taken = joined.unit.segment.stop - joined.unit.segment.intra
            waiting, number = passes.period.frames[taken:], joined.unit.stop_anchor
            notes = {poc: note for poc, note in notes.items() if poc >= joined.unit.segment.stop}
        if self.above:
            tell("--maxrate", [_not_met(self.above)])

    def decide(self, passes: PeriodPasses) -> CodedPeriod:
        """The cheapest way to code a period: its anchors, its B-frames, and why; as it was coded, if it is kept."""
        if (kept := passes.kept) is not None:
            segment = replace(kept.unit.segment, leading=0)
            return kept_period(SourceSegment(segment, passes.period.frames[: len(segment.pocs)]), kept)
        candidates = self._adaptive(passes) if self.distance is None else self._fixed(passes, self.distance)
        best = min(candidates, key=_total)
        if self.maxrate is not None:
            best = self._limited(passes, best, self.maxrate)
        self.coder.forget(passes.period)
        segment = best.unit.segment
        return CodedPeriod(
            source=SourceSegment(segment, passes.period.frames[: segment.stop - segment.intra]),
            unit=best.unit,
            anchors=best.anchors,
            decisions=best.choices,
            notes=_notes(passes.period, candidates, best),
            write=partial(self.coder.to_write, lagrangian=passes.lagrangian),
        )

    def _passes(self, source: Iterable[Period]) -> Iterator[PeriodPasses]:
        """Every period coded by encoders that run on, all in step."""
        distances = DISTANCES if self.distance is None else tuple(sorted({1, self.distance}))  # 1: for lambda
        periods, below, *copies = tee(source, 2 + len(distances))
        coarser = self.passes.run(below, 1, finer=-PROBE)
        spaced = [self.passes.run(copy, distance) for copy, distance in zip(copies, distances, strict=True)]
        for period, low, *coded in zip(periods, coarser, *spaced, strict=True):
            runs = dict(zip(distances, coded, strict=True))
            lagrangian = self._lagrangian(runs[1], low)
            yield PeriodPasses(period=period, lagrangian=lagrangian, runs=runs, kept=next(self.kept, None))

    def _lagrangian(self, own: CodedAnchors, coarser: CodedAnchors) -> Lagrangian:
        """Lambda in a period, from the encoder's own order at the quality and just below."""
        measure, slope = self.passes.meter.measure, self.passes.anchor_codec.slope
        return lagrangian_of(own, coarser, measure, slope=slope, pixels=self.passes.pixels)

    def _fixed(self, passes: PeriodPasses, distance: int) -> list[Candidate]:
        """The one candidate of a schedule that is given."""
        coded = self.passes.meter.filtered(passes.runs[distance])
        only = self.coder.candidate(f"fixed:{distance}", passes.period, coded, passes.lagrangian)
        assert only is not None  # it has no rival
        return [only]

    def _adaptive(self, passes: PeriodPasses) -> list[Candidate]:
        """The encoder's own order, anchors 2 apart, and the planned order, where they are any good."""
        period, lagrangian, half = passes.period, passes.lagrangian, passes.runs[2]
        coded = self.passes.meter.filtered(self.passes.cheapest(period, half.source.segment.gaps, lagrangian, half))
        gain = lagrangian.filter_gain(coded)
        alone = self.coder.alone("own", passes.runs[1], lagrangian, gain)
        rivals, seen = self._regular_and_planned(passes, alone, coded, gain)
        return [self.coder.own(passes.runs[1], lagrangian, rivals, gain, seen), *rivals]

    def _regular_and_planned(
        self, passes: PeriodPasses, alone: Candidate, coded: CodedAnchors, gain: float
    ) -> tuple[list[Candidate], dict[int, float]]:
        """The regular order, with these anchors, and the planned one; and what all B-frames tried cost, by POC.

        The plan is made with half of the regular order's B-frames. The others are left out if the plan turns out
        better, or the encoder's own order, which costs about as much as `alone`.
        """
        period, lagrangian = passes.period, passes.lagrangian
        race = _race(alone, coded, lagrangian)
        sample = self.coder.candidate("ibpb", period, coded, lagrangian, race=race, step=2)
        if sample is None or sample.total > alone.total + CLEAR * alone.bits:
            return [], race.costs
        candidates = []
        statistics = PeriodStatistics(passes=passes, alone=alone, regular=sample, filter_gain=gain)
        if (plan := self.search.best(statistics)) is not None:
            wide, planned_race = plan
            planned = self.coder.candidate("planned", period, wide, lagrangian, race=planned_race)
            if planned is not None:
                candidates.append(planned)
        best = min([alone.total, *(candidate.total for candidate in candidates)])
        if best + SURE * sample.bits >= sample.total:
            race = _race(alone, coded, lagrangian)
            regular = self.coder.candidate("ibpb", period, coded, lagrangian, race=race, known=sample.choices)
            if regular is not None:
                candidates.insert(0, regular)
        known = race.costs | {poc: other.costs[poc] for other in candidates for poc in other.choices}
        return candidates, known

    def _limited(self, passes: PeriodPasses, best: Candidate, maxrate: int) -> Candidate:
        """The best candidate, coded in the same order at the finest quality that stays below a rate in bits a second.

        If no quality does, at the coarsest that the encoder has.
        """
        period = passes.period
        seconds = len(period.frames) / float(self.passes.info.frame_rate)
        coarser, limit, ended = 0.0, maxrate * seconds, False
        while best.bits > limit and not ended:
            coarser += COARSER
            ended = self.passes.is_coarsest(-coarser)
            coded = self.passes.code_anew(period, best.unit.segment.gaps, finer=-coarser)
            if coded.bits < limit or ended:
                lagrangian = passes.lagrangian.coarser(coarser)
                shown = self.passes.meter.filtered(coded)
                best = self.coder.candidate(f"{best.name}-", period, shown, lagrangian) or best
        if best.bits > limit:
            self.above[period.intra] = best.bits / seconds
        return best


def _race(alone: Candidate, coded: CodedAnchors, lagrangian: Lagrangian) -> Race:
    """The regular order against the encoder's own, which may still get cheaper by B-frames of ours.

    In the encoder's order every second or fourth picture may be a dear one, which others refer to. In the regular order
    B-frames are all alike. So each is expected to cost what those around it cost there in the mean.
    """
    anchors = lagrangian.costs(coded)
    bframes = [poc for poc in alone.costs if poc not in anchors]  # those too that will lead the next I
    expected = {poc: fmean(alone.costs[near] for near in bframes if abs(near - poc) <= ALIKE) for poc in bframes}
    lead = CLEAR * alone.bits + alone.total - sum(anchors.values()) - sum(expected.values())
    return Race(expected, lead)


def _not_met(above: dict[int, float]) -> str:
    """What is said of segments that are above the rate."""
    first, worst = min(above), max(above.values()) / 1000
    where = f"not met in {len(above)} segments, the first at frame {first}"
    return f"{where}: coded as coarsely as the encoder can, they take up to {worst:.1f} kbit/s"


def _notes(period: Period, candidates: Iterable[Candidate], best: Candidate) -> dict[int, str]:
    """For every frame: the order chosen, by how much each order costs more, and what the frame costs in each."""
    candidates = list(candidates)
    totals = " ".join(f"{other.name}={other.total - best.total:+.0f}" for other in candidates)
    notes = {}
    for poc in range(period.intra, period.intra + len(period.frames)):
        costs = [f"{other.name}={other.costs[poc]:.0f}" for other in candidates if poc in other.costs]
        notes[poc] = f"{best.name} {letters(best.unit.segment)}; period {totals}; frame {' '.join(costs)}"
    return notes


def _joined(decided: CodedPeriod, waiting: tuple[Frame, ...], number: int) -> CodedPeriod:
    """The period with the frames that lead it, its anchors numbered from `number` on."""
    unit = decided.unit
    segment = Segment(unit.segment.intra, unit.segment.gaps, len(waiting))
    source = SourceSegment(segment, (*waiting, *decided.source.frames))
    packets = [packet._replace(index=packet.index - unit.first_anchor + number) for packet in unit.anchor_packets]
    unit = replace(unit, segment=segment, first_anchor=number, pts=source.pts, anchor_packets=packets)
    return replace(decided, source=source, unit=unit)
