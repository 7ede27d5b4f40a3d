"""Sound, subtitles, chapters, cover art and titles go along, in step with the pictures."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from films import described, make_film, packets_of, pictures, tone
from helpers import command, moving, write

import codec
from codec.cli import main

FAST = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "intra_period": 8, "metrics": False}
COUNT = 24


@pytest.mark.parametrize(("first", "second"), [(".mp4", ".mp4"), (".mp4", ".mkv"), (".mkv", ".mp4"), (".mkv", ".mkv")])
def test_through_encode_remux_and_decode(tmp_path, weights, first, second):
    third = ".mp4" if second == ".mkv" else ".mkv"
    src = make_film(tmp_path / f"src{first}", COUNT, cover=True)
    coded, other, full = tmp_path / f"coded{second}", tmp_path / f"other{third}", tmp_path / f"full{first}"
    codec.encode(src, coded, **FAST)
    codec.remux(coded, other)
    codec.decode(other, full)
    sound = packets_of(src, "audio")
    for path in (coded, other, full):
        found = packets_of(path, "audio")
        assert [data for _, data in found] == [data for _, data in sound]
        assert all(abs(a - b) <= 1 for (a, _), (b, _) in zip(found, sound, strict=True))
        assert [time for time, _ in packets_of(path, "subtitle")] == [100, 400]
        tracks, chapters, title = described(path)
        text = "mov_text" if path.suffix == ".mp4" else "subrip"
        assert {("audio", "aac", "deu"), ("subtitle", text, "eng")} <= tracks and len(tracks) == 3
        assert any(kind == "video" and name == "mjpeg" for kind, name, _ in tracks)
        assert chapters == [(0, 480, "one"), (480, 960, "two")] and title == "A film"
    with codec.open(coded) as video:
        assert len(list(video)) == COUNT


def test_subtitles_as_text(tmp_path, weights):
    src = make_film(tmp_path / "src.mkv", COUNT, subtitles="ass")
    codec.encode(src, tmp_path / "a.mp4", **FAST)
    codec.remux(tmp_path / "a.mp4", tmp_path / "a.mkv")
    assert [data for _, data in packets_of(tmp_path / "a.mkv", "subtitle")] == [b"Hello", b"two <i>lines</i>\nhere"]
    codec.encode(src, tmp_path / "b.mkv", **FAST)
    assert packets_of(tmp_path / "b.mkv", "subtitle") == packets_of(src, "subtitle")


def test_a_part_of_a_film_has_that_part_of_the_sound(tmp_path, weights):
    src = make_film(tmp_path / "src.mkv", COUNT)
    codec.encode(src, tmp_path / "a.mkv", frames=10, **FAST)
    times = [time for time, _ in packets_of(tmp_path / "a.mkv", "audio")]
    assert times[0] <= 0 and 350 < times[-1] < 400
    assert described(tmp_path / "a.mkv")[1] == [(0, 400, "one")]


def test_what_is_left_out_is_said_once(tmp_path, weights, caplog):
    src = make_film(tmp_path / "src.mp4", 3)
    with caplog.at_level(logging.WARNING):
        codec.encode(src, tmp_path / "a.ncm", **FAST)
    assert [record.getMessage() for record in caplog.records] == [
        f"{src}: sound (aac), subtitles (mov_text), chapters, title left out: {tmp_path / 'a.ncm'} holds pictures only"
    ]
    caplog.clear()
    codec.encode(src, tmp_path / "a.mp4", **FAST)
    codec.remux(tmp_path / "a.mp4", tmp_path / "b.mkv")
    assert not caplog.records
    codec.decode(tmp_path / "a.mp4", tmp_path / "a.y4m")
    assert len(caplog.records) == 1 and "chapters, title left out" in caplog.text
    assert "a.y4m holds pictures only" in caplog.text


@pytest.mark.parametrize("name", ["no/a.y4m", "no/a.ncm", "a.webm", "folder.y4m"])
def test_a_refusal_is_one_line_alone(tmp_path, weights, caplog, name):
    """What is left out is not said of an output that there will not be."""
    src, coded, out = make_film(tmp_path / "src.mkv", 3), tmp_path / "a.mkv", tmp_path / name
    (tmp_path / "folder.y4m").mkdir()
    codec.encode(src, coded, **FAST)
    for refused in (
        lambda: codec.encode(src, out, **FAST),
        lambda: codec.encode(src, tmp_path / "b.ncm", recon=out, **FAST),
        lambda: codec.decode(coded, out),
        lambda: codec.remux(coded, out),
    ):
        with pytest.raises(codec.OutputError):
            refused()
    assert not caplog.records and {path.name for path in tmp_path.iterdir()} == {"src.mkv", "a.mkv", "folder.y4m"}


def test_a_pipe_says_that_its_sound_is_left_out(tmp_path, weights):
    src = make_film(tmp_path / "src.mkv", 3)
    words = [
        "encode",
        "-",
        "-o",
        tmp_path / "a.mkv",
        "--mode",
        "bitfree",
        "--model",
        "tiny",
        "--anchor-preset",
        "ultrafast",
    ]
    done = command(*words, stdin=src.read_bytes())
    assert done.returncode == 0 and done.stderr.count(b"\n") == 1, done.stderr
    assert done.stderr.startswith(b"codec: standard input: sound (aac), subtitles (") and b"give a file" in done.stderr


def feed(path, pipe):
    """Have a process write a file into a named pipe, once."""
    os.mkfifo(pipe)
    with path.open("rb") as file:
        return subprocess.Popen(["tee", pipe], stdin=file, stdout=subprocess.DEVNULL)


def test_a_named_pipe_is_read_once(tmp_path, weights, caplog):
    """As a shell's <(command) gives one; to open it again would wait for ever."""
    src, pipe = make_film(tmp_path / "src.mkv", 3), tmp_path / "pipe.mkv"
    with feed(src, pipe):
        codec.encode(pipe, tmp_path / "a.mkv", **FAST)
    there = "sound (aac), subtitles (srt), chapters, title"
    assert f"{pipe}: {there} left out: give a file instead of a pipe" in caplog.text
    assert "damaged" not in caplog.text
    with pytest.raises(codec.InputError, match="coding the video several times; give a file"):
        codec.encode(pipe, tmp_path / "b.mkv", bitrate=10_000, **FAST)
    pipe.unlink()
    with feed(src, pipe), pytest.raises(codec.InputError, match="give files instead of pipes"):
        codec.encode(pipe, tmp_path / "b.mkv", resume=True, **FAST)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_on_a_pipe_says_that_its_sound_is_left_out(tmp_path, weights, caplog, suffix):
    film, pipe = tmp_path / f"a{suffix}", tmp_path / "pipe"
    codec.encode(make_film(tmp_path / "src.mkv", 3), film, **FAST)
    for step, name in ((codec.decode, "b.mkv"), (codec.remux, "c.mkv")):
        caplog.clear()
        with feed(film, pipe):
            step(pipe, tmp_path / name)
        assert f"{pipe}: sound (aac), subtitles (" in caplog.text and "give a file instead of a pipe" in caplog.text
        pipe.unlink()
    with codec.open(tmp_path / "c.mkv") as video:
        assert len(video) == 3


def test_what_a_pipe_cannot_take_is_refused(tmp_path, weights):
    src = make_film(tmp_path / "src.mp4", 3)
    codec.encode(src, tmp_path / "a.mp4", **FAST)
    os.mkfifo(tmp_path / "b.mp4")
    for step in codec.decode, codec.remux:
        with pytest.raises(codec.OutputError, match=r"a pipe cannot take \.mp4; write to \.mkv"):
            step(tmp_path / "a.mp4", tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("src", "anchor", "expected"),
    [
        ("film.mp4", "x264", "film.ncm.mp4"),
        ("film.mkv", "svtav1", "film.ncm.mkv"),
        ("film.mkv", "tcm", "film.ncm"),
        ("seq.y4m", "x265", "seq.ncm"),
    ],
)
def test_a_film_in_is_a_film_out(tmp_path, weights, src, anchor, expected):
    path = tmp_path / src
    write(path, moving(3)) if path.suffix == ".y4m" else make_film(path, 3)
    preset = {"svtav1": "12", "tcm": "lite"}.get(anchor, "ultrafast")
    codec.encode(path, **FAST | {"anchor": anchor, "anchor_preset": preset})
    assert {entry.name for entry in tmp_path.iterdir()} == {src, expected}
    codec.decode(tmp_path / expected)
    decoded = {entry.name for entry in tmp_path.iterdir()} - {src, expected}
    assert decoded == (
        {expected[:-4] + ".dec.mkv"} if src != "seq.y4m" and anchor != "tcm" else {expected[:-4] + ".dec.yuv"}
    )


def test_a_film_of_ours_is_not_coded_again_by_mistake(tmp_path, weights):
    src = make_film(tmp_path / "src.mp4", 3)
    codec.encode(src, tmp_path / "a.mp4", **FAST)
    with pytest.raises(codec.InputError, match=r"a\.mp4: is coded already; decode it first"):
        codec.encode(tmp_path / "a.mp4", tmp_path / "b.mp4", **FAST)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ncm"])
def test_nor_if_it_comes_by_standard_input_or_goes_into_an_application(tmp_path, weights, monkeypatch, name):
    codec.encode(make_film(tmp_path / "src.mp4", 3), tmp_path / name, **FAST)
    with (tmp_path / name).open("rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": file})())
        with pytest.raises(codec.InputError, match="standard input: is coded already; decode it first"):
            codec.encode("-", tmp_path / "b.mkv", **FAST)
    for application in ("slowmo", "blur", "dejitter"):
        assert main([application, str(tmp_path / name), "-o", str(tmp_path / "b.y4m")]) == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {"src.mp4", name}


def test_without_a_stream_there_is_nothing_beside_it(tmp_path, weights, monkeypatch):
    def replace(path, target, own=Path.replace):
        if str(target).endswith(".ncm"):
            raise OSError(28, "No space left on device")
        return own(path, target)

    src = make_film(tmp_path / "src.mp4", 3)
    (tmp_path / "a.csv").write_text("before")
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(codec.CodecError):
        codec.encode(src, tmp_path / "a.ncm", csv=tmp_path / "a.csv", recon=tmp_path / "a.mkv", **FAST)
    assert (tmp_path / "a.csv").read_text() == "before"
    assert {entry.name for entry in tmp_path.iterdir()} == {"src.mp4", "a.csv"}


def test_a_quality_that_an_encoder_does_not_have_is_refused(tmp_path, weights):
    codec.encode(make_film(tmp_path / "src.mp4", 3), tmp_path / "a.ncm", **FAST)
    for encoder, crf, message in (("ffv1", 10, "ffv1 has no --crf"), ("libx264", 60, "crf is 60; it must be 0 to 51")):
        with pytest.raises(codec.InputError, match=message):
            codec.decode(tmp_path / "a.ncm", tmp_path / "b.mkv", video_codec=encoder, crf=crf)


def test_other_encoders_for_the_result(tmp_path, weights):
    src = make_film(tmp_path / "src.mp4", 6)
    codec.encode(src, tmp_path / "a.mkv", **FAST)
    for crf in (20, 40):
        codec.decode(tmp_path / "a.mkv", tmp_path / f"{crf}.mp4", video_codec="libx264", crf=crf)
    sizes = [sum(len(data) for _, data in packets_of(tmp_path / f"{crf}.mp4", "video")) for crf in (20, 40)]
    assert sizes[0] > sizes[1]
    with av.open(str(tmp_path / "40.mp4")) as film:
        assert film.streams.video[0].codec_context.name == "h264" and film.streams.audio


# What is changed in a film's bytes, and what is then said of it; mp4's 13 is JPEG, 27 is BMP.
STRANGE = {
    "sound, mkv": (".mkv", b"A_AAC", b"A_XYZ", "sound left out"),
    "subtitles, mkv": (".mkv", b"S_TEXT/UTF8", b"S_TEXT/XXXX", "subtitles left out"),
    "cover": (".mp4", b"data\x00\x00\x00\x0d", b"data\x00\x00\x00\x1b", "cover art (bmp) left out"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_tracks_that_nobody_knows_are_left_out_and_said(case, tmp_path, weights, caplog):
    suffix, known, unknown, expected = STRANGE[case]
    src = make_film(tmp_path / f"src{suffix}", 3, cover=True)
    data = src.read_bytes()
    assert known in data
    src.write_bytes(data.replace(known, unknown))
    with caplog.at_level(logging.WARNING):
        codec.encode(src, tmp_path / "a.mkv", **FAST)
    assert len(described(tmp_path / "a.mkv")[0]) == 2 and expected in caplog.text


def with_a_font(path):
    with av.open(str(make_film(path.with_name("plain.mkv"), 3))) as film, av.open(str(path), "w") as made:
        copies = {stream.index: made.add_stream_from_template(stream) for stream in film.streams}
        made.add_attachment("a.ttf", "application/x-truetype-font", b"a font")
        copy(film, made, copies)


def with_a_time_code(path):
    with av.open(str(make_film(path.with_name("plain.mp4"), 3))) as film, av.open(str(path), "w") as made:
        made.metadata["timecode"] = "01:00:00:00"
        copy(film, made, {0: made.add_stream_from_template(film.streams.video[0])})


def without_the_start_of_its_sound(path):
    with av.open(str(make_film(path.with_name("plain.mp4"), 3))) as film, av.open(str(path), "w") as made:
        copies = {stream.index: made.add_stream_from_template(stream) for stream in film.streams if stream.index < 2}
        copy(film, made, copies, kinds=("video",))


def with_opus(path):
    with av.open(str(path), "w") as film:
        video, sound = film.add_stream("libx264", rate=25), film.add_stream("libopus", rate=48_000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound.codec_context.layout = "mono"
        for packet in pictures(video, moving(3)) + tone(sound, 3, "mono"):
            film.mux(packet)


def copy(film, made, copies, kinds=("video", "audio", "subtitle")):
    for packet in film.demux(*(stream for stream in film.streams if stream.index in copies)):
        if packet.dts is not None and packet.stream.type in kinds:
            packet.stream = copies[packet.stream.index]
            made.mux(packet)


REFUSED = {  # how a film is made, its suffix, that of the film which its muxer would not begin, and what is said
    "a font": (with_a_font, ".mkv", ".mp4", "attachment left out"),
    "a time code": (with_a_time_code, ".mov", ".mkv", "data track left out"),
    "sound of unknown rate": (without_the_start_of_its_sound, ".ts", ".mp4", "sound (aac) left out"),
    "Opus": (with_opus, ".mkv", ".mov", "sound (opus) left out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tracks_that_a_container_cannot_hold_are_left_out_and_said(case, tmp_path, weights, caplog):
    make, first, second, expected = REFUSED[case]
    src = tmp_path / f"src{first}"
    make(src)
    with caplog.at_level(logging.WARNING):
        codec.encode(src, tmp_path / f"a{second}", **FAST)
    assert expected in caplog.text and "damaged" not in caplog.text
    with codec.open(tmp_path / f"a{second}") as video:
        assert len(list(video)) == 3


def test_sound_whose_clock_is_set_anew_is_kept(tmp_path, weights, caplog):
    """As in two recordings, one put after the other."""
    once, src = tmp_path / "once.ts", tmp_path / "src.ts"
    with av.open(str(make_film(tmp_path / "a.mp4", 4))) as film, av.open(str(once), "w") as made:
        copies = {s.index: made.add_stream_from_template(s) for s in (film.streams.video[0], film.streams.audio[0])}
        for packet in film.demux(film.streams.video[0], film.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                made.mux(packet)
    src.write_bytes(2 * once.read_bytes())
    with caplog.at_level(logging.WARNING):
        codec.encode(src, tmp_path / "b.mkv", **FAST)
    assert "damaged" not in caplog.text and "its clock is set anew at 0.192 s" in caplog.text
    assert len(packets_of(tmp_path / "b.mkv", "audio")) == 2 * len(packets_of(once, "audio"))


def test_sound_ends_with_the_last_frame_where_the_rate_varies(tmp_path, weights):
    src = tmp_path / "src.mkv"
    with av.open(str(src), "w") as film:
        stream, sound = film.add_stream("libx264", rate=25, options={"bf": "0"}), film.add_stream("aac", rate=48_000)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound.codec_context.layout = "mono"
        film.start_encoding()
        shown = pictures(stream, moving(8, 64, 48))
        for packet in shown:
            late = max(0, packet.pts * packet.time_base - 0.15) * 3  # from 25 to 6.25 frames a second
            packet.pts = packet.dts = packet.pts + round(late / packet.time_base)
        for packet in sorted(shown + tone(sound, 30, "mono"), key=lambda packet: packet.dts * packet.time_base):
            film.mux(packet)
    codec.encode(src, tmp_path / "a.mkv", frames=7, **FAST)
    with codec.open(tmp_path / "a.mkv") as video:
        last = [frame.pts for frame in video][-1] * video.info.time_base
    end = packets_of(tmp_path / "a.mkv", "audio")[-1][0] / 1000
    assert last - 0.03 < end < last + 0.3


def test_a_subtitle_that_is_shown_when_a_part_begins_is_in_it(tmp_path, weights):
    src = make_film(tmp_path / "src.mkv", COUNT)  # subtitles at 0.1 to 0.3 s and 0.4 to 0.8 s
    codec.encode(src, tmp_path / "a.mkv", **FAST)
    codec.decode(tmp_path / "a.mkv", tmp_path / "part.mkv", start="0.52")
    ((time, data),) = packets_of(tmp_path / "part.mkv", "subtitle")
    assert time == 0 and b"two" in data


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_pictures_are_the_track_to_be_shown(tmp_path, weights, suffix):
    coded, full = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    codec.encode(make_film(tmp_path / "src.mkv", 3), coded, **FAST)
    codec.decode(coded, full)
    for path in (coded, full):
        with av.open(path) as film:
            assert film.streams.video[0].disposition & av.stream.Disposition.default


def test_cover_art_keeps_its_name(tmp_path, weights):
    plain = make_film(tmp_path / "plain.mkv", 3, cover=True)
    src = tmp_path / "src.mkv"
    src.write_bytes(plain.read_bytes().replace(b"cover.jpg", b"poster.jp"))
    codec.encode(src, tmp_path / "a.mkv", **FAST)
    with av.open(tmp_path / "a.mkv") as film:
        assert [track.metadata["filename"] for track in film.streams if "filename" in track.metadata] == ["poster.jp"]
