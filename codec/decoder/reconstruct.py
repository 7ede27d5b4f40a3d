# SPDX-License-Identifier: MIT
"""From one coded segment to the pictures that are shown: the same lines in the encoder and in the decoder."""

from collections.abc import Container, Mapping

from ..anchors.protocol import AnchorCodec
from ..bframe.anchor_filter import AnchorFilter
from ..bframe.predictor import Predictor
from ..bframe.records import Anchor, Interval
from ..bframe.tasks import FilterTask, Made, PredictTask, ReadTask, change_tasks
from ..bitstream.syntax import ALL_POCS
from ..bitstream.units import Damage, Unit
from ..gop.structure import needed
from ..parallel.executor import Executor, InProcess, handed_out
from ..video.picture import Frame, VideoInfo, Yuv420, blank
from .under_way import AnchorsUnderWay, MadeT, Plan, SegmentUnderWay, Shown


class Reconstructor:
    """Decode the segments of one video in order; remembers the last anchor, which leading B-frames refer to.

    B-frames are made by `executor`, by default in this process.
    """

    def __init__(
        self, info: VideoInfo, anchor_codec: AnchorCodec, predictor: Predictor, executor: Executor | None = None
    ) -> None:
        self.info = info
        self.anchor_codec = anchor_codec
        self.predictor = predictor
        self.executor = executor or InProcess(predictor)
        self._last: Shown | None = None
        self._passed: Unit | None = None

    def decoded(self, unit: Unit) -> dict[int, Yuv420]:
        """The anchors of a segment by POC as their codec decodes them; those that were lost are absent."""
        decoded = self.anchor_codec.decode(unit.anchor_packets, self.info)
        pocs = unit.segment.anchor_pocs
        return {pocs[index - unit.first_anchor]: picture for index, picture in decoded.items()}

    def anchors(self, unit: Unit) -> dict[int, Anchor]:
        """The decoded anchors of a segment by POC, filtered if the segment says so; those that were lost are absent."""
        return self.begin_anchors(unit).finished()

    def begin_anchors(self, unit: Unit) -> AnchorsUnderWay:
        """Decode the anchors of a segment, and hand them out to be filtered, if it says so and the model can."""
        decoded = self.decoded(unit)
        if not unit.strengths or (anchor_filter := self.predictor.anchor_filter) is None:
            return AnchorsUnderWay(decoded, {})
        return begin_filters(self.executor, anchor_filter, decoded, unit)

    def begin(self, unit: Unit, anchors: dict[int, Anchor], wanted: Container[int] = ALL_POCS) -> SegmentUnderWay[Made]:
        """Hand out the B-frames of a segment, to be decoded; anchors are its decoded ones by POC.

        A lost anchor is concealed by the last good picture, and all that refers to it counts as concealed too.
        B-frames that lead the very first segment given (after a seek) have lost their past and are left out.
        Those that are neither wanted nor referred to are not made: copies of other pictures stand in for them.
        """
        left_out = {picture.poc for picture in unit.segment.bframes()}.difference(needed(unit.segment, wanted))
        known = {poc: Made(self._stand_in(poc, anchors)) for poc in left_out}

        def plan(interval: Interval, poc: int, lost: bool) -> ReadTask | PredictTask:
            packet = unit.bframes.get(poc)
            return PredictTask(interval) if packet is None or lost else ReadTask(interval, packet)

        return self.begin_with(plan, unit, anchors, known)

    def begin_with(
        self, plan: Plan[MadeT], unit: Unit, anchors: dict[int, Anchor], known: Mapping[int, MadeT] | None = None
    ) -> SegmentUnderWay[MadeT]:
        """Hand out the B-frames of a segment by a plan, except those that are known already, by POC."""
        references = self._references(unit, anchors)
        self._last = references[unit.segment.stop - 1]
        return SegmentUnderWay(unit, references, noise_level(unit.anchor_quality_qdb), self.executor, plan, known or {})

    def pass_over(self, unit: Unit) -> None:
        """A segment whose pictures are not asked for; its last anchor is decoded if the next segment is."""
        self._passed = unit

    def pictures(self, unit: Unit, anchors: dict[int, Anchor]) -> list[Shown]:
        """All pictures of a segment in display order, made from its decoded anchors."""
        return self.begin(unit, anchors).pictures()

    def undecodable(self, segment: SegmentUnderWay[Made]) -> list[Damage]:
        """What the stream holds of a segment and cannot be decoded; waits for its B-frames."""
        unit, found = segment.unit, []
        if unit.strengths and self.predictor.anchor_filter is None:
            problem = f"model {self.predictor.model.name!r} has no filter for anchors"
            found.append(Damage(unit.segment.first, problem))
        elif self.predictor.anchor_filter is not None and not _corrects(self.predictor.anchor_filter, unit):
            had, weighed = sum(self.predictor.anchor_filter.corrections), len(unit.corrections)
            found.append(Damage(unit.segment.first, f"{weighed} corrections of anchors, and the filter has {had}"))
        return found + [Damage(poc, made.problem) for poc, made in segment.results() if made.problem]

    def _stand_in(self, poc: int, anchors: dict[int, Anchor]) -> Yuv420:
        """The anchor before a picture, or the one after it; black if all are lost."""
        near = max((p for p in anchors if p < poc), default=min(anchors, default=None))
        return blank(self.info) if near is None else anchors[near].shown

    def _references(self, unit: Unit, anchors: dict[int, Anchor]) -> dict[int, Shown]:
        """The anchors by POC, with stand-ins for lost ones, and the one before the segment where it is referred to."""
        if (passed := self._passed) is not None:
            self._passed = None
            self._last = self._references(passed, self.anchors(passed))[passed.segment.stop - 1]
        segment = unit.segment
        shown: dict[int, Shown] = {}
        if segment.leading and self._last is not None:
            shown[self._last.poc] = self._last
        good = Anchor(self._last.decoded, self._last.frame.picture) if self._last else Anchor(*[blank(self.info)] * 2)
        for poc, kind in ((p.poc, p.kind) for p in segment.pictures() if p.kind != "B"):
            good = anchors.get(poc, good)
            frame = Frame(unit.pts[poc - segment.first], good.shown)
            shown[poc] = Shown(poc, kind, frame, poc not in anchors, good.decoded)
        return shown


def unfiltered(decoded: dict[int, Yuv420]) -> dict[int, Anchor]:
    """Anchors by POC, shown as they were decoded."""
    return {poc: Anchor(picture, picture) for poc, picture in decoded.items()}


def begin_filters(
    executor: Executor, anchor_filter: AnchorFilter, decoded: dict[int, Yuv420], unit: Unit
) -> AnchorsUnderWay:
    """Hand out the decoded anchors of a unit, by POC, to be filtered as it says."""
    noise = noise_level(unit.anchor_quality_qdb)
    changes = change_tasks(anchor_filter, decoded, noise, [unit.sight])
    corrections = unit.corrections if _corrects(anchor_filter, unit) else ()
    tasks = {poc: FilterTask(change, unit.strengths, corrections, unit.wiener) for poc, change in changes.items()}
    return AnchorsUnderWay(decoded, handed_out(executor, tasks))


def _corrects(anchor_filter: AnchorFilter, unit: Unit) -> bool:
    """Whether a filter has the corrections that a unit weighs, if it weighs any."""
    return not unit.corrections or len(unit.corrections) == sum(anchor_filter.corrections)


def noise_level(quality_qdb: int) -> float:
    """RMS error in [0,1] units from a PSNR in quarter dB, 0 = unknown."""
    return 10 ** (-quality_qdb / 80) if quality_qdb else 0.0
