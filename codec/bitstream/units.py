# SPDX-License-Identifier: MIT
"""What an .ncm stream holds, as records, and each as packet bodies and back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, pairwise
from operator import add
from typing import Any, NamedTuple, TypeVar

from ..errors import StreamError
from ..gop.structure import Segment
from ..video.picture import Colour, VideoInfo
from . import syntax
from .fields import Cursor, Values, pack, unpack
from .limits import Budget, segment_problem, times_problem
from .presentation import presentation_of
from .syntax import CORRECTED, HASHED, POSTFILTER, WIENER, Kind, Sight

HASH_BYTES = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Header:
    """What holds for the whole stream: the fields of syntax.HEADER, and of syntax.OPTIONS by the option's name."""

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
    options: Mapping[str, Values] = field(default_factory=dict)

    @property
    def info(self) -> VideoInfo:
        """The video's format: size, frame rate, time base, bit depth, colour and presentation."""
        return VideoInfo(
            self.width,
            self.height,
            self.frame_rate,
            self.time_base,
            self.bit_depth,
            Colour(self.matrix, self.full_range),
            presentation_of(self.options),
        )

    def nominal_pts(self, pocs: Iterable[int]) -> list[int]:
        """When pictures are shown at a constant rate from 0 on, in units of the time base, halves rounded up."""
        ticks = self.frame_rate * self.time_base
        up, down = ticks.denominator, ticks.numerator
        return [(2 * poc * up + down) // (2 * down) for poc in pocs]


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
    () if there is none; `sight` is what it sees of neighbouring anchors. `corrections` are how much of each of its
    corrections is added, in eighths, one plane after another; () if none is. `wiener` are weights of Wiener filters
    that come last, likewise. A damaged unit lacks what `damage` says.
    `offset` is its SEGMENT packet's in the stream, `offsets` are those of the packets with the pictures' bytes, by POC.
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
    sight: Sight = Sight.ALONE
    corrections: tuple[int, ...] = ()
    wiener: tuple[int, ...] = ()
    offset: int = field(default=0, compare=False)
    offsets: dict[int, int] = field(default_factory=dict, compare=False)
    damage: list[Damage] = field(default_factory=list)

    @property
    def stop_anchor(self) -> int:
        """One past the number of the last anchor."""
        return self.first_anchor + len(self.segment.anchor_pocs)

    @cached_property
    def payload_order(self) -> list[int]:
        """POCs of the B-frames that should have a payload, in coding order."""
        if not self.coded:
            return []
        return [picture.poc for picture in self.segment.bframes() if picture.poc in self.coded]

    @cached_property
    def payload_places(self) -> dict[int, int]:
        """Where each B-frame stands in `payload_order`."""
        return {poc: place for place, poc in enumerate(self.payload_order)}

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
    """The packets of a unit that `check_unit` has passed. ValueError if something in it cannot be written."""
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
    drift = [time - nominal for time, nominal in zip(unit.pts, header.nominal_pts(segment.pocs), strict=True)]
    values = {
        "first_anchor": unit.first_anchor,
        "intra": segment.intra,
        "leading": segment.leading,
        "anchors": len(segment.anchor_pocs),
        "gaps": list(segment.gaps),
        "anchor_quality": unit.anchor_quality_qdb,
        "extras": _extras(unit),
        "strengths": list(unit.strengths),
        "wiener": list(unit.wiener),
        "corrected": [len(unit.corrections)] if unit.corrections else [],
        "corrections": list(unit.corrections),
        "shift": drift[0],
        "steps": [b - a for a, b in pairwise(drift)],
        "coded": [int(picture.poc in unit.coded) for picture in segment.bframes()],
    }
    return pack(syntax.SEGMENT, values)


def _extras(unit: Unit) -> int:
    filters = POSTFILTER * bool(unit.strengths) + unit.sight + WIENER * bool(unit.wiener)
    return HASHED * bool(unit.hashes) + filters + CORRECTED * bool(unit.corrections)


def read_segment(body: bytes, header: Header, budget: Budget) -> tuple[Unit, bool]:
    """A unit with nothing in it yet, and whether it should have hashes. StreamError if the body cannot be right."""
    values = unpack(syntax.SEGMENT, body, "SEGMENT packet", budget)
    segment = Segment(values["intra"], tuple(values["gaps"]), values["leading"])
    drift = accumulate(values["steps"], initial=values["shift"])
    pts = tuple(map(add, header.nominal_pts(segment.pocs), drift))
    if problem := segment_problem(segment, header.intra_period) or times_problem(pts, header.time_base):
        raise StreamError(f"SEGMENT packet: {problem}")
    flags = values["coded"]
    coded = (picture.poc for picture, flag in zip(segment.bframes(), flags, strict=True) if flag) if any(flags) else ()
    unit = Unit(segment, values["first_anchor"], pts, values["anchor_quality"], coded=frozenset(coded))
    return replace(unit, **_filtering(values, header)), bool(values["extras"] & HASHED)


def _filtering(values: Values, header: Header) -> dict[str, Any]:
    """How anchors are filtered, as fields of a unit. StreamError if the header does not name what filters them."""
    bits = values["extras"] & Sight.PREDICTION
    if bits not in [*Sight]:
        raise StreamError("SEGMENT packet: anchors beside what a network makes of neighbours, without these")
    sight = Sight(bits)
    if sight and not (values["strengths"] and "neighbour_filter" in header.options):
        raise StreamError("SEGMENT packet: anchors beside their neighbours, without a filter for them")
    if values["wiener"] and not values["strengths"]:
        raise StreamError("SEGMENT packet: Wiener filters after a filter that is not there")
    if values["corrections"] and not sight:
        raise StreamError("SEGMENT packet: corrections of a filter that sees no neighbours")
    found = {name: tuple(values[name]) for name in ("strengths", "corrections", "wiener")}
    return {"sight": sight, **found}


def _anchors_body(anchors: list[AnchorPacket]) -> bytes:
    values = {
        "first": anchors[0].index,
        "count": len(anchors),
        "steps": [b.index - a.index - 1 for a, b in pairwise(anchors)],
        "lengths": [len(anchor.data) for anchor in anchors],
        "data": b"".join(anchor.data for anchor in anchors),
    }
    return pack(syntax.ANCHORS, values)


def add_anchors(unit: Unit, body: bytes, offset: int, budget: Budget) -> None:
    """Put the anchors of a packet into their unit. StreamError if they are not of this unit or are there already."""
    values = unpack(syntax.ANCHORS, body, "ANCHORS packet", budget)
    parts = _split(values["data"], values["lengths"], "ANCHORS packet")
    indices = list(accumulate(values["steps"], lambda index, step: index + 1 + step, initial=values["first"]))
    places, anchor_pocs = {index - unit.first_anchor for index in indices}, unit.segment.anchor_pocs
    ours = len(places) == len(indices) and min(places) >= 0 and max(places) < len(anchor_pocs)
    if not ours or not unit.offsets.keys().isdisjoint(pocs := [anchor_pocs[place] for place in places]):
        raise StreamError("ANCHORS packet: anchors that are there already or belong elsewhere")
    unit.anchor_packets += [
        AnchorPacket(index, index == unit.first_anchor, data) for index, data in zip(indices, parts, strict=True)
    ]
    unit.offsets |= dict.fromkeys(pocs, offset)


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


def add_bframes(unit: Unit, body: bytes, offset: int, budget: Budget) -> None:
    """Put the payloads of a packet into their unit. StreamError if they are not of this unit or are there already."""
    values = unpack(syntax.BFRAMES, body, "BFRAMES packet", budget)
    start = unit.payload_places.get(values["first"], len(unit.payload_order))
    pocs = unit.payload_order[start : start + values["count"]]
    if len(pocs) != values["count"] or not unit.bframes.keys().isdisjoint(pocs):
        raise StreamError("BFRAMES packet: payloads that are there already or belong elsewhere")
    parts = _split(values["data"], values["lengths"], "BFRAMES packet")
    entries = zip(pocs, values["modes"], values["qualities"], parts, strict=True)
    unit.bframes.update((entry[0], BFramePacket(*entry)) for entry in entries)
    unit.offsets |= dict.fromkeys(pocs, offset)


def add_hashes(unit: Unit, body: bytes, _: int, budget: Budget) -> None:
    """Put the hashes into their unit. StreamError if they are not of this unit or are there already."""
    values = unpack(syntax.HASHES, body, "HASHES packet", budget)
    count = len(unit.segment.pocs)
    if unit.hashes or values["first"] != unit.segment.first:
        raise StreamError("HASHES packet: hashes that are there already or belong elsewhere")
    unit.hashes = tuple(_split(values["hashes"], [HASH_BYTES] * count, "HASHES packet"))


def _split(data: bytes, lengths: list[int], what: str) -> list[bytes]:
    """The data in parts of these lengths. StreamError if there is more or less of it."""
    if sum(lengths) != len(data):
        raise StreamError(f"{what}: {len(data)} bytes of data, {sum(lengths)} are announced")
    cursor = Cursor(data, what)
    return [cursor.take(length) for length in lengths]
