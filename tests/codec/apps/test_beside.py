"""What of a film stays beside pictures that are made of it, what is said of the rest, and when sound is heard."""

from fractions import Fraction

import av
import numpy as np
import pytest
from films import make_film
from helpers import moving

from codec.cli import main
from codec.video.libav_writer import video_frame

RATE = 48_000
SMEARED = 0.06  # seconds by which stretching without another pitch moves a click, and ends early


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.chdir(tmp_path)


def slowed(*words, out="out.mkv", status=0):
    assert main(["slowmo", *words, "-o", out, "--factor", "2", "--model", "tiny"]) == status
    return out


def clicks(path, times, *, pictures_at=0.0, cover=False):
    """A film whose sound begins at 0, 1 s of silence with clicks, but for pauses, beside four pictures."""
    with av.open(str(path), "w") as film:
        video = film.add_stream("libx264", rate=25, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = film.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for number, picture in enumerate(moving(4)):
            frame = video_frame(picture, "yuv420p")
            frame.pts, frame.time_base = round(1000 * pictures_at) + 40 * number, Fraction(1, 1000)
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        for start in range(0, RATE, 1000):
            if any(begin <= start / RATE < end for begin, end in times.get("pauses", ())):
                continue
            samples = np.zeros((1, 1000), np.int16)
            for time in times["clicks"]:
                if 0 <= round(time * RATE) - start < 1000:
                    samples[0, round(time * RATE) - start :] = 20_000
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.pts, frame.rate, frame.time_base = start, RATE, Fraction(1, RATE)
            film.mux(sound.encode(frame))
    return path


def heard(path):
    """Seconds from the first picture to the first sample of each click."""
    with av.open(str(path)) as film:
        first = next(film.decode(video=0)).time
    with av.open(str(path)) as film:
        parts = [(frame.time, frame.to_ndarray().ravel().astype(float)) for frame in film.decode(audio=0)]
    peak = max(np.abs(samples).max() for _, samples in parts)
    loud = [time + n / RATE - first for time, part in parts for n in np.flatnonzero(np.abs(part) > peak / 3)]
    return [time for n, time in enumerate(loud) if not n or time - loud[n - 1] > 0.2]


@pytest.mark.parametrize("out", ["out.mkv", "out.mp4"])
def test_sound_that_begins_before_the_pictures_stays_in_step(out):
    clicks("in.mkv", {"clicks": [0.1, 0.7]}, pictures_at=0.5)
    assert heard(slowed("in.mkv", out=out)) == pytest.approx([-0.8, 0.4], abs=SMEARED)


@pytest.mark.parametrize("choice", ["stretch", "keep"])
def test_sound_that_pauses_stays_in_step(choice):
    clicks("in.mkv", {"clicks": [0.1, 0.7], "pauses": [(0.2, 0.6)]})
    factor = 2 if choice == "stretch" else 1
    assert heard(slowed("in.mkv", "--sound", choice)) == pytest.approx([0.1 * factor, 0.7 * factor], abs=SMEARED)


def test_chapters_titles_and_the_words_of_the_sound_stay(caplog):
    make_film("in.mkv", 10)
    with av.open(slowed("in.mkv")) as made:
        assert made.metadata["title"] == "A film" and made.streams.audio[0].metadata["language"] == "deu"
        times = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in made.chapters()]
        assert [c["metadata"]["title"] for c in made.chapters()] == ["one", "two"]
    assert times == [(0, Fraction(2, 5)), (Fraction(2, 5), Fraction(4, 5))]
    assert "in.mkv: subtitles (srt) left out: the output has pictures and one track of sound" in caplog.text
    slowed("in.mkv", "--sound", "drop")
    assert "sound (aac), subtitles (srt) left out: the output has pictures and no sound" in caplog.text


@pytest.mark.parametrize(
    "command", [["slowmo", "--factor", "2"], ["blur", "--samples", "2"], ["dejitter", "--factor", "2"]]
)
def test_what_raw_video_cannot_have_is_said(command, caplog):
    make_film("in.mkv", 3)
    assert main([*command, "in.mkv", "-o", "out.y4m", "--model", "tiny"]) == 0
    assert "sound (aac), subtitles (srt), chapters, title left out: the output has pictures only" in caplog.text


def test_the_default_track_of_sound_is_taken(caplog):
    make_film("one.mkv", 4)
    with av.open("one.mkv") as one, av.open("in.mkv", "w") as film:
        tracks = [one.streams.video[0], one.streams.audio[0]]
        copies = {0: [film.add_stream_from_template(tracks[0])], 1: []}
        for name, default in (("first", 0), ("second", av.stream.Disposition.default)):
            copy = film.add_stream_from_template(tracks[1])
            copy.metadata["title"], copy.disposition = name, default
            copies[1].append(copy)
        for packet in one.demux(tracks):
            data = bytes(packet)
            for copy in copies[tracks.index(packet.stream)] if data else ():
                same = av.Packet(data)
                same.pts, same.dts, same.time_base, same.stream = packet.pts, packet.dts, packet.time_base, copy
                same.is_keyframe = packet.is_keyframe
                film.mux(same)
    for choice in ("stretch", "keep"):
        with av.open(slowed("in.mkv", "--sound", choice)) as made:
            assert [track.metadata["title"] for track in made.streams.audio] == ["second"]
    assert "sound (aac) left out" in caplog.text


def test_what_is_converted_or_not_carried_is_said(caplog):
    with av.open("in.mkv", "w") as film:
        video = film.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv444p"
        for _ in range(2):
            film.mux(video.encode(av.VideoFrame(64, 48, "yuv444p")))
        film.mux(video.encode(None))
    slowed("in.mkv")
    assert "yuv444p is converted to 8-bit 4:2:0" in caplog.text


def test_a_damaged_film_is_used_as_far_as_it_goes_with_status_1(tmp_path, capsys):
    whole = make_film("whole.mkv", 24).read_bytes()
    (tmp_path / "in.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    with av.open(slowed("in.mkv", status=1)) as made:
        assert made.streams.video
    assert "is cut short" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["48000", "10000", "192000"])
def test_sound_that_names_no_channels_or_has_a_rate_that_aac_has_not(rate):
    with av.open("in.mkv", "w") as film:
        video = film.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = film.add_stream("pcm_s16le", rate=int(rate), layout="mono")
        film.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        film.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, int(rate) // 5), np.int16), "s16", "mono")
        frame.rate = int(rate)
        film.mux(sound.encode(frame))
    with av.open(slowed("in.mkv")) as made:
        seconds = sum(frame.samples / frame.rate for frame in made.decode(audio=0))
    assert seconds == pytest.approx(0.4, abs=SMEARED)


def test_an_error_names_the_output_and_not_a_file_on_the_way_to_it(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    make_film("in.mkv", 3)
    monkeypatch.setattr("codec.video.libav_writer.ContainerWriter.write", full)
    slowed("in.mkv", status=2)
    assert "codec: out.mkv: cannot be written (No space left" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "codec_name"), [("in.ts", "mp2"), ("in.ts", "aac"), ("in.mkv", "libopus")])
def test_sound_of_any_codec_is_stretched(tmp_path, name, codec_name):
    with av.open(name, "w") as film:
        video = film.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = film.add_stream(codec_name, rate=RATE, layout="mono")
        for picture in moving(4):
            film.mux(video.encode(video_frame(picture, "yuv420p")))
        film.mux(video.encode(None))
        resampler = av.AudioResampler(sound.format, "mono", RATE, sound.frame_size or 1024)
        tone = (np.sin(np.arange(RATE) / 20) * 10_000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
        frame.rate = RATE
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            film.mux(sound.encode(part))
    with av.open(slowed(name)) as film:
        assert sum(frame.samples for frame in film.decode(audio=0)) / RATE == pytest.approx(2, abs=0.1)
