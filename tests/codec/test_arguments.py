"""Wrong types and values from Python: a CodecError that names the argument, whatever is given."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import DATA, moving, write

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


INFO = codec.VideoInfo(64, 48, Fraction(25), Fraction(1, 25))
Y, U = np.zeros((48, 64), np.uint8), np.zeros((24, 32), np.uint8)
PICTURE = codec.Yuv420(Y, U, U)
SMALL = codec.Yuv420(Y[:2, :2], U[:1, :1], U[:1, :1])
GREY = codec.Colour()


def sink(**options):
    return codec.open_sink("a.mkv", INFO, **options)


CALLS = {
    "a plane": (lambda: codec.Yuv420(None, U, U), "y"),
    "a plane of fractions": (lambda: codec.Yuv420(Y / 2, U, U), "y"),
    "a plane of torch": (lambda: codec.Yuv420(torch.zeros(48, 64), U, U), "y"),
    "a plane without rows": (lambda: codec.Yuv420(Y[:0], U, U), "y"),
    "planes of three dimensions": (lambda: codec.Yuv420(Y[None], U, U), "y"),
    "planes of another depth": (lambda: codec.Yuv420(Y, U, U, 10), "y"),
    "planes of another size": (lambda: codec.Yuv420(Y, U, U[:5]), "v"),
    "a depth": (lambda: codec.Yuv420(Y, U, U, "8"), "bit_depth"),
    "a width": (lambda: codec.VideoInfo("64", 48, Fraction(25), Fraction(1, 25)), "width"),
    "no height": (lambda: codec.VideoInfo(64, 0, Fraction(25), Fraction(1, 25)), "height"),
    "a rate": (lambda: codec.VideoInfo(64, 48, Fraction(0), Fraction(1, 25)), "frame_rate"),
    "a unit of time": (lambda: codec.VideoInfo(64, 48, Fraction(25), 0.04), "time_base"),
    "a video's depth": (lambda: codec.VideoInfo(64, 48, 25, Fraction(1, 25), 7), "bit_depth"),
    "a video's colour": (lambda: codec.VideoInfo(64, 48, 25, Fraction(1, 25), 8, "bt709"), "colour"),
    "a matrix": (lambda: codec.Colour("bt2100"), "matrix"),
    "a range": (lambda: codec.Colour("bt709", "full"), "full_range"),
    "an error": (lambda: codec.psnr(-1), "mean_squared_error"),
    "an error without end": (lambda: codec.psnr(float("inf")), "mean_squared_error"),
    "a peak": (lambda: codec.psnr(1, 0), "peak"),
    "compare": (lambda: codec.compare(PICTURE, None, GREY), "decoded"),
    "compare other sizes": (lambda: codec.compare(PICTURE, SMALL, GREY), "decoded"),
    "compare by": (lambda: codec.compare(PICTURE, PICTURE, "bt709"), "colour"),
    "rgb": (lambda: codec.rgb_of(Y, GREY), "picture"),
    "xpsnr": (lambda: codec.Xpsnr(None), "info"),
    "xpsnr of another size": (lambda: codec.Xpsnr(INFO).add(PICTURE, SMALL), "decoded"),
    "vmaf": (lambda: codec.Vmaf("8"), "batch"),
    "averaged": (lambda: codec.averaged(None), "model"),
    "a predictor": (lambda: codec.predictor("base", INFO), "model"),
    "a file": (lambda: codec.replacing(None).__enter__(), "path"),
    "a cluster": (lambda: codec.open_cluster("auto", 0).__enter__(), "size"),
    "a pool": (lambda: codec.Pool(print, 0), "count"),
    "a process": (lambda: codec.InProcess(None, "2"), "batch"),
    "anchors apart": (lambda: codec.anchor_codec("x265", anchor_distance=0), "anchor_distance"),
    "anchors in a group": (lambda: codec.anchor_codec("x265", longest_group=-1), "longest_group"),
    "anchors' threads": (lambda: codec.anchor_codec("x265", threads=HUGE), "threads"),
    "a sink's options": (lambda: sink(options={"crf": 3}), "options"),
    "open with": (lambda: codec.open(GOLDEN, executor=3), "executor"),
    "decode at": (lambda: codec.decode(GOLDEN, "a.mkv", crf=float("nan")), "crf"),
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
        with pytest.raises(codec.InputError, match=r"^frames is "):
            video["1":"2"]


def test_what_is_closed_is_said(tmp_path, weights):
    video = codec.open(GOLDEN)
    video.close()
    calls = [lambda: next(iter(video)), lambda: video[0], lambda: video.seek(0), lambda: video.cut(None, None)]
    for name in ("a.mkv", "a.y4m", "a.yuv"):
        with codec.open_sink(tmp_path / name, INFO) as sink:
            sink.write(codec.Frame(0, PICTURE))
        calls.append(partial(sink.write, codec.Frame(1, PICTURE)))
    for call in calls:
        with pytest.raises(codec.CodecError, match=": is closed; open it again"):
            call()
    with codec.open(GOLDEN) as video:
        frames = iter(video)
        next(frames)
    with pytest.raises(codec.InputError, match=": is closed; open it again"):
        next(frames)


@pytest.mark.parametrize("pts", ["0", 0.5, None])
def test_a_sink_takes_frames(tmp_path, pts):
    with codec.open_sink(tmp_path / "a.y4m", INFO) as sink:
        with pytest.raises(codec.InputError, match=r"^frame\.pts is "):
            sink.write(codec.Frame(pts, PICTURE))
        for wrong in (PICTURE, (0, PICTURE)):
            with pytest.raises(codec.InputError, match=r"^frame is "):
                sink.write(wrong)
        sink.write(codec.Frame(0, PICTURE))


def test_pictures_need_not_be_in_one_piece(tmp_path):
    """Every second sample of larger planes, and one stored by columns."""
    strided = codec.Yuv420(np.zeros((96, 128), np.uint8)[::2, ::2], U, np.asfortranarray(U))
    assert codec.compare(PICTURE, strided, GREY).psnr_rgb == 100
    for name in ("a.mkv", "a.y4m"):
        with codec.open_sink(tmp_path / name, INFO) as sink:
            sink.write(codec.Frame(0, strided))
        with codec.open_source(tmp_path / name) as source:
            assert [frame.picture for frame in source] == [PICTURE]


def test_a_device_that_is_none(weights):
    with pytest.raises(codec.InputError, match="'nope' cannot be used here"):
        codec.load_model("tiny", "nope")


def test_a_tile_that_is_none(weights):
    with pytest.raises(codec.InputError, match=r"^tile is 3"):
        codec.open(GOLDEN, tile=3)


def test_a_summary_by_names(tmp_path, weights):
    """Of kinds of pictures, and of measures."""
    write(tmp_path / "a.y4m", moving(3))
    summary = codec.encode(tmp_path / "a.y4m", mode="bitfree", model="tiny", anchor_preset="ultrafast", metrics=False)
    for call, name in ((summary.bits_per_pixel, "kind"), (summary.mean, "measure")):
        for wrong in ("X", 3, b"I"):
            with pytest.raises(codec.InputError, match=f"^{name} is "):
                call(wrong)


def test_a_fraction_is_a_number(tmp_path, weights):
    assert codec.decode(GOLDEN, tmp_path / "a.mkv", crf=Fraction(57, 2)) == len(codec.open(GOLDEN))


def test_their_documentation_is_still_theirs():
    assert codec.encode.__doc__.startswith("Code a video file") and codec.decode.__name__ == "decode"
