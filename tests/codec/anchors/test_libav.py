# SPDX-License-Identifier: MIT
"""The anchor codecs: round trips, key frames where asked and nowhere else, damage, and errors in one line."""

import locale
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
from av.sidedata.sidedata import Type

from codec.anchors.libav import USER_DATA, LibavAnchors, packet_of
from codec.anchors.libav_codecs import ROWS
from codec.anchors.protocol import AnchorFrame
from codec.anchors.registry import anchor_codec
from codec.bitstream.units import AnchorPacket
from codec.errors import AnchorError, InputError
from codec.video.libav_presentation import _content_light, _mastering_display
from codec.video.picture import Colour, VideoInfo, Yuv420, chroma_size, dtype_of
from codec.video.presentation import Presentation

FAST = {"x265": "ultrafast", "svtav1": "12", "x264": "ultrafast"}
NAMES = tuple(ROWS)
KEYS = (0, 5, 6, 20)


def info_of(width=96, height=64, depth=8, colour=Colour()):  # noqa: B008
    return VideoInfo(width, height, Fraction(30000, 1001), Fraction(1, 30), depth, colour)


def picture(t, info):
    """A smooth slope that moves, so that each picture is closest to its own coded self."""
    rows, columns = np.mgrid[: info.height, : info.width]
    luma = 125 + 90 * np.sin((columns + 3 * t) / 9) * np.cos((rows - 2 * t) / 11)
    cw, ch = chroma_size(info.width, info.height)
    scale, dtype = 1 << (info.bit_depth - 8), dtype_of(info.bit_depth)
    flat = np.full((ch, cw), (100 + t % 50) * scale, dtype)
    return Yuv420((luma * scale).astype(dtype), flat, flat + dtype(scale), info.bit_depth)


def clip(length, info, keys=(0,)):
    return [AnchorFrame(picture(t, info), t in keys) for t in range(length)]


def fast(name, **settings):
    return anchor_codec(name, preset=FAST[name], **settings)


def groups_of(packets):
    """The packets split before each key; also checks that a group's packets are contiguous."""
    starts = [i for i, packet in enumerate(packets) if packet.key]
    return [packets[a:b] for a, b in pairwise([*starts, len(packets)])]


def mse(a, b):
    return float(np.mean((a.y.astype(float) - b.y) ** 2))


@pytest.fixture(scope="module", params=NAMES)
def coded(request):
    """(codec, source, packets): 28 pictures with irregular keys, coded by the encoder with its own B-frames."""
    info = info_of()
    preset = {"x265": "veryfast", "x264": "veryfast", "svtav1": "11"}[request.param]
    codec = anchor_codec(request.param, preset=preset, longest_group=15, anchor_distance=2, threads=3)
    source = clip(28, info, KEYS)
    return codec, source, list(codec.encode(source, info))


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(35, 19), (16, 16), (98, 66)])
@pytest.mark.parametrize("name", NAMES)
def test_round_trip(name, size, depth):
    info = info_of(*size, depth, Colour("bt601", full_range=True))
    for length in (1, 2):
        source = clip(length, info)
        codec = fast(name, qp=20)
        packets = list(codec.encode(source, info))
        decoded = codec.decode(packets, info)
        assert sorted(decoded) == list(range(length))
        for index, shown in decoded.items():
            assert (shown.width, shown.height, shown.bit_depth) == (*size, depth)
            assert all(plane.base is None and plane.dtype == dtype_of(depth) for plane in shown.planes)
            assert mse(shown, source[index].picture) < 15 * 16 ** (depth // 10)


def test_no_pictures_no_packets():
    assert list(fast("svtav1").encode([], info_of())) == []


def test_only_the_requested_keys(coded):
    _, _, packets = coded
    assert sorted(p.index for p in packets) == list(range(28))
    assert [p.index for p in packets if p.key] == list(KEYS)
    assert [sorted(p.index for p in g) for g in groups_of(packets)] == [
        list(range(a, b)) for a, b in pairwise([*KEYS, 28])
    ]


def test_encoders_use_b_frames(coded):
    codec, _, packets = coded
    in_display_order = [p.index for p in packets] == list(range(28))
    # A packet of AV1 shows one picture; those coded early travel hidden in the packets before theirs.
    assert in_display_order == (codec.name == "svtav1")


def test_each_group_decodes_alone_to_its_own_pictures(coded):
    codec, source, packets = coded
    for group in reversed(groups_of(packets)):
        decoded = codec.decode(group, info_of())
        assert sorted(decoded) == sorted(p.index for p in group)
        for index, shown in decoded.items():
            others = [t for t in (index - 1, index + 1) if 0 <= t < len(source)]
            assert mse(shown, source[index].picture) < min(mse(shown, source[t].picture) for t in others)


def test_a_prefix_of_a_group_decodes(coded):
    codec, _, packets = coded
    group = groups_of(packets)[2]
    whole = codec.decode(group, info_of())
    for length in (1, 4, len(group) - 1):
        part = codec.decode(group[:length], info_of())
        assert sorted(part) == sorted(p.index for p in group[:length])
        assert all(part[index] == whole[index] for index in part)


def test_damage_never_raises(coded):
    codec, _, packets = coded
    group = groups_of(packets)[2]
    rng = np.random.default_rng(1)
    for _ in range(12):
        victim = int(rng.integers(len(group)))
        data = bytearray(group[victim].data)
        for position in rng.integers(len(data), size=3):
            data[position] ^= int(rng.integers(1, 256))
        damaged = list(group)
        damaged[victim] = group[victim]._replace(data=bytes(data[: rng.integers(len(data)) + 1]))
        decoded = codec.decode(damaged, info_of())
        assert set(decoded) <= {p.index for p in group}
        assert all((p.width, p.height) == (96, 64) for p in decoded.values())
    assert codec.decode([AnchorPacket(0, True, b"")], info_of()) == {}
    assert codec.decode(group[1:], info_of()).keys() <= {p.index for p in group}
    assert codec.decode([], info_of()) == {}


def test_what_was_stripped_is_put_back(coded):
    codec, _, packets = coded
    assert isinstance(codec, LibavAnchors)
    for packet in packets:
        restored = bytes(codec._restore(packet))
        assert restored == codec.row.prefix + packet.data
        assert not packet.data.startswith(codec.row.prefix)
    assert b"x264 - core" not in packets[0].data


def test_user_data_is_cut_out_whole():
    start, sps, sei, idr = b"\0\0\0\1", b"\x67abc", b"\x06\x05\xffx\n", b"\x65slice"
    assert USER_DATA.sub(b"", start + sps + start[1:] + sei + start + idr) == start + sps + start + idr
    assert USER_DATA.sub(b"", start + sps + start + sei + start[1:] + idr) == start + sps + start[1:] + idr
    assert USER_DATA.sub(b"", start + idr + start[1:] + sei) == start + idr


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_whatever_the_threads(name):
    info, preset = info_of(), {"x265": "superfast", "x264": "veryfast", "svtav1": "12"}[name]
    codecs = [anchor_codec(name, preset=preset, threads=threads) for threads in (0, 1, 3)]
    first, *others = [list(codec.encode(clip(14, info, (0, 6)), info)) for codec in codecs]
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("x265", "tune=grain"),
        ("x265", "max-merge=1:no-deblock"),
        ("svtav1", "tune=2:sharpness=3"),
        ("x264", "tune=grain"),
    ],
)
def test_parameters_reach_the_encoder(name, params):
    info = info_of()
    plain, tuned = (
        [p.data for p in anchor_codec(name, preset=FAST[name], params=p).encode(clip(8, info), info)]
        for p in ("", params)
    )
    assert plain != tuned


@pytest.mark.parametrize("name", NAMES)
def test_more_quality_more_bits(name):
    info = info_of()
    sizes = [
        sum(len(p.data) for p in fast(name, **quality).encode(clip(4, info), info))
        for quality in ({"crf": 20}, {"crf": 45}, {"qp": 20}, {"qp": 45})
    ]
    assert sizes[0] > sizes[1] and sizes[2] > sizes[3]


def test_describe():
    codec = anchor_codec("x265", preset="slow", crf=22.5, params="tune=psnr:no-sao", threads=3)
    assert codec.describe() == "x265 preset=slow crf=22.5 tune=psnr no-sao=1"
    assert anchor_codec("svtav1", qp=40).describe() == "svtav1 preset=6 qp=40"


@pytest.mark.parametrize(("name", "tuned"), [("x265", "tune=ssim"), ("x264", "tune=ssim"), ("svtav1", "tune=2")])
def test_libav_for_structure(name, tuned):
    """The encoder's own tune, unless the user has another."""
    grain, info = "tune=0" if name == "svtav1" else "tune=grain", info_of()

    def coded(**settings):
        codec = anchor_codec(name, preset="8" if name == "svtav1" else "veryfast", **settings)
        return codec.describe(), [packet.data for packet in codec.encode(clip(8, info), info)]

    plain, given, ours = coded(), coded(params=tuned), coded(structural=True)
    assert ours == given and ours[0].endswith(tuned) and ours[1] != plain[1]
    assert coded(params=grain, structural=True)[1] == coded(params=grain)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "x256"}, "did you mean 'x265'? choose from x265, svtav1, x264"),
        ({"name": "zzzzzz"}, "choose from x265, svtav1, x264"),
        ({"name": "x265", "preset": "quick"}, "choose from ultrafast, "),
        ({"name": "svtav1", "preset": "medium"}, "choose from 0, 1, "),
        ({"name": "x264", "crf": 99}, "choose 0 to 51"),
        ({"name": "svtav1", "qp": 0}, "choose a whole number from 1 to 63"),
        ({"name": "svtav1", "crf": 30.5}, "choose a whole number"),
        ({"name": "x265", "crf": 20, "qp": 20}, "exclude each other"),
        ({"name": "x265", "params": "keyint=5"}, "'keyint' cannot be given"),
        ({"name": "x264", "params": "tune=nice"}, "choose from psnr, "),
    ],
)
def test_bad_settings_list_the_good_ones(arguments, words):
    with pytest.raises(InputError) as caught:
        anchor_codec(**arguments)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("params", ["wibble=3", "lookahead=many:rc-lookahead=many"])
def test_bad_parameters_are_named(name, params):
    with pytest.raises(AnchorError, match=r"wibble|lookahead"):
        list(fast(name, params=params).encode(clip(1, info_of()), info_of()))


def test_refused_parameters_raise():
    with pytest.raises(AnchorError, match="bframes=99"):
        list(fast("x265", params="bframes=99").encode(clip(1, info_of()), info_of()))


def test_missing_encoder_says_what_to_do(monkeypatch):
    codec = fast("x264")
    monkeypatch.setattr(codec, "row", replace(ROWS["x264"], encoder="libnothing"))
    with pytest.raises(AnchorError, match=r"without libnothing; .*pip install"):
        list(codec.encode(clip(1, info_of()), info_of()))


def test_a_group_longer_than_promised_is_refused():
    with pytest.raises(AnchorError, match="anchor 3 a key frame"):
        list(fast("x265", longest_group=3).encode(clip(6, info_of()), info_of()))


def test_other_depths_are_refused():
    info = info_of(depth=12)
    with pytest.raises(AnchorError, match="8 or 10 bit"):
        list(fast("x265").encode(clip(1, info), info))


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_pulled_only_as_needed(name):
    info, pulled, pictures = info_of(64, 64), [], [picture(t, info_of(64, 64)) for t in range(8)]

    def endless():
        for t in count():
            pulled.append(t)
            yield AnchorFrame(pictures[t % 8], t == 0)

    packets = fast(name).encode(endless(), info)
    assert next(packets).index == 0
    assert len(pulled) < 200
    packets.close()


QUIET = """
from test_libav import *
for name in NAMES:
    codec, info = fast(name), info_of()
    packets = list(codec.encode(clip(3, info), info))
    damaged = [packets[0], packets[1]._replace(data=bytes(40)), packets[2]._replace(data=packets[2].data[::-1])]
    codec.decode(damaged, info)
    for params in ("wibble=3", "bframes=zzz"):
        with pytest.raises(AnchorError):
            list(fast(name, params=params).encode(clip(1, info), info))
"""


def test_stdout_and_stderr_stay_empty(request):
    paths = [str(request.config.rootpath), str(request.path.parent)]
    script = f"import sys; sys.path[:0] = {paths}\n" + QUIET
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("x265", {"crf": 30.5, "params": "psy-rd=1.5"}), ("x264", {"crf": 30.5}), ("svtav1", {"crf": 30})],
)
def test_a_decimal_comma_changes_nothing(name, settings, decimal_comma):
    info = info_of()
    frames = clip(3, info)
    codec = anchor_codec(name, preset=FAST[name], **settings)
    assert locale.localeconv()["decimal_point"] == ","
    found = list(codec.encode(frames, info))
    assert locale.localeconv()["decimal_point"] == ","
    locale.setlocale(locale.LC_ALL, "C")
    assert found == list(codec.encode(frames, info))


SCHEDULING = """
import os
from test_libav import *

def policies():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

before = policies()
assert len(list(fast("svtav1").encode(clip(3, info_of()), info_of()))) == 3
assert policies() == before == {os.SCHED_OTHER}, policies()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads tell their scheduling on Linux alone")
def test_no_encoder_makes_threads_real_time_ones():
    """SVT-AV1 does so when root runs it; in a process of its own, since threads of other tests may be so."""
    subprocess.run([sys.executable, "-c", SCHEDULING], check=True, cwd=Path(__file__).parent, timeout=120)


@pytest.mark.parametrize("name", NAMES)
def test_hdr10_is_in_the_anchors_own_stream(name):
    """So every player sees it, at each key frame."""
    display = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450, 10_000_000, 1)
    told = Presentation(mastering_display=display, content_light=(1000, 400), colour_codes=(9, 16, 2))
    info, codec = replace(info_of(depth=10, colour=Colour("bt2020")), presentation=told), fast(name)
    for packet in codec.encode(clip(2, info, (0, 1)), info):
        decoder = codec._decoder()
        (frame,) = [*decoder.decode(packet_of(codec.row.prefix + packet.data, 0)), *decoder.decode(None)]
        sides = {side.type: bytes(side) for side in iter(frame.side_data)}
        assert _mastering_display(sides[Type.MASTERING_DISPLAY_METADATA]) == display
        assert _content_light(sides[Type.CONTENT_LIGHT_LEVEL]) == (1000, 400)
        assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, 16, 9)
