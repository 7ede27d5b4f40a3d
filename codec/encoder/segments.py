# SPDX-License-Identifier: MIT
"""The encode loop: anchors of segments in a given order, and what is coded on top of them.

source segments --code_anchors--> units --(a decision about B-frames, if one is made)--> CodedPeriod
CodedPeriod --finished--> the same with all its B-frames, its hashes, and the pictures that decoders show
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..anchors.protocol import AnchorCodec, AnchorFrame
from ..bframe.records import Anchor, Choice, Interval
from ..bitstream.units import AnchorPacket, Unit
from ..decoder.reconstruct import Reconstructor, Shown
from ..gop.periods import SourceSegment
from ..video.picture import VideoInfo, Yuv420

WriteBFrame = Callable[[Interval, Yuv420, int], Choice]  # codes a source picture, the B-frame of this POC


@dataclass(frozen=True, kw_only=True)
class CodedPeriod:
    """A segment on its way into the stream: its anchors, as decoders show them, and what was decided about B-frames.

    `decisions` and `notes` are by POC; `write` codes the B-frames that were not decided, and is None where none has a
    payload. `shown` is what decoders show, empty until it is asked for.
    """

    source: SourceSegment
    unit: Unit
    anchors: dict[int, Anchor]
    decisions: Mapping[int, Choice] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)
    write: WriteBFrame | None = None
    shown: tuple[Shown, ...] = ()


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


def finished(
    period: CodedPeriod, reconstructor: Reconstructor, *, reconstruct: bool, hashes: bool, done: Callable[[], None]
) -> CodedPeriod:
    """A period with all its B-frames coded; `done` is called after each.

    B-frames without payload are only made if `reconstruct` or `hashes` asks.
    """
    if period.write is not None:
        period = _with_bframes(period, reconstructor, period.write, done)
    elif reconstruct or hashes:
        period = replace(period, shown=tuple(reconstructor.pictures(period.unit, period.anchors)))
    if hashes:
        digests = tuple(shown.frame.picture.digest() for shown in period.shown)
        period = replace(period, unit=replace(period.unit, hashes=digests))
    return period


def _with_bframes(
    period: CodedPeriod, reconstructor: Reconstructor, write: WriteBFrame, done: Callable[[], None]
) -> CodedPeriod:
    """A period with the B-frames that were not decided coded, and all payloads in its unit."""

    def decide(interval: Interval, source: Yuv420, poc: int) -> Choice:
        choice = period.decisions.get(poc) or write(interval, source, poc)
        done()
        return choice

    shown, decisions = code_bframes(reconstructor, period.source, period.unit, period.anchors, decide)
    bframes = {poc: choice.packet for poc, choice in decisions.items() if choice.packet is not None}
    unit = replace(period.unit, bframes=bframes, coded=frozenset(bframes))
    return replace(period, unit=unit, decisions=decisions, shown=tuple(shown))


def code_bframes(
    reconstructor: Reconstructor,
    source: SourceSegment,
    unit: Unit,
    anchors: dict[int, Anchor],
    write: WriteBFrame,
) -> tuple[list[Shown], dict[int, Choice]]:
    """The pictures of a unit, and what was chosen for its B-frames, by POC."""
    choices: dict[int, Choice] = {}

    def write_one(interval: Interval, poc: int) -> Yuv420:
        choices[poc] = write(interval, source.at(poc).picture, poc)
        return choices[poc].picture

    return reconstructor.pictures(unit, anchors, write_one), choices
