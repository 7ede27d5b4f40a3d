"""Films that other tools cut: what is left decodes as it was, in step with its sound."""

import shutil
import subprocess

import av
import pytest
from films import described, make_film, packets_of
from helpers import read

import codec
from codec.bitstream.framing import write_header

COUNT, PERIOD, CUT = 44, 8, 16  # all before the third I is cut off, which is shown at 0.64 s
FAST = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "intra_period": PERIOD, "metrics": False}


@pytest.fixture(scope="module")
def films(tmp_path_factory, tiny_weights):
    """A folder with the same stream in two films, with sound and chapters, and the frames of it."""
    folder = tmp_path_factory.mktemp("films")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_WEIGHTS", str(tiny_weights))
        src = make_film(folder / "src.mkv", COUNT)
        for name in ("a.mp4", "a.mkv"):
            codec.encode(src, folder / name, **FAST)
        with codec.open(folder / "a.mkv") as video:
            return folder, list(video)


def by_hand(src, dst):
    """The film from its third I on, as any tool may write it, moved to 0."""
    with av.open(str(src)) as film, av.open(str(dst), "w") as cut:
        kept = [*film.streams.video, *film.streams.audio]
        streams = {stream.index: cut.add_stream_from_template(stream, opaque=True) for stream in kept}
        film.seek(int(0.65 * av.time_base))
        zero = None
        for packet in film.demux(kept):
            if packet.dts is None:
                continue
            if zero is None and packet.stream.type == "video":
                zero = packet.pts * packet.time_base
            if zero is None:
                continue
            shift = round(zero / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream.index]
            cut.mux(packet)


def by_ffmpeg(src, dst):
    words = ["ffmpeg", "-loglevel", "error", "-ss", "0.8", "-i", src, "-map", "0", "-c", "copy", dst]
    subprocess.run(list(map(str, words)), check=True)


def by_mkvmerge(src, dst):
    subprocess.run(["mkvmerge", "-q", "-o", str(dst), "--split", "parts:00:00:00.640-", str(src)], check=True)


CUTS = {"mp4": (by_hand, ".mp4"), "ffmpeg mp4": (by_ffmpeg, ".mp4"), "ffmpeg mkv": (by_ffmpeg, ".mkv")}
CUTS["mkvmerge mkv"] = (by_mkvmerge, ".mkv")


@pytest.mark.parametrize("way", CUTS)
def test_a_film_without_its_start(films, tmp_path, weights, way):
    (tool, suffix), (folder, frames) = CUTS[way], films
    if " " in way and shutil.which(way.split()[0]) is None:
        pytest.skip(f"{way.split()[0]} is not installed")
    cut = tmp_path / f"cut{suffix}"
    tool(folder / f"a{suffix}", cut)
    with codec.open(cut) as video:
        assert video.begins == CUT and len(video) == COUNT
        assert [video[number] for number in (CUT, COUNT - 1, 29)] == [frames[number] for number in (CUT, COUNT - 1, 29)]
        assert list(video[CUT:COUNT]) == frames[CUT:] and not video.problems
    assert codec.decode(cut, tmp_path / "full.mkv") == COUNT - CUT
    shown = read(tmp_path / "full.mkv")
    assert [frame.picture for frame in shown] == [frame.picture for frame in frames[CUT:]]
    assert [frame.pts - shown[0].pts for frame in shown] == [1000 * number // 25 for number in range(COUNT - CUT)]
    sound, full = packets_of(folder / "a.mkv", "audio"), packets_of(tmp_path / "full.mkv", "audio")
    whole = {data: time for time, data in sound}
    late = [time - (whole[data] - 1000 * CUT // 25) for time, data in full]
    assert len(full) > 40 and max(map(abs, late)) <= 2  # each of two writers rounds to a millisecond


def test_chapters_keep_in_step(films, tmp_path, weights):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    by_ffmpeg(films[0] / "a.mp4", tmp_path / "cut.mp4")
    codec.decode(tmp_path / "cut.mp4", tmp_path / "full.mkv")
    chapters = described(tmp_path / "full.mkv")[1]
    starts = [start for start, _, _ in chapters]
    assert [title for _, _, title in chapters] == ["one", "two"]
    assert abs(starts[1] - (1000 * COUNT // 25 // 2 - 1000 * CUT // 25)) <= 30


def test_a_cut_stream_is_one_of_its_own(films, tmp_path, weights):
    """It goes into .ncm and back, and finds its segments by its index."""
    folder, frames = films
    by_hand(folder / "a.mp4", tmp_path / "cut.mp4")
    codec.remux(tmp_path / "cut.mp4", tmp_path / "cut.ncm")
    codec.remux(tmp_path / "cut.ncm", tmp_path / "again.mp4")
    codec.remux(tmp_path / "again.mp4", tmp_path / "again.ncm")
    assert (tmp_path / "again.ncm").read_bytes() == (tmp_path / "cut.ncm").read_bytes()
    assert codec.info(tmp_path / "cut.ncm").damage == (f"frame 0: pictures 0..{CUT - 2} are lost with their segments",)
    with codec.open(tmp_path / "again.mp4") as video:
        assert video[30] == frames[30] and video[COUNT - 1] == frames[-1]


def test_a_film_without_its_end(films, tmp_path, weights):
    folder, frames = films
    with av.open(str(folder / "a.mp4")) as film, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        stream = cut.add_stream_from_template(film.streams.video[0], opaque=True)
        for packet in film.demux(video=0):
            if packet.dts is not None and packet.pts * packet.time_base < 0.64:
                packet.stream = stream
                cut.mux(packet)
    with codec.open(tmp_path / "cut.mp4") as video:
        assert list(video)[:15] == frames[:15] and "the stream is cut short" in " ".join(video.problems)


def test_a_damaged_start_is_no_cut(films, tmp_path, weights):
    data, header = bytearray((films[0] / "a.mkv").read_bytes()), write_header(codec.info(films[0] / "a.mkv").header)
    data[data.index(header) + len(header) + 4] ^= 1  # of the first SEGMENT
    (tmp_path / "bad.mkv").write_bytes(data)
    with codec.open(tmp_path / "bad.mkv") as video:
        assert video.begins == 0
    with pytest.raises(codec.DamageError, match="are damaged"):
        codec.decode(tmp_path / "bad.mkv", tmp_path / "full.mkv")
