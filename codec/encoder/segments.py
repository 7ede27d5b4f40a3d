# SPDX-License-Identifier: MIT
"""The encode loop: anchors of segments in a given order, and what is coded on top of them.

source segments --code_anchors--> units --(a decision about B-frames, if one is made)--> CodedPeriod
CodedPeriod --begin--> PeriodUnderWay --finished--> the same with all its B-frames, its hashes, and what decoders show
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..anchors.protocol import AnchorCodec, AnchorFrame
from ..bframe.records import Anchor, Choice, Interval, ToWrite
from ..bframe.tasks import Made, WriteTask
from ..bitstream.units import AnchorPacket, Unit
from ..decoder.reconstruct import Reconstructor
from ..decoder.under_way import SegmentUnderWay, Shown
from ..gop.periods import SourceSegment
from ..video.picture import VideoInfo, Yuv420
from .journal import Kept
from .report import FrameRow

WriteBFrame = Callable[[Interval, Yuv420, int], ToWrite]  # how to code a source picture, the B-frame of this POC


@dataclass(frozen=True, kw_only=True)
class CodedPeriod:
    """A segment on its way into the stream: its anchors, as decoders show them, and what was decided about B-frames.

    `decisions` and `notes` are by POC; `write` codes the B-frames that were not decided, and is None where none has a
    payload. `shown` is what decoders show, empty until it is asked for. `rows` are there if the unit is complete, as
    it was kept from before; then there are no `anchors`.
    """

    source: SourceSegment
    unit: Unit
    anchors: dict[int, Anchor]
    decisions: Mapping[int, Choice] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)
    write: WriteBFrame | None = None
    shown: tuple[Shown, ...] = ()
    rows: tuple[FrameRow, ...] = ()


def kept_period(source: SourceSegment, kept: Kept) -> CodedPeriod:
    """A period that was complete when an encode stopped."""
    return CodedPeriod(source=source, unit=kept.unit, anchors={}, rows=kept.rows)


def code_anchors(
    anchor_codec: AnchorCodec, info: VideoInfo, sources: Iterable[SourceSegment]
) -> Iterator[tuple[SourceSegment, Unit]]:
    """Segments, each with its coded anchors as a unit; pulls as many as the anchor encoder's lookahead needs."""
    waiting: deque[SourceSegment] = deque()

    def frames() -> Iterator[AnchorFrame]:
        for source in sources:
            waiting.append(source)
            for poc in source.segment.anchor_pocs:
                yield AnchorFrame(source.at(poc).picture, key=poc == source.segment.intra)

    packets: list[AnchorPacket] = []
    first_anchor = 0
    for packet in anchor_codec.encode(frames(), info):
        packets.append(packet)
        if len(packets) == len(waiting[0].segment.anchor_pocs):
            source = waiting.popleft()
            yield source, Unit(source.segment, first_anchor, source.pts, anchor_packets=packets)
            first_anchor += len(packets)
            packets = []
    assert not waiting and not packets, "the anchor encoder kept a picture to itself"


@dataclass(frozen=True, kw_only=True)
class PeriodUnderWay:
    """A period whose B-frames have been handed out; None where none are made."""

    period: CodedPeriod
    writing: SegmentUnderWay[Choice] | None = None
    reading: SegmentUnderWay[Made] | None = None

    def finished(self, *, hashes: bool, done: Callable[[], None]) -> CodedPeriod:
        """The period with all its B-frames coded; `done` is called after each. Waits for them."""
        period = self.period
        if self.writing is not None:
            period = _with_payloads(period, self.writing, done)
        elif self.reading is not None:
            period = replace(period, shown=tuple(self.reading.pictures()))
        if hashes and not period.rows:
            digests = tuple(shown.frame.picture.digest() for shown in period.shown)
            period = replace(period, unit=replace(period.unit, hashes=digests))
        return period


def begin(period: CodedPeriod, reconstructor: Reconstructor, *, reconstruct: bool, again: bool) -> PeriodUnderWay:
    """Hand out the B-frames of a period; those without payload are only made if `reconstruct` asks.

    Of a period that is kept from before, all are decoded if they are wanted `again`, else none.
    """
    if period.rows and not again:
        reconstructor.pass_over(period.unit)
        return PeriodUnderWay(period=period)
    if period.rows:
        period = replace(period, anchors=reconstructor.anchors(period.unit))
    if period.write is not None:
        writing = begin_bframes(
            reconstructor, period.source, period.unit, period.anchors, period.write, known=period.decisions
        )
        return PeriodUnderWay(period=period, writing=writing)
    reading = reconstructor.begin(period.unit, period.anchors) if reconstruct else None
    return PeriodUnderWay(period=period, reading=reading)


def begin_bframes(
    reconstructor: Reconstructor,
    source: SourceSegment,
    unit: Unit,
    anchors: dict[int, Anchor],
    write: WriteBFrame,
    *,
    known: Mapping[int, Choice],
) -> SegmentUnderWay[Choice]:
    """Hand out the B-frames of a unit, to be coded, except those that are known already, by POC."""

    def plan(interval: Interval, poc: int, lost: bool) -> WriteTask:
        return WriteTask(write(interval, source.at(poc).picture, poc))

    return reconstructor.begin_with(plan, unit, anchors, known)


def _with_payloads(period: CodedPeriod, writing: SegmentUnderWay[Choice], done: Callable[[], None]) -> CodedPeriod:
    """A period with what was decided about its B-frames, and all payloads in its unit."""
    decisions: dict[int, Choice] = {}
    for poc, choice in writing.results():
        decisions[poc] = choice
        done()
    bframes = {poc: choice.packet for poc, choice in decisions.items() if choice.packet is not None}
    unit = replace(period.unit, bframes=bframes, coded=frozenset(bframes))
    return replace(period, unit=unit, decisions=decisions, shown=tuple(writing.pictures()))
