"""Byte streams cut into pictures: nothing lost, and the order of display as the encoder knows it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import moving, write

from codec.anchors.access_units import START_CODE, access_units
from codec.anchors.disposable import HEVC
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
    units = access_units(stream, "hevc")
    assert b"".join(unit.data for unit in units) == stream
    assert [unit.data for unit in units] == [START_CODE + packet.data for packet in packets]
    ranks = {order: rank for rank, order in enumerate(sorted(unit.order for unit in units))}
    assert [ranks[unit.order] for unit in units] == [packet.index for packet in packets]
    assert [packet.index for packet in packets] != list(range(28)), "no B-frames: the test shows nothing"
    assert {unit.order[0] for unit in units} == {0, 1, 2}


def test_vvc_pictures_in_their_order():
    """Nine pictures of VVenC: a pyramid."""
    stream = VVC.read_bytes()
    units = access_units(stream, "vvc")
    assert b"".join(unit.data for unit in units) == stream
    assert [unit.order for unit in units] == [(0, poc) for poc in (0, 8, 4, 2, 1, 3, 6, 5, 7)]


@pytest.mark.parametrize("codec", ["hevc", "vvc"])
def test_bad_streams_are_refused_or_cut_somehow(packets, codec):
    good = b"".join(START_CODE + packet.data for packet in packets[:4]) if codec == "hevc" else VVC.read_bytes()
    for bad in (b"", b"\0\0\1", b"no start code", good[40:], START_CODE + bytes(50)):
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
        assert b"".join(unit.data for unit in units) == bytes(data)


def test_counts_wrap():
    """Over 300 pictures the low bits of HEVC's count, 8 in x265, come round."""
    picture = moving(1, 64, 64)[0]
    codec = anchor_codec("x265", preset="ultrafast", qp=50, params="bframes=2")
    info = VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    packets = list(codec.encode((AnchorFrame(picture, n == 0) for n in range(300)), info))
    units = access_units(b"".join(START_CODE + packet.data for packet in packets), "hevc")
    assert [unit.order for unit in units] == [(0, packet.index) for packet in packets]


def test_only_the_highest_sublayer_is_spare():
    """TRAIL_N of a lower sublayer may be referred to by the higher ones (H.265, table 7-1)."""

    def picture(index, kind, layer):
        return AnchorPacket(index, index == 0, bytes([kind << 1, layer + 1, 0x80]))

    flat = [picture(0, 19, 0), picture(4, 1, 0), picture(2, 1, 0), picture(1, 0, 0), picture(3, 0, 0)]
    assert HEVC.disposable(flat) == {1, 3}
    layered = [picture(0, 19, 0), picture(4, 1, 0), picture(2, 0, 1), picture(1, 2, 2), picture(3, 3, 2)]
    assert HEVC.disposable(layered) == {1}
    assert [packet.index for packet in HEVC.without(flat, {1, 3})] == [0, 4, 2]
    assert HEVC.disposable([]) == set() and HEVC.disposable([AnchorPacket(0, True, b"")]) == set()
