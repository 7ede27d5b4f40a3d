# SPDX-License-Identifier: MIT
"""The encode and the decode loop over a whole video, one segment at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ..anchors.protocol import AnchorCodec, AnchorFrame
from ..bframe.records import Anchor, Choice, Interval, Trial
from ..bitstream.units import AnchorPacket, Unit
from ..decoder.reconstruct import Reconstructor, Shown
from ..gop.periods import SourceSegment
from ..video.picture import VideoInfo, Yuv420
from .distortion import DistortionMeter

WriteBFrame = Callable[[Interval, Yuv420, int], Choice]  # codes a source picture, the B-frame of this POC


class Prepared(NamedTuple):
    """A segment with its anchors coded; by POC as decoders will show them, if the unit says already how they do."""

    source: SourceSegment
    unit: Unit
    anchors: dict[int, Anchor] | None = None


class CodedSegment(NamedTuple):
    """A segment with its source, what goes into the stream, and what a decoder will show (empty if nobody asked).

    `trials` are what was tried for B-frames, by POC.
    """

    source: SourceSegment
    unit: Unit
    shown: list[Shown]
    trials: dict[int, list[Trial]]


def code_anchors(anchors: AnchorCodec, info: VideoInfo, sources: Iterable[SourceSegment]) -> Iterator[Prepared]:
    """Segments, each with its coded anchors as a unit; pulls as many as the anchor encoder's lookahead needs."""
    waiting: deque[SourceSegment] = deque()

    def frames() -> Iterator[AnchorFrame]:
        for source in sources:
            waiting.append(source)
            for poc in source.segment.anchors:
                yield AnchorFrame(source.at(poc).picture, key=poc == source.segment.intra)

    packets: list[AnchorPacket] = []
    first_anchor = 0
    for packet in anchors.encode(frames(), info):
        packets.append(packet)
        if len(packets) == len(waiting[0].segment.anchors):
            source = waiting.popleft()
            yield Prepared(source, Unit(source.segment, first_anchor, source.pts, anchors=packets))
            first_anchor += len(packets)
            packets = []
    assert not waiting and not packets, "the anchor encoder kept a picture to itself"


class Encoder:
    """Make the units of a stream out of segments with coded anchors: B-frames, noise level, hashes.

    What decoders shall show for anchors is assessed here where that is not known yet.
    """

    def __init__(self, reconstructor: Reconstructor, assess: DistortionMeter, write: WriteBFrame | None = None) -> None:
        self.reconstructor = reconstructor
        self.assess = assess
        self.write = write

    def encode(
        self, segments: Iterable[Prepared], *, reconstruct: bool, hashes: bool = False
    ) -> Iterator[CodedSegment]:
        """The coded segments in order. B-frames without payload are made only if `reconstruct` or `hashes` asks."""
        for source, unit, anchors in segments:
            if anchors is None:
                plain = self.assess(source, unit, self.reconstructor.decoded(unit))
                unit, anchors, _ = self.assess.filtered(source, plain)
            shown: list[Shown] = []
            choices: dict[int, Choice] = {}
            if self.write:
                shown, choices = code_bframes(self.reconstructor, source, unit, anchors, self.write)
                bframes = {poc: choice.packet for poc, choice in choices.items() if choice.packet is not None}
                unit = replace(unit, bframes=bframes, coded=frozenset(bframes))
            elif reconstruct or hashes:
                shown = self.reconstructor.pictures(unit, anchors)
            if hashes:
                unit = replace(unit, hashes=tuple(s.frame.picture.digest() for s in shown))
            yield CodedSegment(source, unit, shown, {poc: choice.trials for poc, choice in choices.items()})


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
