"""Byte streams cut into pictures: nothing lost, and the order of display as the encoder knows it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import moving, write

from codec.anchors.access_units import access_units
from codec.anchors.disposable import disposable_hevc, without
from codec.anchors.libav_codecs import START_CODE
from codec.anchors.protocol import AnchorFrame
from codec.anchors.registry import anchor_codec
from codec.bitstream.units import AnchorPacket
from codec.video.picture import VideoInfo
from codec.video.reader import open_source

VVC = Path(__file__).parents[2] / "data" / "nine.266"


@pytest.fixture(scope="module")
def packets(tmp_path_factory):
    """28 pictures in three closed groups, with x265's own B-frames."""
    with open_source(write(tmp_path_factory.mktemp("nal") / "s.y4m", moving(28, 96, 64))) as source:
        codec = anchor_codec(
            "x265", preset="veryfast", qp=30, params="bframes=4:ctu=16:slices=2:wpp=1", longest_group=20
        )
        frames = [AnchorFrame(frame.picture, frame.pts in (0, 5, 20)) for frame in source]
        return list(codec.encode(frames, source.info))


def test_hevc_pictures_in_their_order(packets):
    stream = b"".join(START_CODE + packet.data for packet in packets)
    units = access_units(stream, "hevc", 7)
    assert units == [packet._replace(index=7 + packet.index, key=packet.index == 0) for packet in packets]
    assert [packet.index for packet in packets] != list(range(28)), "no B-frames: the test shows nothing"


def test_vvc_pictures_in_their_order():
    """Nine pictures of VVenC: a pyramid."""
    stream = VVC.read_bytes()
    units = access_units(stream, "vvc")
    assert b"".join(START_CODE + unit.data for unit in units) == stream
    assert [unit.index for unit in units] == [0, 8, 4, 2, 1, 3, 6, 5, 7]


def test_what_trails_a_picture_stays_with_it(packets):
    """Suffix SEI, filler, and the marks of the end of sequence and stream; zeros between units are no data."""
    for kinds in ((40,), (38, 40), (36,), (37,), (38, 36, 37)):
        trail = b"".join(START_CODE + bytes([kind << 1, 1]) + (b"" if kind in (36, 37) else b"\x80") for kind in kinds)
        *first, last = [packet.data for packet in packets]
        stream = b"".join(START_CODE + data + bytes(3) for data in (*first, last + trail))
        assert [unit.data for unit in access_units(stream, "hevc")] == [*first, last + trail]


@pytest.mark.parametrize("codec", ["hevc", "vvc"])
def test_bad_streams_are_refused_or_cut_somehow(packets, codec):
    good = b"".join(START_CODE + packet.data for packet in packets[:4]) if codec == "hevc" else VVC.read_bytes()
    for bad in (b"", b"\0\0\1", b"no start code", b"no" + good, good[40:], START_CODE + bytes(50)):
        with pytest.raises(ValueError):
            access_units(bad, codec)
    rng = np.random.default_rng(3)
    for _ in range(60):
        data = bytearray(good[: rng.integers(len(good)) + 1])
        for position in rng.integers(len(data), size=8):
            data[position] = rng.integers(256)
        try:
            units = access_units(bytes(data), codec)
        except ValueError:
            continue
        assert sorted(unit.index for unit in units) == list(range(len(units)))


def test_counts_wrap():
    """Over 300 pictures the low bits of HEVC's count, 8 in x265, come round."""
    picture = moving(1, 64, 64)[0]
    codec = anchor_codec("x265", preset="ultrafast", qp=50, params="bframes=2")
    info = VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    packets = list(codec.encode((AnchorFrame(picture, n == 0) for n in range(300)), info))
    units = access_units(b"".join(START_CODE + packet.data for packet in packets), "hevc")
    assert units == packets


def test_only_the_highest_sublayer_is_disposable():
    """TRAIL_N of a lower sublayer may be referred to by the higher ones (H.265, table 7-1)."""

    def picture(index, kind, layer):
        return AnchorPacket(index, index == 0, bytes([kind << 1, layer + 1, 0x80]))

    flat = [picture(0, 19, 0), picture(4, 1, 0), picture(2, 1, 0), picture(1, 0, 0), picture(3, 0, 0)]
    assert disposable_hevc(flat) == {1, 3}
    layered = [picture(0, 19, 0), picture(4, 1, 0), picture(2, 0, 1), picture(1, 2, 2), picture(3, 3, 2)]
    assert disposable_hevc(layered) == {1}
    assert [packet.index for packet in without(flat, {1, 3})] == [0, 4, 2]
    assert disposable_hevc([]) == set() and disposable_hevc([AnchorPacket(0, True, b"")]) == set()


def test_nothing_is_disposable_where_nothing_can_be_decoded():
    noise = np.random.default_rng(5).bytes(200)
    for bad in ([], [AnchorPacket(0, True, noise)], [AnchorPacket(0, True, b""), AnchorPacket(1, False, noise)]):
        assert anchor_codec("svtav1").disposable(bad) == set()
