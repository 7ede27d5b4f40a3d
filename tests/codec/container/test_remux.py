"""A stream is the same to the byte after any way through .mp4 and .mkv, by our hands and by others'."""

import json
import shutil
import subprocess
from fractions import Fraction
from itertools import pairwise

import av
import pytest
from helpers import DATA, command, moving, write

import codec
from codec.container.opening import reading

ANCHORS = ("x265", "x264", "svtav1")
FRAMES = 20
GOLDEN = sorted(path for path in DATA.glob("golden*.ncm"))


def there_and_back(path, folder, *films):
    """The stream after a way through some films."""
    for name in films:
        codec.remux(path, folder / name)
        path = folder / name
    codec.remux(path, folder / "back.ncm")
    return (folder / "back.ncm").read_bytes()


@pytest.mark.parametrize("anchor", ANCHORS)
def test_to_both_films_and_back(loaded, tmp_path, anchor):
    path = loaded / f"{anchor}-loaded.ncm"
    assert there_and_back(path, tmp_path, "a.mp4", "b.mkv", "c.m4v") == path.read_bytes()
    assert codec.info(tmp_path / "b.mkv") == codec.info(path)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_streams(tmp_path, path):
    assert there_and_back(path, tmp_path, "a.mp4", "b.mkv") == path.read_bytes()


HOW = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "metrics": False}


def test_pauses_that_mp4_cannot_hold_are_refused(tmp_path, weights):
    """FFmpeg would show what comes after them at once."""
    times = [0, 40, 288_000_000, 288_000_040]  # milliseconds
    src = write(tmp_path / "src.mkv", moving(4), pts=times, time_base=Fraction(1, 1000))
    codec.encode(src, tmp_path / "a.ncm", **HOW)
    for step in codec.remux, codec.decode:
        with pytest.raises(codec.OutputError, match=r"shown for 288000 s; write to \.mkv"):
            step(tmp_path / "a.ncm", tmp_path / "b.mp4")
        assert not (tmp_path / "b.mp4").exists()
    assert there_and_back(tmp_path / "a.ncm", tmp_path, "c.mkv") == (tmp_path / "a.ncm").read_bytes()


def test_anchors_that_mkv_cannot_tell_apart_are_refused(tmp_path, weights):
    src = write(tmp_path / "src.mp4", moving(4), rate=Fraction(8000))
    codec.encode(src, tmp_path / "a.ncm", **HOW)
    with pytest.raises(codec.OutputError, match=r"two anchors in a millisecond; write to \.mp4"):
        codec.remux(tmp_path / "a.ncm", tmp_path / "b.mkv")
    assert there_and_back(tmp_path / "a.ncm", tmp_path, "c.mp4") == (tmp_path / "a.ncm").read_bytes()


@pytest.mark.parametrize("film", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("anchor", ANCHORS)
def test_players_see_the_anchors_at_their_times(loaded, tmp_path, anchor, film):
    path = loaded / f"{anchor}-loaded.ncm"
    codec.remux(path, tmp_path / film)
    with reading(path) as (_, reader):
        pocs = [poc for unit in reader.units() for poc in unit.segment.anchor_pocs]
    with av.open(tmp_path / film) as container:
        (stream,) = container.streams.video
        shown = [frame.pts * stream.time_base for frame in container.decode(stream)]
        assert [round(time * 25) for time in shown] == pocs
    with av.open(tmp_path / film) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.is_keyframe for packet in packets].count(True) == 3
    times = [packet.dts for packet in packets if packet.dts is not None]
    assert all(a < b for a, b in pairwise(times)) and all(p.dts is None or p.dts <= p.pts for p in packets)
    tag = packets[0].stream.codec_context.codec_tag
    assert film == "a.mkv" or tag == {"x265": "hvc1", "x264": "avc1", "svtav1": "av01"}[anchor]


def test_the_index_of_an_mp4_comes_first(plain, tmp_path):
    codec.remux(plain / "x264.ncm", tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


TOOLS = {
    "ffmpeg": ("ffmpeg", "-loglevel", "error", "-i", "SRC", "-c", "copy", "DST"),
    "mkvmerge": ("mkvmerge", "-q", "-o", "DST", "SRC"),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("anchor", ANCHORS)
def test_copies_by_other_tools(loaded, tmp_path, anchor, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    path = loaded / f"{anchor}-loaded.ncm"
    codec.remux(path, tmp_path / "0.mp4")
    names = ["0.mp4", "1.mkv", "2.mkv" if tool == "mkvmerge" else "2.mp4"]
    for src, dst in pairwise(names):
        words = [{"SRC": str(tmp_path / src), "DST": str(tmp_path / dst)}.get(word, word) for word in TOOLS[tool]]
        subprocess.run(words, check=True)
    assert there_and_back(tmp_path / names[-1], tmp_path) == path.read_bytes()


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("film", ["a.mp4", "a.mkv"])
def test_seeking_is_as_in_the_stream(loaded, tmp_path, anchor, film):
    path = loaded / f"{anchor}-loaded.ncm"
    codec.remux(path, tmp_path / film)
    with reading(path) as (_, plain), reading(tmp_path / film) as (_, reader):
        assert reader.picture_count() == FRAMES and reader.index() == plain.index()
        for poc in (19, 3, 8, 12, 0, 7):
            plain.seek(poc)
            reader.seek(poc)
            assert list(reader.units()) == list(plain.units()) and not reader.damage


def test_all_commands_take_films(plain, tmp_path, weights):
    codec.remux(plain / "x265.ncm", tmp_path / "a.mp4")
    for path in (plain / "x265.ncm", tmp_path / "a.mp4"):
        assert codec.verify(path) == FRAMES
        codec.decode(path, tmp_path / f"{path.stem}.y4m")
    assert (tmp_path / "a.y4m").read_bytes() == (tmp_path / "x265.y4m").read_bytes()
    film = (tmp_path / "a.mp4").read_bytes()
    piped = command("info", "-", stdin=film)
    assert piped.stdout == command("info", plain / "x265.ncm").stdout and piped.returncode == 0


def test_encoding_into_a_film(tmp_path, weights):
    src = write(tmp_path / "seq.y4m", moving(6))
    for name in ("a.ncm", "a.mkv"):
        codec.encode(src, tmp_path / name, mode="bitfree", model="tiny", preset="ultrafast", metrics=False)
    codec.remux(tmp_path / "a.mkv", tmp_path / "b.ncm")
    assert (tmp_path / "b.ncm").read_bytes() == (tmp_path / "a.ncm").read_bytes()


@pytest.mark.parametrize(
    ("anchor", "name", "words"),
    [
        ("tcm-lite", "a.mp4", "only of x265, svtav1, x264; write to .ncm"),
        ("svtav1", "a.mov", "cannot hold AV1"),
        ("x265", "a.webm", "written as .ncm, .mp4"),
    ],
)
def test_what_no_film_can_hold_is_refused_at_once(tmp_path, weights, anchor, name, words):
    src = write(tmp_path / "seq.y4m", moving(3))
    preset = "lite" if anchor == "tcm-lite" else None
    anchor = "tcm" if anchor == "tcm-lite" else anchor
    with pytest.raises(codec.OutputError, match=words):
        codec.encode(src, tmp_path / name, mode="bitfree", model="tiny", anchor=anchor, preset=preset)
    assert [path.name for path in tmp_path.iterdir()] == ["seq.y4m"]


def test_other_films_are_no_streams(tmp_path):
    write(tmp_path / "film.mp4", moving(3))
    with pytest.raises(
        codec.StreamError, match=r"film\.mp4: not an \.ncm stream, and no film with one inside; give what"
    ):
        codec.info(tmp_path / "film.mp4")


def test_info_for_programs():
    done = command("info", "--json", GOLDEN[0])
    found, info = json.loads(done.stdout), codec.info(GOLDEN[0])
    assert found["header"]["width"] == info.header.width and found["damage"] == []
    assert found["header"]["frame_rate"] == str(info.header.frame_rate)
    assert [frame["bits"] for frame in found["frames"]] == [frame.bits for frame in info.frames]
