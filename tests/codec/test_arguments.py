"""Wrong types and values from Python: a CodecError that names the argument, whatever is given."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import DATA

import codec

GOLDEN = DATA / "golden.ncm"
HUGE = 10**5000
WRONG = {
    "mode": [3, None, "fast", b"auto"],
    "gop": [3, "fixed:0", "fixed:" + "9" * 5000],
    "tune": [1, "vmaf"],
    "intra_period": ["32", 0, -1, 1.5, True, HUGE],
    "frames": ["5", -1, 0, 2.0, float("nan"), HUGE],
    "model": [3, None, "a\0b"],
    "effort": [-1, "8", 1.5, HUGE],
    "b_offset": ["1", float("nan"), float("inf"), 1e300, HUGE],
    "postfilter": ["yes", 1],
    "device": [0, None],
    "force": ["yes", 0],
    "resume": ["yes", 0],
    "workers": ["2", 1.5],
    "ray": [3, b"auto"],
    "tile": ["512", 0, 64, 1.5, HUGE],
    "anchor": [265, None],
    "preset": [6],
    "crf": ["28", float("nan"), float("inf"), 1e300, True, HUGE, [28], np.zeros(2)],
    "qp": ["28", 28.5, -(10**400), HUGE],
    "bitrate": ["800k", 0, -1, 1.5, HUGE],
    "target_psnr": ["36", float("nan"), -1, 1e300],
    "maxrate": ["1M", 0, -1, HUGE],
    "anchor_params": [None, 3, {"psy-rd": 1}, "a=\n"],
    "anchor_encoder": [3, b"x265"],
    "size": ["64x48", (64,), (64, "48"), (0, 48), (64, -1), (HUGE, 48)],
    "frame_rate": ["25", 29.97, 0, -25, Fraction(0), Fraction(1, HUGE), HUGE],
    "pixel_format": [420],
    "metrics": [None, "no"],
    "csv": [3, b"x.csv", "a\0b"],
    "recon": [3, ["x.mkv"]],
    "finer": ["1", float("nan")],
}


@pytest.mark.parametrize("name", WRONG)
def test_settings(name):
    for value in WRONG[name]:
        with pytest.raises(codec.CodecError, match=name.replace("_", "[-_]")) as error:
            codec.EncodeSettings(**{name: value})
        assert len(str(error.value)) < 400


def test_what_is_as_good():
    settings = codec.EncodeSettings(
        crf=28, frames=np.int64(3), frame_rate=25, csv=Path("x.csv"), b_offset=np.float32(1)
    )
    assert settings.frame_rate == Fraction(25) and isinstance(settings.frame_rate, Fraction)


CALLS = {
    "encode a source": (lambda: codec.encode(None), "src"),
    "encode a name with a zero": (lambda: codec.encode("a\0b.mp4"), "src"),
    "encode half a letter": (lambda: codec.encode("\ud800.mp4"), "src"),
    "encode to half a letter": (lambda: codec.encode("a.mp4", "\ud800.mp4"), "dst"),
    "encode to": (lambda: codec.encode("a.mp4", 3), "dst"),
    "encode by": (lambda: codec.encode("a.mp4", "a.ncm", {"crf": 28}), "settings"),
    "encode with a bar": (lambda: codec.encode("a.mp4", "a.ncm", progress=3), "progress"),
    "encode a setting": (lambda: codec.encode("a.mp4", crf="28"), "crf"),
    "decode": (lambda: codec.decode(3), "src"),
    "decode to": (lambda: codec.decode("a.ncm", b"a.mkv"), "dst"),
    "decode on": (lambda: codec.decode("a.ncm", device=None), "device"),
    "decode by": (lambda: codec.decode("a.ncm", video_codec=3), "video_codec"),
    "decode anchors": (lambda: codec.decode("a.ncm", anchor=3), "anchor"),
    "decode with": (lambda: codec.decode("a.ncm", anchor_decoder=3), "anchor_decoder"),
    "decode by force": (lambda: codec.decode("a.ncm", force="yes"), "force"),
    "open": (lambda: codec.open(None), "path"),
    "open on": (lambda: codec.open("a.ncm", device=0), "device"),
    "verify": (lambda: codec.verify(["a.ncm"]), "src"),
    "verify with a bar": (lambda: codec.verify("a.ncm", progress="bar"), "progress"),
    "info": (lambda: codec.info(b"a.ncm"), "src"),
    "a source": (lambda: codec.open_source(3), "path"),
    "a source's size": (lambda: codec.open_source("a.yuv", size="64x48"), "size"),
    "a sink": (lambda: codec.open_sink("a.mkv", None), "info"),
    "a model": (lambda: codec.load_model(None), "name"),
    "slow motion": (lambda: codec.slow_motion("a.mp4", "b.mp4", factor=2.5), "factor"),
    "smoothing": (lambda: codec.dejitter("a.mp4", "b.mp4", factor="4"), "factor"),
    "blur": (lambda: codec.motion_blur("a.mp4", "b.mp4", samples=3.5), "samples"),
    "blur of pictures": (lambda: codec.blur_pictures("a.png", None, "b.png"), "second"),
    "flows": (lambda: codec.show_motion("a.png", "b.png", "c.png", time="1"), "time"),
    "a device": (lambda: codec.choose_device(3), "name"),
}


@pytest.mark.parametrize("case", CALLS)
def test_calls(case):
    call, name = CALLS[case]
    with pytest.raises(codec.CodecError, match=f"^{name} is "):
        call()


LONG = "a" * 5000
LONG_NAMES = {
    "encode": lambda: codec.encode(LONG),
    "encode to": lambda: codec.encode(GOLDEN.with_suffix(".y4m"), LONG, mode="bitfree", model="tiny", frames=1),
    "decode": lambda: codec.decode(LONG),
    "decode to": lambda: codec.decode(GOLDEN, f"{LONG}.mkv"),
    "info": lambda: codec.info(LONG),
    "remux to": lambda: codec.remux(GOLDEN, f"{LONG}.mkv"),
}


@pytest.mark.parametrize("case", LONG_NAMES)
def test_names_that_no_system_takes(case, weights):
    with pytest.raises(codec.CodecError, match=r"^a+(\.mkv)?: .*File name too long"):
        LONG_NAMES[case]()


def test_places_in_a_video(weights):
    with codec.open(GOLDEN) as video:
        for call, name in (
            (video.seek, "place"),
            (lambda at: video.cut(at, at), "start"),
            (video.__getitem__, "frames"),
        ):
            for wrong in (b"1", [1], np.zeros(2), 1j):
                with pytest.raises(codec.InputError, match=f"^{name} is "):
                    call(wrong)


def test_a_fraction_is_a_number(tmp_path, weights):
    assert codec.decode(GOLDEN, tmp_path / "a.mkv", crf=Fraction(57, 2)) == len(codec.open(GOLDEN))


def test_their_documentation_is_still_theirs():
    assert codec.encode.__doc__.startswith("Code a video file") and codec.decode.__name__ == "decode"
