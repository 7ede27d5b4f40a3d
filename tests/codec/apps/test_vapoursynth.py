"""Streams as clips of VapourSynth, where it is installed."""

import random
import sys
from fractions import Fraction

import numpy as np
import pytest
from helpers import DATA, moving, write

import codec
from codec.apps.vapoursynth import clip

FAST = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "intra_period": 8, "metrics": False}


@pytest.fixture
def vs():
    return pytest.importorskip("vapoursynth", reason="VapourSynth is not installed; its wheel needs Python 3.12")


def equal(shown, frame):
    return all(np.array_equal(np.asarray(shown[n]), plane) for n, plane in enumerate(frame.picture.planes))


@pytest.mark.parametrize(("suffix", "depth"), [(".ncm", 8), (".mp4", 10)])
def test_a_clip_has_the_frames_of_the_stream_in_any_order(tmp_path, weights, vs, suffix, depth):
    pts = [0, 50, 80, *range(120, 120 + 40 * 37, 40)]
    src = write(tmp_path / "seq.mkv", moving(40, 66, 50, depth), pts=pts, time_base=Fraction(1, 1000))
    codec.encode(src, tmp_path / f"a{suffix}", **FAST)
    with codec.open(tmp_path / f"a{suffix}") as video:
        frames = list(video)
    node = clip(tmp_path / f"a{suffix}")
    assert (node.width, node.height, node.num_frames, node.format.bits_per_sample) == (66, 50, 40, depth)
    assert all(equal(shown, frame) for shown, frame in zip(node.frames(), frames, strict=True))
    order = random.Random(0).sample(range(40), 12)
    assert all(equal(node.get_frame(n), frames[n]) for n in order)
    times = [Fraction(f.props["_DurationNum"], f.props["_DurationDen"]) for f in node.frames()]
    assert times[:3] == [Fraction(5, 100), Fraction(3, 100), Fraction(4, 100)]
    assert node.get_frame(0).props["_Range"] == vs.RANGE_LIMITED


def test_odd_sizes_are_refused(tmp_path, weights, vs):
    codec.encode(write(tmp_path / "seq.y4m", moving(2, 65, 50)), tmp_path / "a.ncm", **FAST)
    with pytest.raises(codec.InputError, match="odd sizes"):
        clip(tmp_path / "a.ncm")


def test_without_vapoursynth(monkeypatch):
    monkeypatch.setitem(sys.modules, "vapoursynth", None)
    with pytest.raises(codec.InputError, match="pip install vapoursynth"):
        clip(DATA / "golden.ncm")
