"""Frames from the middle of a stream: the same as in the whole, at the cost of the segments they are in."""

import io
import pathlib
from dataclasses import replace
from fractions import Fraction

import pytest
from films import described, make_film, packets_of
from helpers import moving, read, write

import codec
from codec.bframe.tasks import PredictTask
from codec.bitstream.reader import StreamReader
from codec.bitstream.writer import StreamWriter
from codec.cli import main
from codec.decoder.reconstruct import Reconstructor
from codec.values import place_of

COUNT, PERIOD, REPEATS = 44, 8, 40
FAST = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "intra_period": PERIOD, "metrics": False}


@pytest.fixture(scope="module")
def streams(tmp_path_factory, tiny_weights):
    """The same stream as .ncm, .mp4 and .mkv, its first frames of different lengths, and the frames of it."""
    folder = tmp_path_factory.mktemp("streams")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_WEIGHTS", str(tiny_weights))
        pts = [0, 50, 80, 100, *range(160, 160 + 40 * (COUNT - 4), 40)]
        src = write(folder / "seq.mkv", moving(COUNT), pts=pts, time_base=Fraction(1, 1000))
        codec.encode(src, folder / "a.ncm", crf=1, **FAST)
        codec.remux(folder / "a.ncm", folder / "a.mp4")
        codec.remux(folder / "a.ncm", folder / "a.mkv")
        with codec.open(folder / "a.ncm") as video:
            return folder, list(video)


@pytest.fixture(params=["a.ncm", "a.mp4", "a.mkv"])
def path(request, streams, weights):
    return streams[0] / request.param


def test_slices_are_parts_of_the_whole(path, streams):
    """Any of them, as those that start with B-frames that lead their I (7, 15, 23, ...)."""
    frames = streams[1]
    with codec.open(path) as video:
        assert len(video) == COUNT
        for start, stop in ((7, 8), (15, 26), (8, 16), (0, 5), (21, 22), (40, 60), (3, 3)):
            assert list(video[start:stop]) == frames[start:stop]
        assert video[-1] == frames[-1] and video[23] == frames[23] and list(video[:]) == frames
        assert not video.problems
        with pytest.raises(IndexError, match="no frame 44"):
            video[COUNT]
        with pytest.raises(IndexError, match="leave the step out"):
            video[::2]


def test_an_iteration_begins_anew_where_nothing_says_otherwise(path, streams):
    frames = streams[1]
    with codec.open(path) as video:
        assert list(video) == frames and list(video) == frames
        assert video[2] == frames[2] and list(video) == frames
        assert next(iter(video)) == frames[0] and list(video) == frames
        assert video.seek("17f") == 17 and list(video) == frames[17:] and list(video) == frames
        assert not video.problems


def test_times(path, streams):
    frames = streams[1]
    with codec.open(path) as video:
        assert [video.seek(t) for t in (0, 0.049, 0.05, "0:00.1", 1, "17f")] == [0, 0, 1, 3, 25, 17]
        assert video.seek(0.36) == 9 and list(video) == frames[9:]
        with pytest.raises(codec.StreamError, match=r"nothing at 1\.8 s; it ends at 1\.7"):
            video.seek(1.8)
        with pytest.raises(codec.StreamError, match="no frame 44; it has 44"):
            video.seek("44f")
        with pytest.raises(codec.InputError, match="no place in a video"):
            video.seek("soon")


class CountingPath(type(pathlib.Path())):
    """Paths whose files count what is read of them."""

    bytes_read = 0

    def open(self, mode="r", *args, **kwargs):
        class Raw(io.FileIO):
            def readinto(self, buffer):
                count = super().readinto(buffer)
                CountingPath.bytes_read += count
                return count

        assert mode == "rb"
        return io.BufferedReader(Raw(str(self)), 256)


@pytest.fixture(scope="module")
def long(streams):
    """The stream again and again, as long.ncm, long.mp4 and long.mkv."""
    folder = streams[0]
    with (folder / "a.ncm").open("rb") as file, (folder / "long.ncm").open("wb") as out:
        reader = StreamReader(file)
        units = list(reader.units())
        writer = StreamWriter(out, reader.header)
        for time in range(REPEATS):
            for unit in units:
                writer.write(later(unit, time * COUNT, time * units[-1].stop_anchor, time * 1760))
        writer.finish()
    codec.remux(folder / "long.ncm", folder / "long.mp4")
    codec.remux(folder / "long.ncm", folder / "long.mkv")
    return folder


def later(unit, pictures, anchors, ticks):
    return replace(
        unit,
        segment=replace(unit.segment, intra=unit.segment.intra + pictures),
        first_anchor=unit.first_anchor + anchors,
        pts=tuple(pts + ticks for pts in unit.pts),
        anchor_packets=[packet._replace(index=packet.index + anchors) for packet in unit.anchor_packets],
    )


@pytest.mark.parametrize("name", ["long.ncm", "long.mp4", "long.mkv"])
def test_only_the_segments_it_needs_are_read_and_decoded(long, name, monkeypatch, streams, weights):
    segments, decoded = [], Reconstructor.decoded
    monkeypatch.setattr(Reconstructor, "decoded", lambda self, unit: segments.append(unit) or decoded(self, unit))
    monkeypatch.setattr("codec.container.opening.Path", CountingPath)
    with codec.open(long / name) as video:
        CountingPath.bytes_read = 0
        shown = list(video[30 * COUNT + 33 : 30 * COUNT + 36])
    assert [frame.picture for frame in shown] == [frame.picture for frame in streams[1][33:36]]
    assert len(segments) == 1
    segment = sum(map(len, (packet.data for packet in segments[0].anchor_packets)))
    assert segment < CountingPath.bytes_read < (segment + 4000 if name == "long.ncm" else 250_000)
    assert (long / name).stat().st_size > 700_000


@pytest.mark.parametrize(("start", "stop", "made"), [(18, 19, 1), (17, 18, 2), (16, 17, 0), (15, 17, 2)])
def test_only_the_bframes_it_needs_are_made(tmp_path, weights, monkeypatch, start, stop, made):
    """With anchors 4 apart: the middle of a mini-GOP alone, one beside it and the middle, one that leads its I."""
    src = write(tmp_path / "seq.y4m", moving(32))
    codec.encode(src, tmp_path / "a.ncm", gop="fixed:4", hashes=True, **FAST | {"intra_period": 16})
    with codec.open(tmp_path / "a.ncm") as video:
        frames = list(video)
    tasks, run = [], PredictTask.run
    monkeypatch.setattr(PredictTask, "run", lambda self, predictor: tasks.append(self) or run(self, predictor))
    with codec.open(tmp_path / "a.ncm", workers=0) as video:
        assert list(video[start:stop]) == frames[start:stop] and not video.problems
    assert len(tasks) == made


def test_part_of_a_film_with_its_sound(tmp_path, weights):
    src = make_film(tmp_path / "src.mp4", 50)
    codec.encode(src, tmp_path / "a.mkv", **FAST)
    assert codec.decode(tmp_path / "a.mkv", tmp_path / "part.mkv", start="10f", stop=1.2) == 20
    assert codec.decode(tmp_path / "a.mkv", tmp_path / "all.mkv") == 50
    part, whole = read(tmp_path / "part.mkv"), read(tmp_path / "all.mkv")
    assert [frame.picture for frame in part] == [frame.picture for frame in whole[10:30]] and part[0].pts == 0
    sound, all_sound = packets_of(tmp_path / "part.mkv", "audio"), packets_of(tmp_path / "all.mkv", "audio")
    inside = [(time, data) for time, data in all_sound if 400 <= time < 1200]
    assert [data for _, data in sound] == [data for _, data in inside]
    assert all(abs(time + 400 - other) <= 1 for (time, _), (other, _) in zip(sound, inside, strict=True))
    assert described(tmp_path / "part.mkv")[1] == [(0, 600, "one"), (600, 800, "two")]


def test_places():
    assert [float(place_of(text)[1]) for text in ("70", "1:10", "0:01:10.5", "2.25")] == [70, 70, 70.5, 2.25]
    assert place_of("300f")[0] == 300
    for text in ("", "1:2:3:4", "-1", "1e3", "f", "1f5", "1,5"):
        with pytest.raises(codec.InputError, match="no place in a video"):
            place_of(text)
    for number in (-1, float("nan"), float("inf")):
        with pytest.raises(codec.InputError, match="no time in a video"):
            place_of(number)


def test_a_pipe_cannot_be_searched(streams, weights, monkeypatch):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation("seek")

        tell = seek

    data = (streams[0] / "a.ncm").read_bytes()
    monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": Pipe(data)}))
    with codec.open("-") as video, pytest.raises(codec.StreamError, match="standard input: a pipe does not tell"):
        video.seek(1)


def test_a_steady_rate_keeps_the_length(streams, tmp_path, weights):
    folder, frames = streams
    assert main(["decode", str(folder / "a.ncm"), "-o", str(tmp_path / "a.y4m"), "--steady"]) == 0
    with codec.open(folder / "a.ncm") as video:
        places = (frames[-1].pts - frames[0].pts) * video.info.time_base * video.info.frame_rate
    shown = read(tmp_path / "a.y4m")
    assert abs(len(shown) - 1 - places) <= Fraction(1, 2) and shown[-1].picture == frames[-1].picture
