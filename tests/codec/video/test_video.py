# SPDX-License-Identifier: MIT
import io
import os
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import moving, read, write

from codec.errors import CodecError, InputError, OutputError
from codec.video.libav_reader import Clock
from codec.video.libav_writer import video_frame
from codec.video.picture import Colour, Frame, VideoInfo, Yuv420, blank, chroma_size, dtype_of
from codec.video.pixel_formats import LAYOUTS, planes_of
from codec.video.raw import RawParameters, parse_frame_rate, probe_parameters
from codec.video.reader import _Rejoined, open_source
from codec.video.writer import check_name, open_sink

RATE = Fraction(30000, 1001)
FORMATS = {8: "yuv420p", 10: "yuv420p10le"}


def make_info(width=36, height=20, bit_depth=8, **rest):
    rest = {"frame_rate": RATE, "time_base": 1 / RATE} | rest
    return VideoInfo(width, height, bit_depth=bit_depth, **rest)


def make_picture(info, seed=0):
    rng = np.random.default_rng(seed)
    cw, ch = chroma_size(info.width, info.height)
    sizes = ((info.height, info.width), (ch, cw), (ch, cw))
    planes = [rng.integers(0, 1 << info.bit_depth, s, dtype=dtype_of(info.bit_depth)) for s in sizes]
    return Yuv420(*planes, info.bit_depth)


def make_frames(info, times=range(3)):
    return [Frame(t, make_picture(info, seed)) for seed, t in enumerate(times)]


def save(path, info, frames, **options):
    with open_sink(path, info, **options) as sink:
        for frame in frames:
            sink.write(frame)


def load(path, **options):
    with open_source(path, **options) as source:
        return source.info, list(source)


def pictures(frames):
    return [frame.picture for frame in frames]


def left_behind(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


def seconds(info, frames):
    return [frame.pts * info.time_base for frame in frames]


def one_line(error):
    text = str(error.value)
    assert "\n" not in text and len(text) < 250
    return text


# names and rates


@pytest.mark.parametrize(
    ("name", "size", "rate", "pixel_format"),
    [
        ("seq_416x240_50.yuv", (416, 240), 50, None),
        ("BasketballPass_416x240_50fps_8bit.yuv", (416, 240), 50, "yuv420p"),
        ("x_1920x1080_23.976_10bit_420.yuv", (1920, 1080), Fraction(24000, 1001), "yuv420p10le"),
        ("x_1920x1080_29.97.yuv", (1920, 1080), RATE, None),
        ("x_1920X1080_59.94hz.yuv", (1920, 1080), Fraction(60000, 1001), None),
        ("Beauty_1920x1080_120fps_420_8bit_YUV.yuv", (1920, 1080), 120, "yuv420p"),
        ("Tango2_3840x2160_60fps_10bit_420.yuv", (3840, 2160), 60, "yuv420p10le"),
        ("park_64x64_yuv420p10le.yuv", (64, 64), None, "yuv420p10le"),
        ("park_64x64_422_10b.yuv", (64, 64), None, "yuv422p10le"),
        ("a_64x64_12_25fps.yuv", (64, 64), 25, None),
        ("2x_352x288.yuv", (352, 288), None, None),
        ("take_7.yuv", None, None, None),
        ("", None, None, None),
    ],
)
def test_names(name, size, rate, pixel_format):
    assert probe_parameters(name) == RawParameters(size, rate, pixel_format)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("25", 25), ("30000/1001", RATE), ("29.97", RATE), ("23.98", Fraction(24000, 1001)), ("12.5", 12.5), ("30.0", 30)],
)
def test_frame_rates(text, rate):
    assert parse_frame_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-1", "1/0", "fast", "nan", "inf"])
def test_frame_rates_that_are_none(text):
    with pytest.raises(InputError, match="frame rate") as error:
        parse_frame_rate(text)
    one_line(error)


# round trips


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(
    ("suffix", "width", "height"),
    [(suffix, 36, 20) for suffix in (".yuv", ".y4m", ".mkv", ".mp4", ".mov")]
    + [(suffix, *size) for suffix in (".yuv", ".y4m", ".mkv") for size in ((35, 19), (1, 1))],  # x264: even sizes only
)
def test_round_trip(tmp_path, suffix, width, height, bit_depth):
    info = make_info(width, height, bit_depth)
    path = tmp_path / f"a_{width}x{height}_29.97_{bit_depth}bit{suffix}"
    frames = make_frames(info)
    save(path, info, frames)
    found, read = load(path)
    assert pictures(read) == pictures(frames)
    assert found == make_info(width, height, bit_depth, time_base=found.time_base)
    assert np.allclose([float(t) for t in seconds(found, read)], [n / float(RATE) for n in range(3)], atol=5e-4)
    assert all(plane.flags.writeable for frame in read for plane in frame.picture.planes)
    assert left_behind(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["a_36x20.yuv", "a.y4m", "a.mkv", "a.mp4"])
def test_one_frame_and_counts(tmp_path, name):
    info = make_info()
    for count in (1, 4):
        frames = make_frames(info, range(count))
        save(tmp_path / name, info, frames)
        with open_source(tmp_path / name) as source:
            assert source.name == str(tmp_path / name) and source.frame_count == count
            assert list(source) and not list(source)  # once


@pytest.mark.parametrize("suffix", [".y4m", ".mkv", ".mp4"])
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("colour", [Colour("bt601", True), Colour("bt2020", False), Colour("bt709", True)])
def test_colour_survives(tmp_path, suffix, bit_depth, colour):
    if suffix == ".y4m":
        colour = Colour(full_range=colour.full_range)  # it has no word for the matrix
    info = make_info(bit_depth=bit_depth, colour=colour)
    frames = make_frames(info, [0])
    save(tmp_path / f"a{suffix}", info, frames)
    found, read = load(tmp_path / f"a{suffix}")
    assert found.colour == colour and pictures(read) == pictures(frames)


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "ffv1"])
@pytest.mark.parametrize("count", [1, 3])
def test_named_encoders_are_lossless(tmp_path, encoder, count):
    info = make_info(64, 64)
    frames = make_frames(info, range(count))
    save(tmp_path / "a.mkv", info, frames, video_codec=encoder)
    assert pictures(load(tmp_path / "a.mkv")[1]) == pictures(frames)
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.video[0].codec_context.name in (encoder, encoder.replace("libx26", "h26"), "hevc")


def test_uneven_times_survive(tmp_path):
    info = make_info(frame_rate=Fraction(25), time_base=Fraction(1, 1000))
    times = [0, 40, 45, 200, 233, 1000]
    save(tmp_path / "a.mkv", info, make_frames(info, times))
    info, frames = load(tmp_path / "a.mkv")
    assert seconds(info, frames) == [Fraction(t, 1000) for t in times]
    save(tmp_path / "b.mp4", info, frames)
    info, frames = load(tmp_path / "b.mp4")
    assert seconds(info, frames) == [Fraction(t, 1000) for t in times]
    save(tmp_path / "c.mp4", info, frames)  # at the time base that .mp4 chose
    assert seconds(*load(tmp_path / "c.mp4")) == [Fraction(t, 1000) for t in times]


@pytest.mark.parametrize("name", ["a.y4m", "a_36x20_25.yuv"])
def test_a_steady_rate_repeats_frames(tmp_path, caplog, name):
    info = make_info(frame_rate=Fraction(25), time_base=Fraction(1, 1000))
    frames = make_frames(info, [0, 40, 45, 200, 233, 1000])
    with open_sink(tmp_path / name, info, steady=True) as sink:
        for frame in frames:
            sink.write(frame)
    shown = [0, 1, 2, 2, 2, 3, *[4] * 19, 5]  # the one at 45 ms has no place of its own, and stays until 200 ms
    assert pictures(load(tmp_path / name)[1]) == [frames[number].picture for number in shown]
    assert not caplog.text


def test_a_steady_rate_is_not_endless(tmp_path):
    info = make_info(frame_rate=Fraction(25), time_base=Fraction(1, 25))
    first, second = make_frames(info, [0, 10_000_000])
    with (
        pytest.raises(OutputError, match=r"shown for 400000 s; write to \.mkv"),
        open_sink(tmp_path / "a.y4m", info, steady=True) as sink,
    ):
        sink.write(first)
        sink.write(second)
    assert left_behind(tmp_path) == []


def test_ntsc_times_are_exact_in_mp4(tmp_path):
    info = make_info()
    save(tmp_path / "a.mp4", info, make_frames(info, range(5)))
    found, frames = load(tmp_path / "a.mp4")
    assert found.frame_rate == RATE and seconds(found, frames) == [n / RATE for n in range(5)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([7, 8, 9], [0, 1, 2]),
        ([-512, 0, 512], [0, 512, 1024]),
        ([None, None, None], [0, 10, 20]),
        ([None, 50, 55], [0, 10, 15]),
        ([0, 10, None, 30], [0, 10, 20, 30]),
        ([0, 10, 10, 5, 40], [0, 10, 20, 30, 40]),
    ],
)
def test_clock(given, expected):
    clock = Clock(10)
    assert [clock.tick(pts) for pts in given] == expected


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("width", "height"), [(36, 20), (35, 19)])
def test_layouts_are_read_exactly(name, width, height):
    layout = LAYOUTS[name]
    picture = make_picture(make_info(width, height, layout.bit_depth))
    if not layout.interleaved:
        planes = picture.planes
    else:
        planes = picture.y, np.stack([picture.u, picture.v], 2).reshape(picture.u.shape[0], -1)
    frame = av.VideoFrame(width, height, name)
    for target, samples in zip(frame.planes, planes, strict=True):
        stored = np.ascontiguousarray((samples << layout.shift).astype(samples.dtype.newbyteorder(layout.byte_order)))
        rows = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)
        rows[: stored.shape[0], : stored.shape[1] * stored.itemsize] = stored.view(np.uint8)
    assert planes_of(frame, layout) == picture


@pytest.mark.parametrize("tag", ["C420", "C420jpeg", "C420mpeg2", "C420paldv", ""])
def test_y4m_variants(tmp_path, tag):
    picture = make_picture(make_info(35, 19))
    data = f"YUV4MPEG2 W35 H19 F0:0 Ip A128:117 {tag} XYSCSS=420\nFRAME Ip\n".encode() + picture.tobytes()
    (tmp_path / "a.y4m").write_bytes(data)
    info, frames = load(tmp_path / "a.y4m")
    assert frames == [Frame(0, picture)] and info.frame_rate == 30


def test_options_win_over_the_name(tmp_path):
    info = make_info(20, 36, 10)
    path = tmp_path / "a_36x20_50_8bit.yuv"
    save(path, info, make_frames(info))
    found, frames = load(path, size=(20, 36), frame_rate=Fraction(12), pixel_format="yuv420p10le")
    assert found == make_info(20, 36, 10, frame_rate=Fraction(12), time_base=Fraction(1, 12))
    assert frames == make_frames(info)


def test_names_that_look_like_protocols_and_links(tmp_path, monkeypatch):
    info = make_info()
    monkeypatch.chdir(tmp_path)
    save("http:a.mkv", info, make_frames(info))
    assert pictures(load("http:a.mkv")[1]) == pictures(make_frames(info))
    Path("link.mkv").symlink_to("http:a.mkv")
    save("link.mkv", info, make_frames(info, [0]))
    assert Path("link.mkv").is_symlink() and len(load("http:a.mkv")[1]) == 1


# laziness


class Endless(io.RawIOBase):
    """A .y4m stream that never ends, and counts what was read of it."""

    def __init__(self, info, picture):
        self.frame, self.taken = b"FRAME\n" + picture.tobytes(), 0
        self.head = f"YUV4MPEG2 W{info.width} H{info.height} F30:1\n".encode()

    def readable(self):
        return True

    def readinto(self, buffer):
        data = (self.head or self.frame)[: len(buffer)]
        self.head, self.frame = (b"", self.frame) if self.head else (self.head, self.frame)
        buffer[: len(data)] = data
        self.taken += len(data)
        return len(data)


def test_frames_are_read_only_when_asked_for(monkeypatch):
    info = make_info(640, 480)
    endless = Endless(info, make_picture(info))
    buffered = io.BufferedReader(endless, len(endless.frame))
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": buffered})())
    with open_source("-") as source:
        assert source.frame_count is None and endless.taken < 2 * len(endless.frame)
        assert len(list(islice(source, 3))) == 3
        assert endless.taken < 6 * len(endless.frame)


def test_rejoined_pipe():
    rest = io.BufferedReader(io.BytesIO(b"defgh"))
    assert io.BufferedReader(_Rejoined(b"abc", rest)).read() == b"abcdefgh"


@pytest.mark.parametrize("suffix", [".yuv", ".mkv"])
def test_named_pipes(tmp_path, suffix):
    """Read, and written without being replaced. The other end is a process: FFmpeg opens files with the GIL held."""
    info = make_info()
    plain, pipe, copy = (tmp_path / f"{name}_36x20{suffix}" for name in ("plain", "pipe", "copy"))
    save(plain, info, make_frames(info))
    os.mkfifo(pipe)
    with plain.open("rb") as file:
        feeder = subprocess.Popen(["tee", pipe], stdin=file, stdout=subprocess.DEVNULL)
    with feeder, open_source(pipe) as source:
        assert pictures(source) == pictures(make_frames(info))
    with copy.open("wb") as file, subprocess.Popen(["cat", pipe], stdout=file):
        save(pipe, info, make_frames(info))
    assert pipe.is_fifo()
    with open_source(copy) as source:
        assert pictures(source) == pictures(make_frames(info))


# standard input and output

COPY = """
import sys
from fractions import Fraction
from codec.errors import CodecError
from codec.video.reader import open_source
from codec.video.writer import open_sink
source, target, options = sys.argv[1], sys.argv[2], eval(sys.argv[3])
try:
    with open_source(source, **options) as video, open_sink(target, video.info) as sink:
        for frame in video:
            sink.write(frame)
except CodecError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
except BrokenPipeError:
    sys.exit(141)
"""


def copy_command(source, target, **options):
    return [sys.executable, "-c", COPY, str(source), str(target), repr(options)]


@pytest.fixture
def stdin(monkeypatch):
    """Makes a file of bytes, small enough for a pipe's buffer, the standard input."""
    files = []

    def feed(data):
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as file:
            file.write(data)
        files.append(os.fdopen(reading, "rb"))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(files[-1]))

    yield feed
    for file in files:
        file.close()


@pytest.mark.parametrize("name", ["a.y4m", "a_35x19_10bit.yuv", "a.mkv"])
def test_standard_input(tmp_path, stdin, name):
    info = make_info(35, 19, 10)
    save(tmp_path / name, info, make_frames(info))
    stdin((tmp_path / name).read_bytes())
    raw = {"size": (35, 19), "pixel_format": "yuv420p10le"}
    found, frames = load("-", **(raw if name.endswith("yuv") else {}))
    assert pictures(frames) == pictures(make_frames(info)) and found.bit_depth == 10


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (b"", {}, "is empty"),
        (b"YUV4", {}, "cannot be read as video"),
        (b"x" * 40, {}, "cannot be read as video"),
        (b"x" * 40, {"size": (4, 2)}, "frame 3 is cut off, 4 of 12"),
        (b"YUV4MPEG2 W4 H2\n", {"size": (4, 2)}, "not raw video"),
        (b"YUV4MPEG2 W4 H2\n", {}, "no pictures"),
    ],
)
def test_bad_standard_input(stdin, data, options, words):
    stdin(data)
    with pytest.raises(InputError, match=r"^standard input: ") as error:
        load("-", **options)
    assert words in one_line(error)


def test_redirected_mp4(tmp_path, monkeypatch):
    info = make_info()
    save(tmp_path / "a.mp4", info, make_frames(info))
    with (tmp_path / "a.mp4").open() as file:  # its index is at the end, so that reading needs to seek
        monkeypatch.setattr(sys, "stdin", file)
        assert pictures(load("-")[1]) == pictures(make_frames(info))


def test_pipes_between_programs(tmp_path):
    info = make_info(35, 19)
    save(tmp_path / "a.mkv", info, make_frames(info))
    data = (tmp_path / "a.mkv").read_bytes()
    result = subprocess.run(copy_command("-", "-"), input=data, capture_output=True, check=True)
    assert result.stderr == b""
    (tmp_path / "out.y4m").write_bytes(result.stdout)
    assert pictures(load(tmp_path / "out.y4m")[1]) == pictures(make_frames(info))


def test_closed_standard_output(tmp_path):
    info = make_info(320, 240)
    save(tmp_path / "a.y4m", info, make_frames(info))
    with subprocess.Popen(
        copy_command(tmp_path / "a.y4m", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert not process.stderr.read()
    assert process.returncode == 141


# bad input


def bad_source(tmp_path, name, content, options, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load(path, **options)
    text = one_line(error)
    assert str(path) in text and words in text


Y4M = b"YUV4MPEG2 W4 H2 F25:1"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.yuv", None, "no such file"),
        ("none.mkv", None, "no such file"),
        ("empty_4x2.yuv", b"", "is empty"),
        ("empty.mp4", b"", "is empty"),
        ("what.yuv", b"x" * 12, "--size WxH"),
        ("what_4x2.yuv", b"x" * 13, "13 bytes are no whole number of 4x2 8 bit frames of 12 bytes"),
        ("what_4x2_422.yuv", b"x" * 16, "yuv422p"),
        ("what_0x2.yuv", b"x" * 16, "0x2"),
        ("text.mkv", b"This is no video at all. " * 50, "cannot be read as video"),
        ("text.y4m", b"This is no video at all. " * 50, "does not start with YUV4MPEG2"),
        ("binary.y4m", bytes(range(256)), "does not start with YUV4MPEG2"),
        ("size.y4m", b"YUV4MPEG2 W4 F25:1\n", "width, height"),
        ("rate.y4m", b"YUV4MPEG2 W4 H2 F25\n", "frame rate"),
        ("huge.y4m", b"YUV4MPEG2 W4 H999999999 F25:1\n", "4x999999999"),
        ("444.y4m", Y4M + b" C444\n", "holds no pictures"),
        ("what.y4m", Y4M + b" C999\n", "cannot be read as video"),
        ("none.y4m", Y4M + b"\n", "holds no pictures"),
        ("cut.y4m", Y4M + b"\nFRAME\n" + b"x" * 12 + b"FRAME\n" + b"x" * 11, "frame 1 is cut off, 11 of 12"),
        ("cut2.y4m", Y4M + b"\nFRAME\n" + b"x" * 12 + b"FRAME\n", "frame 1 is cut off"),
        ("cut3.y4m", Y4M + b"\nFRAME\n" + b"x" * 12 + b"FRA", "frame 1 is cut off"),
        ("slip.y4m", Y4M + b"\nFRAME\n" + b"x" * 13 + b"FRAME\n", "frame 1 does not start with FRAME"),
    ],
)
def test_bad_files(tmp_path, name, content, words):
    bad_source(tmp_path, name, content, {}, words)


def test_bad_options(tmp_path):
    bad_source(tmp_path, "a.yuv", b"x" * 12, {"size": (4, 2), "pixel_format": "rgb24"}, "rgb24")
    bad_source(tmp_path, "a.y4m", Y4M + b"\n", {"size": (4, 2)}, "not raw video")
    bad_source(tmp_path, "a.mkv", b"x", {"frame_rate": Fraction(25)}, "not raw video")


def test_directory_is_no_video(tmp_path):
    for path in (tmp_path, tmp_path / "b.yuv"):
        path.mkdir(exist_ok=True)
        bad_source(path.parent, path.name, None, {}, "is a directory")


def test_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    bad_source(tmp_path, "a.mkv", None, {}, "no video stream")


def test_damage_names_the_frame(tmp_path):
    info = make_info(64, 64)
    save(tmp_path / "a.mp4", info, make_frames(info, range(6)))
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = len(data) // 2
    for length in (400, 8000):
        data[middle : middle + length] = b"\xff" * length
        (tmp_path / "a.mp4").write_bytes(data)
        with open_source(tmp_path / "a.mp4") as source:
            assert 3 <= len(list(source)) <= 6
        assert "damaged from frame 3 on" in source.problems[0] or "cannot be decoded" in source.problems[0]


def test_errors_while_decoding_name_the_frame(tmp_path, monkeypatch):
    def broken(*_):
        yield video_frame(make_picture(info), "yuv420p")
        raise av.InvalidDataError(1, "Invalid data")

    info = make_info()
    save(tmp_path / "a.mkv", info, make_frames(info))
    monkeypatch.setattr("codec.video.libav_reader.chain", broken)
    bad_source(tmp_path, "a.mkv", None, {}, "frame 1 cannot be decoded (Invalid data)")


def test_truncated_index(tmp_path):
    info = make_info(64, 64)
    save(tmp_path / "a.mp4", info, make_frames(info))
    content = (tmp_path / "a.mp4").read_bytes()
    bad_source(tmp_path, "a.mp4", content[: len(content) // 2], {}, "cannot be read as video")


CHANGES = [((32, 8), (64, 8)), ((64, 8), (32, 8)), ((32, 8), (32, 10)), ((32, 10), (48, 8))]


@pytest.mark.parametrize(("first", "second"), CHANGES)
def test_pictures_that_change_are_made_like_the_first(tmp_path, caplog, first, second):
    """A stream of two, as a broadcast would switch: a side and a bit depth each, and an even grey that stays."""
    path = tmp_path / "a.h264"
    with path.open("wb") as file:
        for side, depth in (first, second):
            encoder = av.CodecContext.create("libx264", "w")
            encoder.width = encoder.height = side
            encoder.pix_fmt, encoder.time_base, encoder.framerate = FORMATS[depth], Fraction(1, 25), Fraction(25)
            encoder.options = {"preset": "ultrafast"}
            for number in range(2):
                picture = video_frame(blank(make_info(side, side, depth)), FORMATS[depth])
                picture.pts = number
                file.writelines(map(bytes, encoder.encode(picture)))
            file.writelines(map(bytes, encoder.encode(None)))
    side, depth = first
    shown = pictures(load(path)[1])
    assert [(picture.width, picture.height, picture.bit_depth) for picture in shown] == 4 * [(side, side, depth)]
    grey = 1 << depth - 1
    assert all(abs(plane.astype(int) - grey).max() <= 1 << depth - 8 for picture in shown for plane in picture.planes)
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"frame 2 is {second[0]}x{second[0]} {second[1]} bit; such frames are made {side}x{side} {depth} bit" in line


# bad output


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.xyz", {}, "unknown suffix '.xyz'"),
        ("a", {}, "unknown suffix"),
        ("no/a.mkv", {}, "cannot be written"),
        ("no/a.yuv", {}, "cannot be written"),
        ("a.mkv", {"video_codec": "none"}, "'none' is not a video encoder"),
        ("a.mkv", {"video_codec": "aac"}, "'aac' is not a video encoder"),
        ("a.mkv", {"video_codec": "huffyuv"}, "huffyuv cannot take yuv420p"),
        ("a.mov", {"video_codec": "ffv1"}, "mov cannot hold ffv1"),
        ("a.y4m", {"video_codec": "libx264"}, "holds raw video"),
        ("a.mp4", {}, "libx264 refuses 35x19"),
        (".", {}, "is a directory"),
        ("/dev/full/a.yuv", {}, "cannot be written"),
    ],
)
def test_bad_targets(tmp_path, name, options, words):
    with pytest.raises(OutputError) as error:
        open_sink(tmp_path / name, make_info(35, 19), **options)
    assert words in one_line(error)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("name", ["a.y4m", "a.yuv", "-"])
def test_raw_video_has_no_quality(name):
    with pytest.raises(OutputError, match=r"holds raw video; leave out --crf, or write to \.mkv"):
        check_name(name, crf=18)
    check_name("a.mkv", crf=18)


def test_sizes_that_an_encoder_refuses(tmp_path):
    with pytest.raises(OutputError, match=r"libx265 refuses 1x200 8 bit \(.*\); write to \.mkv without --video-codec"):
        open_sink(tmp_path / "a.mkv", make_info(1, 200), video_codec="libx265")


@pytest.mark.parametrize("suffix", [".yuv", ".mkv"])
def test_full_disk(tmp_path, suffix):
    (tmp_path / f"a{suffix}").symlink_to("/dev/full")
    info = make_info(640, 480)
    with pytest.raises(OutputError, match="cannot be written") as error:
        save(tmp_path / f"a{suffix}", info, make_frames(info))
    assert "space" in one_line(error)
    assert left_behind(tmp_path) == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".yuv", ".y4m", ".mkv", ".mp4"])
@pytest.mark.parametrize(
    ("failure", "count"), [(KeyboardInterrupt, 0), (KeyboardInterrupt, 2), (CodecError, 2), (None, 0)]
)
def test_failures_keep_the_old_file(tmp_path, suffix, failure, count):
    target, info = tmp_path / f"a{suffix}", make_info()
    target.write_bytes(b"old")
    with pytest.raises(failure or OutputError), open_sink(target, info) as sink:
        for frame in make_frames(info, range(count)):
            sink.write(frame)
        if failure:
            raise failure
    assert left_behind(tmp_path) == [target.name] and target.read_bytes() == b"old"


def test_nothing_appears_before_the_end(tmp_path):
    info = make_info()
    with open_sink(tmp_path / "a.mkv", info) as sink:
        sink.write(make_frames(info)[0])
        (partial,) = left_behind(tmp_path)
        assert partial.startswith(".a.mkv.") and partial.endswith(".part")
    assert left_behind(tmp_path) == ["a.mkv"]


def test_pictures_must_fit(tmp_path):
    words = r"frame\.picture is of 20x36 8 bit; it must be of 36x20 8 bit"
    with pytest.raises(InputError, match=words), open_sink(tmp_path / "a.yuv", make_info()) as sink:
        sink.write(Frame(0, make_picture(make_info(20, 36))))
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("size", [(1, 1), (1, 33), (2, 300), (300, 2), (3, 5)])
def test_narrow_pictures_are_lossless_in_mkv(tmp_path, size, bit_depth):
    pictures = moving(2, *size, bit_depth=bit_depth)
    path = tmp_path / "narrow.mkv"
    write(path, pictures)
    assert [frame.picture for frame in read(path)] == pictures
