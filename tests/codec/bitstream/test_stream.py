# SPDX-License-Identifier: MIT
"""Laws of the .ncm stream: what is written is read, and what is damaged is reported."""

import hashlib
import io
import re
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streams import HEADER, make, read, write

from codec.bitstream import syntax
from codec.bitstream.fields import Cursor, Field, pack, put_uint, put_uints, unpack, unzigzag, zigzag
from codec.bitstream.framing import Packet, PacketSource, checksum, frame_packet
from codec.bitstream.options import pack_options, read_options
from codec.bitstream.reader import StreamReader
from codec.bitstream.units import AnchorPacket, BFramePacket, Damage, Header, Unit, contents
from codec.bitstream.writer import StreamWriter
from codec.errors import StreamError, VersionError
from codec.gop.structure import Segment

GOLDEN = "cd915f8ab3ca9909"
LOST = re.compile(r"pictures (\d+)\.\.(\d+) are lost with their segments")


class Pipe(io.RawIOBase):
    """A file that can only be read on, and gives a few bytes at a time."""

    def __init__(self, data: bytes):
        self.data = data

    def readable(self):
        return True

    def read(self, size=-1):
        size = min(size, 7) if size >= 0 else len(self.data)
        part, self.data = self.data[:size], self.data[size:]
        return part

    def seek(self, *_):
        raise io.UnsupportedOperation("seek")

    tell = seek


@cache
def small():
    """Three segments: an ordinary one, one with leading B-frames and payloads, one after a cut with late pictures."""
    units = (
        make(Segment(0, (2, 2)), 0, size=17),
        make(Segment(6, (2, 2), 1), 3, size=11, coded=(5, 9), hashes=True),
        make(Segment(11, (1, 3)), 6, size=9, coded=(13,), late=(0, 0, 1, 5)),
    )
    return units, write(units)


# Write and read.


@st.composite
def videos(draw):
    """A few units that follow each other."""
    units, poc, anchor, time = [], 0, 0, draw(st.integers(-(10**12), 10**12))
    for _ in range(draw(st.integers(1, 4))):
        leading = draw(st.integers(0, 4)) if units else 0
        gaps = draw(st.lists(st.integers(1, 9), max_size=6))
        segment = Segment(poc + leading, tuple(gaps), leading)
        pts = []
        for _ in segment.pocs:
            time += draw(st.one_of(st.just(33), st.integers(1, 10**9)))
            pts.append(time)
        sizes = st.sampled_from([1, 9, 127, 128, 700, 2500])
        data = st.builds(lambda n, c: bytes([c]) * n, sizes, st.integers(0, 255))
        indices = [anchor, *draw(st.permutations(range(anchor + 1, anchor + 1 + len(gaps))))]
        anchors = [AnchorPacket(index, index == anchor, draw(data)) for index in indices]
        pocs = [picture.poc for picture in segment.bframes()]
        coded = draw(st.one_of(st.just(set()), st.just(set(pocs)), st.sets(st.sampled_from(pocs)))) if pocs else set()
        byte = st.integers(0, 255)
        bframes = {p: BFramePacket(p, draw(byte), draw(byte), draw(st.one_of(data, st.just(b"")))) for p in coded}
        hashes = tuple(poc.to_bytes(8, "big") for poc in segment.pocs) if draw(st.booleans()) else ()
        units.append(Unit(segment, anchor, tuple(pts), draw(byte), anchors, bframes, hashes, frozenset(coded)))
        poc, anchor = segment.stop, anchor + len(anchors)
    return units


@settings(max_examples=60, deadline=None)
@given(videos())
def test_units_come_back_as_written(units):
    header = replace(HEADER, intra_period=64)
    data = write(units, header)
    again, reader = read(data)
    assert again == units and reader.header == header
    assert not reader.truncated and reader.damage == []
    assert reader.index() == [(unit.segment.intra, unit.offset) for unit in again]


def test_a_pipe_is_enough_to_read():
    units, data = small()
    reader = StreamReader(Pipe(data))
    assert list(reader.units()) == list(units) and not reader.damage
    assert list(reader.units()) == [] and not reader.damage and not reader.truncated
    with pytest.raises(StreamError, match="pipe"):
        reader.index()
    with pytest.raises(StreamError, match="pipe"):
        reader.seek(0)


def test_records_say_what_each_picture_cost():
    writer = StreamWriter(io.BytesIO(), HEADER)
    records = [record for unit in small()[0] for record in writer.write(unit)]
    assert [r.poc for r in records[:5]] == [0, 2, 4, 1, 3]
    by_poc = {r.poc: r for r in records}
    assert (by_poc[0].kind, by_poc[0].bits) == ("I", 17 * 8)
    assert (by_poc[5].kind, by_poc[5].mode, by_poc[5].bits) == ("B", 5 % 3, 11 * 8)
    assert (by_poc[1].mode, by_poc[1].bits) == (None, 0)
    data = small()[1]
    assert all(data[r.offset] in (0xA1, 0xA2, 0xA3) for r in records)
    assert data[by_poc[1].offset] == 0xA1 and data[by_poc[0].offset] == 0xA2 and data[by_poc[5].offset] == 0xA3


def test_the_stream_is_frozen():
    assert hashlib.sha256(small()[1]).hexdigest()[:16] == GOLDEN, "the format changed: is that on purpose?"


def test_info_is_the_format_of_the_video():
    info = HEADER.info
    assert (info.width, info.height, info.bit_depth, info.colour.matrix) == (64, 48, 8, "bt709")
    assert [field.name for field in fields(Header)] == [*(field.name for field in syntax.HEADER), "options"]


# Overhead.


def test_framing_of_a_low_rate_video_is_small():
    units = [make(Segment(0, (1,) * 32), 0, size=300)]
    writer = StreamWriter(io.BytesIO(), replace(HEADER, intra_period=33))
    writer.write(units[0])
    framing = writer.bytes_by_kind["SEGMENT"] + writer.bytes_by_kind["ANCHORS"] - 33 * 300
    assert framing < 0.012 * 33 * 300
    second = make(Segment(34, (2,) * 15, 1), 33, size=200)
    before = writer.bytes_written
    writer.write(second)
    assert writer.bytes_written - before - 16 * 200 <= 16 * 4


def test_times_of_a_constant_rate_cost_a_byte_a_segment():
    regular = replace(make(Segment(0, (1,) * 30), 0, size=1, shift=7))
    body = contents(regular, HEADER)[0].body
    shorter = contents(replace(make(Segment(0, (1,)), 0, size=1, shift=7)), HEADER)[0].body
    assert len(body) == len(shorter)


# Damage.


def check(data, units):
    """The law of damage. Returns what was read, None if the header was refused.

    Whatever the bytes, pictures and their times increase, every anchor and payload is one that was written, a unit
    without damage is one that was written, and if not all is there then something is reported, lost pictures too.
    """
    try:
        again, reader = read(data)
    except StreamError:
        return None
    pocs = [poc for unit in again for poc in unit.segment.pocs]
    assert pocs == sorted(set(pocs)) and all(poc < reader.stop for poc in pocs)
    lost = set(range(reader.stop)).difference(pocs)
    assert lost == {
        poc for told in map(LOST.match, whats(reader)) if told for poc in range(int(told[1]), int(told[2]) + 1)
    }
    times = [time for unit in again for time in unit.pts]
    assert times == sorted(set(times))
    if again != list(units):
        assert reader.damage or any(unit.damage for unit in again)
    assert not reader.truncated or reader.damage
    for unit in again:
        if not unit.damage:
            assert unit in units
    written = {anchor for unit in units for anchor in unit.anchor_packets}
    assert all(anchor in written for unit in again for anchor in unit.anchor_packets)
    assert all(bframe in units_payloads(units) for unit in again for bframe in unit.bframes.values())
    return again, reader


def whats(reader):
    return [damage.what for damage in reader.damage]


def units_payloads(units):
    return {bframe for unit in units for bframe in unit.bframes.values()}


def pictures(units):
    return sum(len(unit.segment.pocs) for unit in units)


def test_every_truncation_is_reported():
    units, data = small()
    for size in range(len(data)):
        result = check(data[:size], units)
        if result:
            again, reader = result
            assert reader.damage
            assert reader.truncated or again == list(units)
            # A segment whose SEGMENT packet is there is read, whatever follows.
            whole = sum(kind == syntax.Kind.SEGMENT and stop <= size for _, stop, kind in spans(data))
            assert [unit.segment for unit in again] == [unit.segment for unit in units[:whole]]


def test_every_bit_flip_is_reported():
    units, data = small()
    header = StreamReader(io.BytesIO(data))._start
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        result = check(bytes(flipped), units)
        assert (result is None) == (bit < 8 * header)
        if result:
            _, reader = result
            # One flip hits one packet, so either END or all segments are there: every picture is known.
            assert reader.stop == pictures(units) and reader.damage and not reader.truncated


def spans(data):
    """Offset, end and kind of each packet."""
    source = PacketSource(io.BytesIO(data))
    source.take(StreamReader(io.BytesIO(data))._start)
    return [(item.offset, item.stop, item.kind) for item in source.packets() if isinstance(item, Packet)]


def test_every_packet_lost_repeated_or_moved_is_reported():
    units, data = small()
    for start, stop, _ in spans(data):
        for other in (data[:start] + data[stop:], data[:stop] + data[start:]):
            assert check(other, units) is not None
        for at, _, _ in spans(data):
            rest = data[:start] + data[stop:]
            at -= (stop - start) * (at > start)
            moved = rest[:at] + data[start:stop] + rest[at:]
            assert check(moved, units) is not None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_reported(draw):
    units, data = small()
    start = draw.draw(st.integers(0, len(data)))
    stop = draw.draw(st.integers(start, len(data)))
    new = draw.draw(
        st.one_of(st.binary(max_size=40), st.lists(st.sampled_from([0xA1, 0xA5, 0xFF, 1]), max_size=40).map(bytes))
    )
    check(data[:start] + new + data[stop:], units)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(syntax.Kind)), st.binary(max_size=30)), max_size=5))
def test_packets_of_any_content_are_only_damage(packets):
    _, data = small()
    start = StreamReader(io.BytesIO(data))._start
    bodies = b"".join(frame_packet(kind, body) for kind, body in packets)
    reader = StreamReader(io.BytesIO(data[:start] + bodies))
    try:
        assert all(isinstance(unit, Unit) for unit in reader.units())
    except StreamError as error:
        assert "SEGMENT" in str(error)
    else:
        assert reader.damage
    reader.index()


def test_a_lost_segment_is_told_by_its_pictures():
    units, data = small()
    for lost in (0, 1, 2):
        at = read(data)[0][lost].offset
        broken = bytearray(data)
        broken[at + 3] ^= 0xFF
        again, reader = check(bytes(broken), units)
        pocs = units[lost].segment.pocs
        told = f"pictures {pocs.start}..{pocs.stop - 1} are lost with their segments"
        assert Damage(pocs.start, told) in reader.damage
        assert again == [unit for k, unit in enumerate(units) if k != lost] and reader.stop == 16


def test_lost_packets_leave_holes():
    units, data = small()
    for start, _, kind in spans(data):
        broken = bytearray(data)
        broken[start + 3] ^= 0xFF
        again, reader = check(bytes(broken), units)
        holes = [damage.what for unit in again for damage in unit.damage]
        expected = {"ANCHORS": "anchors", "BFRAMES": "payload", "HASHES": "hashes"}
        if kind == syntax.Kind.END:
            assert again == list(units) and holes == [] and any("index" in what for what in whats(reader))
        elif kind == syntax.Kind.SEGMENT:
            assert holes == [] and any(map(LOST.match, whats(reader)))
        else:
            assert len(holes) == 1 and expected[kind.name] in holes[0]


def test_garbage_after_the_end_is_reported():
    units, data = small()
    again, reader = check(data + b"x", units)
    assert again == list(units) and len(reader.damage) == 1 and not reader.truncated


def test_a_length_of_many_megabytes_does_not_hide_what_follows():
    units, data = small()
    start = StreamReader(io.BytesIO(data))._start
    fake = b"\xa2" + put_uint(1 << 25) + b"\xa2\xff\xff\xff\x1f" * 40
    again, reader = check(data[:start] + fake + data[start:], units)
    assert again == list(units) and "are damaged" in reader.damage[0].what


def test_a_long_good_packet_is_found_after_damage():
    units = [make(Segment(0, (1,) * 3), 0, size=9000)]
    data = bytearray(write(units))
    first = next(start for start, _, kind in spans(bytes(data)) if kind == syntax.Kind.ANCHORS)
    data[first + 5000] ^= 1
    again, _ = read(bytes(data))
    assert [anchor.index for anchor in again[0].anchor_packets] == [1, 2, 3]
    assert again[0].damage == [Damage(0, "1 of 4 anchors are missing")]


# Index.


def test_the_index_can_be_rebuilt():
    units, data = small()
    reader = StreamReader(io.BytesIO(data))
    expected = [
        (unit.segment.intra, offset) for unit, offset in zip(units, (u.offset for u in read(data)[0]), strict=True)
    ]
    assert reader.index() == expected
    assert StreamReader(io.BytesIO(data[:-1])).index() == expected
    end = spans(data)[-1][0]
    assert StreamReader(io.BytesIO(data[:end])).index() == expected
    assert list(reader.units()) == list(units), "asking for the index does not move the reader"


def test_seek_starts_at_the_segment_of_a_picture():
    units, data = small()
    for source in (data, data[:-1]):
        reader = StreamReader(io.BytesIO(source))
        for poc in (13, 4, 5, 6, 0, 10, 15):
            reader.seek(poc)
            rest = list(reader.units())
            assert poc in rest[0].segment.pocs and rest == list(units[-len(rest) :])
            assert not reader.damage or source != data
    for poc in (-1, 16):
        with pytest.raises(StreamError, match="no picture"):
            reader.seek(poc)


def test_seek_to_a_damaged_segment_starts_earlier():
    units, data = small()
    offsets = [unit.offset for unit in read(data)[0]]
    for lost in range(3):
        broken = bytearray(data)
        broken[offsets[lost] + 3] ^= 0xFF
        reader = StreamReader(io.BytesIO(bytes(broken)))
        reader.seek(units[lost].segment.intra)
        again = list(reader.units())
        assert again[0].segment.first == units[lost - 1 if lost else 1].segment.first
        assert reader.stop == 16


# Refusals.


@pytest.mark.parametrize("data", [b"", b"N", b"NCM\x1a", b"RIFF" + bytes(100)])
def test_other_files_are_refused(data):
    with pytest.raises(StreamError):
        StreamReader(io.BytesIO(data))


def test_a_stream_without_options_is_of_version_1():
    assert small()[1][4] == 1


def test_options_of_the_header_come_back():
    header = replace(HEADER, options={"sample_aspect_ratio": {"ratio": Fraction(64, 45)}})
    file = io.BytesIO()
    StreamWriter(file, header)
    data = file.getvalue()
    assert data[4] == 2 and StreamReader(io.BytesIO(data)).header == header


OLD = (syntax.Option(3, "needed", (Field("level", "uint", ""),), ""), syntax.Option(127, "extra", (), ""))


def test_an_unknown_option_is_passed_over_or_refused_by_its_tag():
    assert read_options(pack_options({"extra": {}}, OLD)) == {}
    with pytest.raises(VersionError, match=r"option 3.*newer version"):
        read_options(pack_options({"needed": {"level": 1}}, OLD))


@pytest.mark.parametrize(
    "tail", [b"\x40", b"\x40\x05\x01", b"\x40\x02\x01\x00", b"\x41\x00\x41\x00", b"\x41\x00\x40\x00"]
)
def test_damaged_options_are_refused(tail):
    with pytest.raises(StreamError, match="file header"):
        read_options(tail)


def test_a_newer_version_says_so():
    _, data = small()
    with pytest.raises(VersionError, match=r"version 3.*version 2"):
        StreamReader(io.BytesIO(data[:4] + b"\x03whatever else it may hold"))
    with pytest.raises(StreamError, match=r"not an \.ncm"):
        StreamReader(io.BytesIO(b"x" + data[1:]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 0),
        ("height", 65536),
        ("frame_rate", Fraction(0)),
        ("time_base", Fraction(1, 1 << 40)),
        ("bit_depth", 7),
        ("matrix", "bt470"),
        ("full_range", 2),
        ("mode", "fast"),
        ("gop", "x" * 600),
        ("model", "a\nb"),
        ("intra_period", 0),
        ("fingerprint", b"short"),
    ],
)
def test_a_header_out_of_range_is_not_written(name, value):
    with pytest.raises(ValueError, match=name):
        StreamWriter(io.BytesIO(), replace(HEADER, **{name: value}))


@pytest.mark.parametrize(
    ("name", "code", "value"),
    [("width", "uint", 0), ("bit_depth", "uint", 40), ("matrix", "byte", 9), ("full_range", "byte", 2)],
)
def test_a_header_out_of_range_is_not_read(name, code, value):
    table = [Field(f.name, code, "") if f.name == name else f for f in syntax.HEADER]
    body = pack(table, vars(HEADER) | {name: value})
    data = syntax.MAGIC + b"\x01" + put_uint(len(body)) + body
    with pytest.raises(StreamError, match=name):
        StreamReader(io.BytesIO(data + checksum(data)))


def test_units_that_do_not_fit_are_not_written():
    units, _ = small()
    first = units[0]
    bad = [
        replace(first, pts=first.pts[:-1]),
        replace(first, pts=(0, 0, *first.pts[2:])),
        replace(first, pts=tuple(time + (1 << 61) for time in first.pts)),
        replace(first, anchor_packets=first.anchor_packets[:-1]),
        replace(first, anchor_packets=[anchor._replace(key=True) for anchor in first.anchor_packets]),
        replace(first, anchor_quality_qdb=256),
        replace(first, hashes=(b"x",)),
        replace(first, coded=frozenset({1})),
        replace(first, coded=frozenset({1}), bframes={1: BFramePacket(3, 0, 0, b"")}),
        replace(first, coded=frozenset({1}), bframes={1: BFramePacket(1, 256, 0, b"")}),
        replace(first, first_anchor=1),
        units[1],
    ]
    for unit in bad:
        file = io.BytesIO()
        writer = StreamWriter(file, HEADER)
        before = file.getvalue()
        with pytest.raises(ValueError, match=r"."):
            writer.write(unit)
        assert file.getvalue() == before
    with pytest.raises(ValueError, match="needs pictures"):
        writer.finish()
    writer.write(first)
    with pytest.raises(ValueError, match="come next"):
        writer.write(first)
    writer.finish()
    with pytest.raises(ValueError, match="ends once"):
        writer.finish()


# The parts.


@given(st.lists(st.integers(0, (1 << 56) - 1), max_size=50), st.integers(-(1 << 60), 1 << 60))
def test_numbers_come_back(values, number):
    cursor = Cursor(put_uints(values) + put_uint(zigzag(number)), "test")
    assert list(cursor.uints(len(values))) == values
    assert unzigzag(cursor.uint()) == number and cursor.left == 0


@given(st.binary(max_size=40))
@example(data=b"\x01\x80\x80!\x00")
def test_any_bytes_give_values_or_a_stream_error(data):
    for table, _ in (*syntax.PACKETS.values(), (syntax.HEADER, "")):
        try:
            values = unpack(table, data, "test")
        except StreamError as error:
            assert "test" in str(error)
        else:
            assert unpack(table, pack(table, values), "test") == values


def test_the_documentation_is_the_syntax():
    text = (Path(__file__).parents[3] / "docs" / "stream.md").read_text()
    assert text[text.index("## Codes") :] == syntax.syntax_markdown(), (
        "run codec.bitstream.syntax.syntax_markdown() into the page"
    )
