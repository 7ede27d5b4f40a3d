# SPDX-License-Identifier: MIT
"""Streams that ask for too much: refused, or read in time and memory that their bytes bound."""

import io
import tracemalloc
from dataclasses import replace
from fractions import Fraction

import pytest
from streams import HEADER, make, read, stream, write

from codec.bitstream.fields import put_uint
from codec.bitstream.framing import BYTES_A_TRY, PATIENCE, TRIES, Packet, PacketSource, frame_packet, frame_trailer
from codec.bitstream.info import read_info
from codec.bitstream.limits import FREE_ELEMENTS, MAX_GAP, MAX_SECONDS
from codec.bitstream.reader import MAX_NOTES, StreamReader
from codec.bitstream.syntax import MAX_BODY, Kind
from codec.errors import StreamError
from codec.gop.structure import Segment

LONG = replace(HEADER, intra_period=65535)


def segment(first=0, anchors=1, gap=1, *, leading=0, coded=0, first_anchor=0, shift=0, extras=0):
    bframes = (anchors - 1) * (gap - 1) + leading
    values = {
        "first_anchor": first_anchor,
        "intra": first + leading,
        "leading": leading,
        "anchors": anchors,
        "gaps": [gap] * (anchors - 1),
        "anchor_quality": 120,
        "extras": extras,
        "strengths": [],
        "wiener": [],
        "corrected": [],
        "corrections": [],
        "shift": shift,
        "steps": [0] * ((anchors - 1) * gap + leading),
        "coded": [coded] * bframes,
    }
    return Kind.SEGMENT, values


def bframe(poc, count=1, data=b""):
    values = {"first": poc, "count": count, "modes": [0] * count, "qualities": [0] * count}
    return Kind.BFRAMES, {**values, "lengths": [len(data)] * count, "data": data * count}


def anchor(index, count=1, data=b"x"):
    values = {"first": index, "count": count, "steps": [0] * (count - 1), "lengths": [len(data)] * count}
    return Kind.ANCHORS, {**values, "data": data * count}


def end(pictures):
    return Kind.END, {"pictures": pictures, "segments": 1, "offsets": [100], "intras": [0]}


def work(data):
    """Lines of the reader that ran, and the most memory that it held, while a stream was read as `codec info` does."""
    import sys

    lines = 0

    def count(*_):
        nonlocal lines
        lines += 1
        return count

    def trace(frame, *_):
        return count if "bitstream" in frame.f_code.co_filename or "structure" in frame.f_code.co_filename else None

    tracemalloc.start()
    sys.settrace(trace)
    try:
        read_info(StreamReader(io.BytesIO(data)))
    finally:
        sys.settrace(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return lines, peak


# Refused.


def test_pictures_larger_than_allowed_are_refused():
    data = stream(segment(), header=replace(HEADER, width=16384, height=16384))
    with pytest.raises(StreamError, match=r"16384x16384.*--max-pixels 268435456"):
        StreamReader(io.BytesIO(data))
    assert StreamReader(io.BytesIO(data), max_pixels=1 << 28).header.width == 16384


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("bit_depth", 9, "bit depth of 9"),
        ("bit_depth", 16, "bit depth of 16"),
        ("frame_rate", Fraction((1 << 32) - 1), "frame rate"),
        ("frame_rate", Fraction(1, (1 << 32) - 1), "frame rate"),
        ("frame_rate", Fraction(30 * 10**8, 10**8 + 1), "frame rate"),
        ("time_base", Fraction(1, (1 << 32) - 1), "time base"),
    ],
)
def test_formats_that_nothing_can_show_are_refused(field, value, words):
    with pytest.raises(StreamError, match=words):
        StreamReader(io.BytesIO(stream(segment(), header=replace(HEADER, **{field: value}))))


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (segment(anchors=9), "more than the intra period of 8"),
        (segment(anchors=2, gap=8), "more than the intra period of 8"),
        (segment(first=1, leading=8), "more than the intra period of 8"),
        (segment(shift=1 << 60), "seconds from 0"),
        (segment(shift=-1000 * MAX_SECONDS - 1), "seconds from 0"),
    ],
)
def test_a_first_segment_that_cannot_be_is_refused(packet, words):
    with pytest.raises(StreamError, match=words):
        read(stream(packet))


def test_a_later_segment_that_cannot_be_is_damage():
    units, reader = read(stream(segment(), segment(first=1, anchors=9, first_anchor=1)))
    assert len(units) == 1 and any("intra period" in damage.what for damage in reader.damage)


def test_anchors_are_never_far_apart():
    with pytest.raises(StreamError, match=f"more than {MAX_GAP} pictures"):
        read(stream(segment(anchors=2, gap=MAX_GAP + 1), header=LONG))
    assert len(read(stream(segment(anchors=2, gap=MAX_GAP), header=LONG))[0]) == 1


def test_a_writer_writes_nothing_that_a_reader_refuses():
    for unit in (
        make(Segment(0, (1,) * 8), 0, size=3),
        make(Segment(0, (8,)), 0, size=3),
        make(Segment(0), 0, size=3, shift=1 << 60),
    ):
        with pytest.raises(ValueError, match=r"intra period|seconds from 0"):
            write([unit])


# Bounded.


def longest(number):
    """A segment of 65,473 pictures, of 25 bytes."""
    anchors = 65535 // MAX_GAP
    return segment(
        first=number * (anchors * MAX_GAP + 1), anchors=anchors + 1, gap=MAX_GAP, first_anchor=number * anchors
    )


def test_pictures_are_bounded_by_the_bytes():
    units, reader = read(stream(*map(longest, range(12)), header=LONG))
    assert sum(len(unit.segment.pocs) for unit in units) < FREE_ELEMENTS
    assert any("equal numbers" in damage.what for damage in reader.damage)


def test_lists_that_take_no_bytes_are_bounded():
    none = put_uint(0) + put_uint(60000) + bytes(2)  # anchors of no bytes
    units, reader = read(stream(segment(anchors=60001), *[(Kind.ANCHORS, none)] * 100, header=LONG))
    assert len(units) == 1 and any("equal numbers" in damage.what for damage in reader.damage)


@pytest.mark.parametrize(
    "packets",
    [
        lambda n: (
            segment(anchors=2 * n // MAX_GAP + 2, gap=MAX_GAP, coded=1),
            *(bframe(64 * k + 32) for k in range(n)),
        ),
        lambda n: (segment(anchors=n + 1), *(anchor(index) for index in range(n))),
        lambda n: (segment(anchors=n + 1), *(anchor(0) for _ in range(n))),
        lambda n: (segment(anchors=n + 1, gap=2, coded=1), *(bframe(2 * k + 1, n - k) for k in range(n))),
        lambda n: (segment(), *(bframe(0) for _ in range(n))),
        lambda n: (segment(), *((Kind.HASHES, bytes(9)) for _ in range(n))),
        lambda n: tuple(segment(first=k * 1000, first_anchor=k) for k in range(n)),
        lambda n: tuple(segment(first=k << 20, first_anchor=k) for k in range(n)),
    ],
    ids=["payloads", "anchors", "one anchor", "overlaps", "strangers", "hashes", "gaps", "wide gaps"],
)
def test_work_grows_with_the_bytes(packets):
    """Twice the packets are no more than twice and a half the work; a quadratic reader would take four times."""
    (few, small), (many, large) = (work(stream(*packets(n), header=LONG)) for n in (100, 200))
    assert many < 2.5 * few
    assert large < 2.5 * small + 100_000


@pytest.mark.parametrize(
    "noise",
    [b"\xa2\x05", b"\xa2\xff\x1f", b"\xa1\xa2\xa3\xa4\xa5", b"\xa3\xff\xff\xff\x00", bytes(64), bytes(range(256))],
    ids=["short", "long", "marks", "endless", "zeros", "all"],
)
def test_noise_is_passed_over_with_bounded_work(noise):
    good = write([make(Segment(0, (1,) * 7), 0, size=500), make(Segment(8, (1,) * 7), 8, size=500)])
    start = StreamReader(io.BytesIO(good))._start
    source = PacketSource(io.BytesIO(noise * (300_000 // len(noise)) + good[start:]))
    found = [item for item in source.packets() if isinstance(item, Packet)]
    assert source._tries <= TRIES + 300_000 // BYTES_A_TRY + 100
    assert source._wasted <= MAX_BODY + PATIENCE * source.offset
    assert len(found) >= 5, "the packets after it, but for some of the first"


def test_packets_that_belong_nowhere_are_not_read_for_ever():
    data = stream(segment(), *[(Kind.BFRAMES, b"")] * 12_000)
    _, reader = read(data)
    assert reader.truncated and reader._idle < 11_000


def test_the_end_invents_no_pictures():
    data = stream(segment(), end((1 << 20) + 1))
    units, reader = read(data)
    assert len(units) == 1 and reader.stop == (1 << 20) + 1
    assert any(damage.what == "pictures 1..1048576 are lost with their segments" for damage in reader.damage)
    _, reader = read(stream(segment(), end((1 << 20) + 2)))
    assert any("1048578 pictures, 1 were found" in damage.what for damage in reader.damage)


def test_notes_of_damage_are_bounded():
    data = stream(segment(), *(bframe(0) for _ in range(2 * MAX_NOTES)))
    _, reader = read(data)
    assert len(reader.damage) == MAX_NOTES + 1 and "more is damaged" in reader.damage[-1].what


def test_an_index_longer_than_its_stream_is_no_index():
    packets = stream(segment())
    last = frame_packet(Kind.END, put_uint(1) + put_uint(1 << 22) + put_uint(6400) + put_uint(0))
    reader = StreamReader(io.BytesIO(packets + last + frame_trailer(len(last))))
    assert reader.picture_count() == 1 and len(reader.index()) == 1
