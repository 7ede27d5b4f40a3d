# SPDX-License-Identifier: MIT
"""What an .ncm stream holds, as records, and each as packet bodies and back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeVar

from ..bitstream import syntax
from ..errors import StreamError
from ..gop.structure import Segment
from ..video.picture import Colour, VideoInfo
from .fields import Cursor, pack, unpack
from .syntax import HASHED, POSTFILTER, Kind

HASH_BYTES = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """What holds for the whole stream; the fields of syntax.HEADER."""

    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    bit_depth: int
    matrix: str
    full_range: bool
    mode: str
    gop: str
    intra_period: int
    anchor_codec: str
    anchor_settings: str
    model: str
    fingerprint: bytes

    @property
    def info(self) -> VideoInfo:
        """The video's format: size, frame rate, time base, bit depth and colour."""
        colour = Colour(self.matrix, self.full_range)
        return VideoInfo(self.width, self.height, self.frame_rate, self.time_base, self.bit_depth, colour)

    def nominal_pts(self, poc: int) -> int:
        """When a picture is shown at a constant rate from 0 on, in units of the time base, halves rounded up."""
        ticks = self.frame_rate * self.time_base
        return (2 * poc * ticks.denominator + ticks.numerator) // (2 * ticks.numerator)


class AnchorPacket(NamedTuple):
    """One coded anchor. `index` counts anchors of the video in display order; packets come in coding order."""

    index: int  # type: ignore[assignment]  # tuple.index is of no use here
    key: bool
    data: bytes


class BFramePacket(NamedTuple):
    """The payload of one B-frame; `mode` and `quality` are those of its coder, 0..255."""

    poc: int
    mode: int
    quality: int
    data: bytes


class Damage(NamedTuple):
    """Something lost; `poc` is the first picture affected."""

    poc: int
    what: str


@dataclass
class Unit:
    """A segment and all that the stream holds of it; `coded` are the B-frames that should have a payload.

    `pts` is one time a picture and `hashes` one hash a picture or none, in display order. `anchor_packets` are in
    coding order, numbered from `first_anchor` in display order; `anchor_quality_qdb` is the PSNR of what they decode to
    in quarters of a dB, 0 = unknown. `strengths` is of the filter that anchors are shown by, in eighths for each plane;
    () if there is none. A damaged unit lacks what `damage` says. `offset` is its SEGMENT packet's in the stream,
    `offsets` are those of the packets with the pictures' bytes, by POC.
    """

    segment: Segment
    first_anchor: int
    pts: tuple[int, ...]
    anchor_quality_qdb: int = 0
    anchor_packets: list[AnchorPacket] = field(default_factory=list)
    bframes: dict[int, BFramePacket] = field(default_factory=dict)
    hashes: tuple[bytes, ...] = ()
    coded: frozenset[int] = frozenset()
    strengths: tuple[int, ...] = ()
    offset: int = field(default=0, compare=False)
    offsets: dict[int, int] = field(default_factory=dict, compare=False)
    damage: list[Damage] = field(default_factory=list)

    @property
    def stop_anchor(self) -> int:
        """One past the number of the last anchor."""
        return self.first_anchor + len(self.segment.anchor_pocs)

    @property
    def payload_order(self) -> list[int]:
        """POCs of the B-frames that should have a payload, in coding order."""
        return [picture.poc for picture in self.segment.bframes() if picture.poc in self.coded]

    @property
    def sizes(self) -> dict[int, int]:
        """How many bytes each picture has, by POC; B-frames without a payload are absent."""
        pocs = self.pocs_by_anchor
        anchors = {pocs[anchor.index]: len(anchor.data) for anchor in self.anchor_packets}
        return anchors | {poc: len(bframe.data) for poc, bframe in self.bframes.items()}

    @property
    def pocs_by_anchor(self) -> dict[int, int]:
        """The picture of each anchor by the anchor's number."""
        return dict(enumerate(self.segment.anchor_pocs, self.first_anchor))


class Content(NamedTuple):
    """A packet to write, and the pictures whose bytes are in it."""

    kind: Kind
    body: bytes
    pocs: tuple[int, ...] = ()


def contents(unit: Unit, header: Header) -> list[Content]:
    """The packets of a unit. ValueError if something in it cannot be written or does not fit its segment."""
    check_unit(unit)
    packets = [Content(Kind.SEGMENT, _segment_body(unit, header))]
    anchor_pocs = unit.pocs_by_anchor
    for anchors in groups(unit.anchor_packets, lambda anchor: len(anchor.data)):
        pocs = tuple(anchor_pocs[anchor.index] for anchor in anchors)
        packets.append(Content(Kind.ANCHORS, _anchors_body(anchors), pocs))
    for bframes in groups([unit.bframes[poc] for poc in unit.payload_order], lambda bframe: len(bframe.data)):
        packets.append(Content(Kind.BFRAMES, _bframes_body(bframes), tuple(bframe.poc for bframe in bframes)))
    if unit.hashes:
        values = {"first": unit.segment.first, "hashes": b"".join(unit.hashes)}
        packets.append(Content(Kind.HASHES, pack(syntax.HASHES, values)))
    return packets


def check_unit(unit: Unit) -> None:
    """ValueError if the parts of a unit do not fit each other."""
    segment, count = unit.segment, len(unit.segment.pocs)
    bframes = {picture.poc for picture in segment.bframes()}
    indices = sorted(anchor.index for anchor in unit.anchor_packets)
    problems = {
        "a segment has no picture or too many": not 0 < count <= syntax.MAX_PICTURES,
        "pts is not one time a picture": len(unit.pts) != count,
        "pts do not increase": any(a >= b for a, b in pairwise(unit.pts)),
        "pts are out of range": any(abs(time) > syntax.MAX_TIME for time in unit.pts),
        "anchors are not one for each anchor of the segment": indices != [*range(unit.first_anchor, unit.stop_anchor)],
        "an anchor is key without being the I": any(
            a.key != (a.index == unit.first_anchor) for a in unit.anchor_packets
        ),
        "coded is not the set of B-frames with a payload": not unit.bframes.keys() == unit.coded <= bframes,
        "a B-frame is filed under another poc": any(poc != b.poc for poc, b in unit.bframes.items()),
        "hashes are neither none nor one a picture": len(unit.hashes) not in (0, count),
        "strengths are neither none nor one a plane": len(unit.strengths) not in (0, 3),
        f"a hash is not {HASH_BYTES} bytes": any(len(item) != HASH_BYTES for item in unit.hashes),
    }
    for problem, found in problems.items():
        if found:
            raise ValueError(f"pictures {segment.first}..{segment.stop - 1}: {problem}")


def groups(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """Runs of items that share a packet: as many as it takes to pass GROUP_BYTES."""
    group: list[T] = []
    total = 0
    for item in items:
        group.append(item)
        total += size(item)
        if total > syntax.GROUP_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group


def _segment_body(unit: Unit, header: Header) -> bytes:
    segment = unit.segment
    drift = [time - header.nominal_pts(poc) for poc, time in zip(segment.pocs, unit.pts, strict=True)]
    values = {
        "first_anchor": unit.first_anchor,
        "intra": segment.intra,
        "leading": segment.leading,
        "anchors": len(segment.anchor_pocs),
        "gaps": list(segment.gaps),
        "anchor_quality": unit.anchor_quality_qdb,
        "extras": HASHED * bool(unit.hashes) + POSTFILTER * bool(unit.strengths),
        "strengths": list(unit.strengths),
        "shift": drift[0],
        "steps": [b - a for a, b in pairwise(drift)],
        "coded": [int(picture.poc in unit.coded) for picture in segment.bframes()],
    }
    return pack(syntax.SEGMENT, values)


def read_segment(body: bytes, header: Header) -> tuple[Unit, bool]:
    """A unit with nothing in it yet, and whether it should have hashes. StreamError if the body cannot be right."""
    values = unpack(syntax.SEGMENT, body, "SEGMENT packet")
    segment = Segment(values["intra"], tuple(values["gaps"]), values["leading"])
    if segment.first < 0 or len(segment.pocs) > syntax.MAX_PICTURES:
        raise StreamError(f"SEGMENT packet: pictures {segment.first}..{segment.stop - 1}")
    drift = accumulate(values["steps"], initial=values["shift"])
    pts = tuple(header.nominal_pts(poc) + late for poc, late in zip(segment.pocs, drift, strict=True))
    if any(a >= b for a, b in pairwise(pts)) or max(-pts[0], pts[-1]) > syntax.MAX_TIME:
        raise StreamError("SEGMENT packet: presentation times do not increase or are out of range")
    coded = (picture.poc for picture, flag in zip(segment.bframes(), values["coded"], strict=True) if flag)
    unit = Unit(segment, values["first_anchor"], pts, values["anchor_quality"], coded=frozenset(coded))
    return replace(unit, strengths=tuple(values["strengths"])), bool(values["extras"] & HASHED)


def _anchors_body(anchors: list[AnchorPacket]) -> bytes:
    values = {
        "first": anchors[0].index,
        "count": len(anchors),
        "steps": [b.index - a.index - 1 for a, b in pairwise(anchors)],
        "lengths": [len(anchor.data) for anchor in anchors],
        "data": b"".join(anchor.data for anchor in anchors),
    }
    return pack(syntax.ANCHORS, values)


def add_anchors(unit: Unit, body: bytes) -> None:
    """Put the anchors of a packet into their unit. StreamError if they are not of this unit or are there already."""
    values = unpack(syntax.ANCHORS, body, "ANCHORS packet")
    indices = list(accumulate(values["steps"], lambda index, step: index + 1 + step, initial=values["first"]))
    distinct = {*indices, *(anchor.index for anchor in unit.anchor_packets)}
    ours = range(unit.first_anchor, unit.stop_anchor)
    if len(distinct) != len(indices) + len(unit.anchor_packets) or any(index not in ours for index in indices):
        raise StreamError("ANCHORS packet: anchors that are there already or belong elsewhere")
    parts = _split(values["data"], values["lengths"], "ANCHORS packet")
    unit.anchor_packets += [
        AnchorPacket(index, index == unit.first_anchor, data) for index, data in zip(indices, parts, strict=True)
    ]


def _bframes_body(bframes: list[BFramePacket]) -> bytes:
    values = {
        "first": bframes[0].poc,
        "count": len(bframes),
        "modes": [bframe.mode for bframe in bframes],
        "qualities": [bframe.quality for bframe in bframes],
        "lengths": [len(bframe.data) for bframe in bframes],
        "data": b"".join(bframe.data for bframe in bframes),
    }
    return pack(syntax.BFRAMES, values)


def add_bframes(unit: Unit, body: bytes) -> None:
    """Put the payloads of a packet into their unit. StreamError if they are not of this unit or are there already."""
    values = unpack(syntax.BFRAMES, body, "BFRAMES packet")
    order = unit.payload_order
    start = order.index(values["first"]) if values["first"] in order else len(order)
    pocs = order[start : start + values["count"]]
    if len(pocs) != values["count"] or not unit.bframes.keys().isdisjoint(pocs):
        raise StreamError("BFRAMES packet: payloads that are there already or belong elsewhere")
    parts = _split(values["data"], values["lengths"], "BFRAMES packet")
    entries = zip(pocs, values["modes"], values["qualities"], parts, strict=True)
    unit.bframes |= {entry[0]: BFramePacket(*entry) for entry in entries}


def add_hashes(unit: Unit, body: bytes) -> None:
    """Put the hashes into their unit. StreamError if they are not of this unit or are there already."""
    values = unpack(syntax.HASHES, body, "HASHES packet")
    count = len(unit.segment.pocs)
    if unit.hashes or values["first"] != unit.segment.first:
        raise StreamError("HASHES packet: hashes that are there already or belong elsewhere")
    unit.hashes = tuple(_split(values["hashes"], [HASH_BYTES] * count, "HASHES packet"))


def missing(unit: Unit, *, hashed: bool) -> list[Damage]:
    """What a unit lacks of what its SEGMENT packet promised."""
    have = {anchor.index for anchor in unit.anchor_packets}
    anchors = [poc for index, poc in unit.pocs_by_anchor.items() if index not in have]
    payloads = unit.coded - unit.bframes.keys()
    damage = []
    if anchors:
        damage.append(Damage(anchors[0], f"{len(anchors)} of {len(unit.segment.anchor_pocs)} anchors are missing"))
    if payloads:
        damage.append(Damage(min(payloads), f"{len(payloads)} of {len(unit.coded)} B-frame payloads are missing"))
    if hashed and not unit.hashes:
        damage.append(Damage(unit.segment.first, "the hashes are missing"))
    return damage


def _split(data: bytes, lengths: list[int], what: str) -> list[bytes]:
    """The data in parts of these lengths. StreamError if there is more or less of it."""
    if sum(lengths) != len(data):
        raise StreamError(f"{what}: {len(data)} bytes of data, {sum(lengths)} are announced")
    cursor = Cursor(data, what)
    return [cursor.take(length) for length in lengths]
