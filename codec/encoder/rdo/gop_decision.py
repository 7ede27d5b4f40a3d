# SPDX-License-Identifier: MIT
"""The order of every period chosen by what it costs, the anchor encoder's own order among the choices.

    periods --> own order, three qualities ----> what quality is worth
            --> anchors 2, 4, 8 apart ---------> what blocks of each length cost --> planned order
                                                                                         |
            own order, anchors 2 apart, planned order: coded and measured --> the cheapest goes into the stream

The closed groups of all orders begin at the same pictures, so each may come from another. With a schedule that is
given, only what quality is worth is measured beside it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import tee
from operator import attrgetter
from typing import NamedTuple

from ...bframe.records import Choice, Interval
from ...bitstream.units import Unit
from ...gop.periods import Period, SourceSegment
from ...gop.structure import Segment, letters
from ...video.picture import Frame, Yuv420
from ..segments import Prepared
from .anchor_passes import Coded
from .candidates import Candidate, CandidateCoder
from .gop_search import GopSearch, PeriodStatistics
from .price import Lagrangian, lagrangian_between

PROBE = 0.7  # octaves of slope from the wanted quality to each of its neighbours: 2 crf of x265
COARSER, COARSEST = 0.35, 8.0  # octaves of slope a step, and at most, to stay below a rate
DISTANCES = (1, 2, 4, 8)
SURE = 0.01  # of an order's bits: so much dearer, and one of which half was coded is not going to win

_total = attrgetter("total")


class Survey(NamedTuple):
    """A period, what quality is worth in it, and the ways to code it."""

    period: Period
    price: Lagrangian
    candidates: list[Candidate]


class GopDecision:
    """Code a video with B-frames at the anchors' own price of quality; `distance` is None for the adaptive order."""

    def __init__(self, surveyor: CandidateCoder, distance: int | None, maxrate: int | None = None) -> None:
        self.surveyor, self.tracks = surveyor, surveyor.tracks
        self.planner = GopSearch(surveyor.tracks, surveyor.bframes)
        self.distance, self.maxrate = distance, maxrate
        self.notes: dict[int, str] = {}  # by POC: what was considered for a frame, and what became of it
        self._choices: dict[int, Choice] = {}
        self._price: Lagrangian | None = None

    def segments(self, source: Iterable[Period]) -> Iterator[Prepared]:
        """The segments of a video with their anchors coded."""
        waiting: tuple[Frame, ...] = ()
        number = 0
        for survey in self._adaptive(source) if self.distance is None else self._fixed(source, self.distance):
            best = min(survey.candidates, key=_total)
            if self.maxrate is not None:
                best = self._limited(survey, best, self.maxrate)
            self._take_notes(survey, best)
            self._choices, self._price = dict(best.choices), survey.price
            joined, unit = _joined(survey.period, best.unit, waiting, number)
            yield Prepared(joined, unit, best.anchors)
            waiting = survey.period.frames[best.unit.segment.stop - survey.period.intra :]
            number = unit.stop_anchor
            self.surveyor.forget()

    def write(self, interval: Interval, source: Yuv420, poc: int) -> Choice:
        """The B-frame as it was coded when its period was chosen; one that leads an I is coded here."""
        if poc in self._choices:
            return self._choices.pop(poc)
        assert self._price is not None, "segments come before their B-frames"
        return self.surveyor.code(interval, source, poc, self._price)

    def _limited(self, survey: Survey, best: Candidate, maxrate: int) -> Candidate:
        """The same order at the finest quality that stays below a rate in bits a second, if one does."""
        period, info = survey.period, self.tracks.info
        limit = maxrate * len(period.frames) / float(info.frame_rate)
        coarser = 0.0
        while best.bits > limit and coarser < COARSEST:
            coarser += COARSER
            anchors = self.tracks.code_anew(period, best.unit.segment.gaps, finer=-coarser)
            if anchors.point.bits < limit:
                price = survey.price.coarser(coarser)
                best = self.surveyor.candidate(f"{best.name}-", period, self.tracks.shown(anchors), price) or best
        return best

    def _fixed(self, source: Iterable[Period], distance: int) -> Iterator[Survey]:
        periods, for_price, copy = tee(source, 3)
        track = self.tracks.run(copy, distance)
        for period, price, coded in zip(periods, self._lagrangians(for_price), track, strict=True):
            only = self.surveyor.candidate(f"fixed:{distance}", period, self.tracks.shown(coded), price)
            yield Survey(period, price, [only] if only is not None else [])

    def _adaptive(self, source: Iterable[Period]) -> Iterator[Survey]:
        periods, for_price, *copies = tee(source, 2 + len(DISTANCES))
        tracks = [self.tracks.run(copy, distance) for copy, distance in zip(copies, DISTANCES, strict=True)]
        for period, price, own, half, *wide in zip(periods, self._lagrangians(for_price), *tracks, strict=True):
            anchors = self.tracks.shown(self.tracks.cheapest(period, half.source.segment.gaps, price, half))
            gained = anchors.gained(price)
            alone = self.surveyor.alone("own", own, price, gained)
            spaced = dict(zip(DISTANCES[1:], (half, *wide), strict=True))
            candidates = self._regular_and_planned(period, price, alone, anchors, spaced)
            candidates.insert(0, self.surveyor.own(own, price, candidates, gained))
            yield Survey(period, price, candidates)

    def _regular_and_planned(
        self, period: Period, price: Lagrangian, alone: Candidate, anchors: Coded, spaced: Mapping[int, Coded]
    ) -> list[Candidate]:
        """The regular order, with these anchors, and the planned one, where they are any good.

        `alone` is about what the encoder's own order costs, `spaced` are anchors that run on, as they are decoded.
        The plan is made with half of the regular order's B-frames, and the others are left out if it turns out better.
        """
        sample = self.surveyor.candidate("ibpb", period, anchors, price, alone, step=2)
        if sample is None:
            return []
        candidates = []
        plan = self.planner.best(PeriodStatistics(period, price, alone, sample, spaced, anchors.gained(price)))
        if plan is not None:
            spent = plan.budget.spent
            planned = self.surveyor.candidate("planned", period, plan.anchors, price, alone, spent=spent)
            if planned is not None:
                candidates.append(planned)
                if planned.total + SURE * planned.bits < sample.total:
                    return candidates
        regular = self.surveyor.candidate("ibpb", period, anchors, price, alone, known=sample.choices)
        return [regular, *candidates] if regular is not None else candidates

    def _lagrangians(self, source: Iterable[Period]) -> Iterator[Lagrangian]:
        """What quality is worth in each period, from the encoder's own order just above and below the quality."""
        below, above = tee(source)
        tracks = (self.tracks.run(periods, 1, finer=finer) for periods, finer in ((below, -PROBE), (above, PROBE)))
        measure, slope, pixels = self.tracks.measure, self.tracks.anchors.slope, self.tracks.pixels
        for coarse, fine in zip(*tracks, strict=True):
            yield lagrangian_between(coarse.point, fine.point, measure, slope=slope, pixels=pixels)

    def _take_notes(self, survey: Survey, best: Candidate) -> None:
        """For every frame: the order chosen, by how much each order costs more, and what the frame costs in each."""
        totals = " ".join(f"{other.name}={other.total - best.total:+.0f}" for other in survey.candidates)
        for poc in range(survey.period.intra, survey.period.intra + len(survey.period.frames)):
            costs = [f"{other.name}={other.costs[poc]:.0f}" for other in survey.candidates if poc in other.costs]
            self.notes[poc] = f"{best.name} {letters(best.unit.segment)}; period {totals}; frame {' '.join(costs)}"


def _joined(period: Period, unit: Unit, waiting: tuple[Frame, ...], number: int) -> tuple[SourceSegment, Unit]:
    """The segment with the frames that lead it, its anchors numbered from `number` on."""
    segment = Segment(period.intra, unit.segment.gaps, len(waiting))
    source = SourceSegment(segment, (*waiting, *period.frames[: segment.stop - period.intra]))
    anchors = [packet._replace(index=packet.index - unit.first_anchor + number) for packet in unit.anchors]
    return source, replace(unit, segment=segment, first_anchor=number, pts=source.pts, anchors=anchors)
