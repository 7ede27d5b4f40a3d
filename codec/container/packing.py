# SPDX-License-Identifier: MIT
"""What our units in a film hold: the packets of an .ncm stream, those of anchors without the anchors' bytes.

The bytes are in the film's samples already. What is left of an ANCHORS packet keeps the checksum of the whole, so a
reader that puts the bytes back has the stream as it was, or knows that it is damaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import islice, pairwise
from typing import NamedTuple

from ..bitstream import syntax
from ..bitstream.fields import Cursor, Field, Values, pack, put_uint, unpack
from ..bitstream.framing import PacketSource, frame_packet, frame_trailer, read_header, write_header
from ..bitstream.index import entries
from ..bitstream.limits import Budget
from ..bitstream.syntax import CRC_BYTES, MAGIC, MARK, Kind
from ..bitstream.units import Header, Unit, read_segment
from ..errors import StreamError
from .sample import SampleFormat

# What an ANCHORS packet in a film keeps of its body.
ANCHORS = (
    *(field for field in syntax.ANCHORS if field.name in ("first", "count", "steps")),
    Field(
        "starts",
        "rest",
        "HEVC and AVC: for each NAL unit of each anchor but its first, 1 if its start code had four bytes and not "
        "three; a bit each, low bits first, the last byte filled with zeros",
    ),
)
FOR_PEOPLE = ("title", "language")  # options of the header that are left out of its copies
SEGMENT_MARK, ANCHORS_MARK, END_MARK = (MARK | kind for kind in (Kind.SEGMENT, Kind.ANCHORS, Kind.END))


def emptied(packet: bytes, body: bytes, starts: Sequence[int]) -> bytes:
    """An ANCHORS packet, given whole and by its body, without lengths and data; `starts` are its anchors' bits."""
    values = unpack(syntax.ANCHORS, body, "ANCHORS packet")
    bits = sum(bit << place for place, bit in enumerate(starts))
    left = pack(ANCHORS, values | {"starts": bits.to_bytes((len(starts) + 7) // 8, "little")})
    return bytes([ANCHORS_MARK]) + put_uint(len(left)) + left + packet[-CRC_BYTES:]


def refilled(left: bytes, check: bytes, parts: Iterator[list[bytes]], form: SampleFormat) -> bytes:
    """The whole packet again, from what was left of it and the parts of the next samples. StreamError if they lack."""
    values = unpack(ANCHORS, left, "ANCHORS packet of a film")
    samples = list(islice(parts, values["count"]))
    if len(samples) < values["count"]:
        raise StreamError("ANCHORS packet of a film: samples are missing")
    bits = int.from_bytes(values["starts"], "little")
    anchors = []
    for sample in samples:
        count = max(len(sample) - 1, 0)
        anchors.append(form.anchor(sample, [bits >> place & 1 for place in range(count)]))
        bits >>= count
    whole = values | {"lengths": [len(anchor) for anchor in anchors], "data": b"".join(anchors)}
    body = pack(syntax.ANCHORS, whole)
    return bytes([ANCHORS_MARK]) + put_uint(len(body)) + body + check


@dataclass
class Group:
    """The samples of a film from one with a unit of ours to the next: that unit's content, and the samples' parts.

    The parts are read as they are asked for, and once.
    """

    content: bytes
    shown: int  # when the first sample is presented, and when it is decoded, in the film's units
    decoded: int
    parts: Iterator[list[bytes]]

    def stream(self, form: SampleFormat) -> Iterator[bytes]:
        """The .ncm stream's bytes behind its header, item by item; what is damaged stays so, and cannot pass for good.

        The END packet comes without the bytes behind it.
        """
        for mark, body, check, whole in _packets(self.content):
            if mark == ANCHORS_MARK:
                try:
                    yield refilled(body, check, self.parts, form)
                except (StreamError, ValueError):
                    continue  # the reader sees that anchors are missing
            else:
                yield whole

    def unit(self, header: Header) -> Unit | None:
        """Its segment, without what belongs to it; None if that is not known."""
        for mark, _, _, whole in _packets(self.content):
            if mark == SEGMENT_MARK and (packet := PacketSource(BytesIO(whole)).packet()) is not None:
                with suppress(StreamError):
                    return read_segment(packet.body, header, Budget())[0]
        return None


class End(NamedTuple):
    """The last bytes of a stream, where they start, and by its place each segment's I (its poc)."""

    offset: int
    data: bytes
    intras: dict[int, int]


def end_of(group: Group, form: SampleFormat, header: Header, first: tuple[int, int]) -> End | None:
    """The END packet by the last group of a film that begins with this I at this place; None unless all is well."""
    *before, last = [fitted(item, first) for item in group.stream(form)] or [b""]
    packet, unit = PacketSource(BytesIO(last)).packet(), group.unit(header)
    if packet is None or packet.kind != Kind.END or unit is None:
        return None
    try:
        found = entries(unpack(syntax.END, packet.body, "END packet of a film"))
    except StreamError:
        return None
    intras = {offset: intra for intra, offset in found}
    start = next((place for place, intra in intras.items() if intra == unit.segment.intra), None)
    return None if start is None else End(start + sum(map(len, before)), last, intras)


def fitted(item: bytes, first: tuple[int, int]) -> bytes:
    """An item of a stream that begins with this I (its poc) at this place; END gets the bytes behind it.

    Somebody may have cut the film: then END tells of the segments that are left, at their new places.
    """
    if item[:1] != bytes([END_MARK]):
        return item
    packet = PacketSource(BytesIO(item)).packet()
    if packet is not None:
        with suppress(StreamError):
            item = _moved(item, unpack(syntax.END, packet.body, "END packet of a film"), *first)
    return item + frame_trailer(len(item))


def _moved(end: bytes, values: Values, first: int, place: int) -> bytes:
    """An END packet, given its fields too, for a stream in which this I lies first, at this place."""
    listed = entries(values)
    moved = next((place - offset for intra, offset in listed if intra == first), 0)
    if not moved:  # nothing was cut, or not by anyone who leaves what we know
        return end
    kept = [(intra, offset + moved) for intra, offset in listed if intra >= first]
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise([(0, 0), *kept])]
    left = {"segments": len(kept), "intras": [step[0] for step in steps], "offsets": [step[1] for step in steps]}
    return frame_packet(Kind.END, pack(syntax.END, {"pictures": values["pictures"], **left}))


def header_copy(header: Header) -> bytes:
    """A header without what is for people, for every further unit: so that the film can be cut before it."""
    options = {name: values for name, values in header.options.items() if name not in FOR_PEOPLE}
    return write_header(replace(header, anchor_settings="", options=options))


def header_in(content: bytes) -> tuple[Header, int]:
    """The .ncm header that a unit starts with, and its length. StreamError, VersionError too, if there is none."""
    source = PacketSource(BytesIO(content))
    return read_header(source), source.offset


def _packets(content: bytes) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """First byte, body, checksum and all bytes of each packet behind the header; 0 for what cannot be parsed."""
    cursor = Cursor(content, "unit of a film")
    try:
        if content.startswith(MAGIC):  # whether it is good does not matter here
            cursor.take(len(MAGIC) + 1)
            cursor.take(cursor.uint() + CRC_BYTES)
    except StreamError:
        yield 0, b"", b"", content
        return
    while cursor.left:
        start = cursor.position
        try:
            mark, body, check = cursor.take(1)[0], cursor.take(cursor.uint()), cursor.take(CRC_BYTES)
        except StreamError:
            yield 0, b"", b"", content[start:]
            return
        yield mark, body, check, content[start : cursor.position]
