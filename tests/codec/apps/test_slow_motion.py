"""Slow motion and other frame rates: which pictures are shown when, cuts, repetitions, sound."""

from fractions import Fraction
from itertools import count, islice, pairwise

import av
import numpy as np
import pytest
from films import make_film
from helpers import moving, read, write

from codec.apps.beside import tempos
from codec.apps.slow_motion import slow_motion
from codec.apps.timeline import is_repetition, moments, spans
from codec.cli import main
from codec.errors import InputError
from codec.video.picture import Frame, VideoInfo
from codec.video.reader import open_source

RATE = Fraction(25)
INFO = VideoInfo(64, 48, RATE, 1 / RATE)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.chdir(tmp_path)


def frames(*pictures):
    return [Frame(number, picture) for number, picture in enumerate(pictures)]


def shape(video):
    """Start and end in frames, and whether something moves."""
    return [(float(s.start * RATE), float(s.end * RATE), s.future is not None) for s in spans(video, INFO)]


def test_spans():
    a, b, c = moving(3)
    assert shape(frames(a, b, c)) == [(0, 1, True), (1, 2, True), (2, 3, False)]
    assert shape([]) == [] and shape(frames(a)) == [(0, 1, False)]


def test_motion_goes_on_through_a_repetition_but_not_through_a_still():
    a, b = moving(2)
    assert shape(frames(a, a, b)) == [(0, 2, True), (2, 3, False)]
    assert shape(frames(*[a] * 7, b)) == [(0, 6, False), (6, 7, True), (7, 8, False)]
    assert shape([Frame(0, a), Frame(30, b)]) == [(0, 29, False), (29, 30, True), (30, 31, False)]


def test_a_cut_is_held():
    a, b = moving(2)
    c, d = moving(2, seed=5)
    assert shape(frames(a, b, c, d)) == [(0, 1, True), (1, 2, False), (2, 3, True), (3, 4, False)]


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_noise_is_no_motion(bit_depth):
    a, b = moving(2, bit_depth=bit_depth)
    noise = np.random.default_rng(0).integers(-1, 2, a.y.shape) * (1 << (bit_depth - 8))
    noisy = type(a)((a.y.astype(int) + noise).clip(0, (1 << bit_depth) - 1).astype(a.y.dtype), a.u, a.v, bit_depth)
    assert is_repetition(a, noisy) and not is_repetition(a, b)


def test_one_moving_block_is_motion():
    (a,) = moving(1)
    y = a.y.copy()
    y[8:16, 8:16] += 10
    assert not is_repetition(a, type(a)(y, a.u, a.v))


def test_moments_cover_the_video_and_no_more():
    video = frames(*moving(5))
    for rate in (RATE, RATE * Fraction(7, 3), Fraction(10), Fraction(24000, 1001)):
        seen = list(moments(spans(video, INFO), (n / rate for n in count())))
        assert len(seen) == -(-5 * rate // RATE)
        assert all(0 <= m.time < 1 for m in seen)
        times = [m.span.start + Fraction(m.time) * (m.span.end - m.span.start) for m in seen]
        assert all(float(b - a) == pytest.approx(float(1 / rate)) for a, b in pairwise(times))


def test_source_pictures_stay(tmp_path):
    pictures = moving(4)
    write(tmp_path / "in.y4m", pictures)
    assert main(["slowmo", "in.y4m", "-o", "out.y4m", "--factor", "3", "--model", "tiny"]) == 0
    made = [frame.picture for frame in read(tmp_path / "out.y4m")]
    assert len(made) == 12 and made[::3] == pictures
    assert made[9:] == [pictures[3]] * 3  # nothing is known of what comes after the last one
    assert made[1] != pictures[0]


@pytest.mark.parametrize(
    ("options", "count", "rate"),
    [
        (["--factor", "5/2"], 10, RATE),
        (["--factor", "0.5"], 2, RATE),
        (["--fps", "60"], 10, Fraction(60)),
        (["--fps", "24000/1001"], 4, Fraction(24000, 1001)),
        (["--factor", "2", "--fps", "50"], 16, Fraction(50)),
    ],
)
def test_counts_and_rates(tmp_path, options, count, rate):
    write(tmp_path / "in.y4m", moving(4))
    assert main(["slowmo", "in.y4m", "-o", "out.mkv", "--model", "tiny", *options]) == 0
    with open_source("out.mkv") as source:
        assert source.info.frame_rate == rate and len(list(source)) == count


def test_ten_bit_odd_sizes(tmp_path):
    pictures = moving(3, 63, 47, bit_depth=10)
    write(tmp_path / "in.y4m", pictures)
    words = ["slowmo", "in.y4m", "--factor", "2", "--model", "tiny", "-o"]
    assert main([*words, "out.mkv", "--video-codec", "ffv1"]) == 0
    assert [frame.picture for frame in read(tmp_path / "out.mkv")][::2] == pictures
    assert main([*words, "out.mp4"]) == 2


def test_no_ghost_across_a_cut(tmp_path):
    write(tmp_path / "in.y4m", [*moving(2), *moving(2, seed=5)])
    assert main(["slowmo", "in.y4m", "-o", "out.y4m", "--factor", "4", "--model", "tiny"]) == 0
    made = [frame.picture for frame in read(tmp_path / "out.y4m")]
    assert made[4:8] == [made[4]] * 4


def test_memory_is_bounded(tmp_path, tiny_weights):
    """A frame is made as soon as the next source frame is there."""
    taken = []

    def endless():
        for number in count():
            taken.append(number)
            yield Frame(number, moving(1, seed=0, step=0)[0] if number % 2 else moving(3)[2])

    made = moments(spans(endless(), INFO), (n / RATE / 2 for n in count()))
    assert len(list(islice(made, 20))) == 20 and len(taken) < 13


def with_sound(path, pictures, seconds):
    """A video with a tone of 440 Hz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(
                np.concatenate([p.ravel() for p in picture.planes]).reshape(72, 64), "yuv420p"
            )
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = np.sin(2 * np.pi * 440 * np.arange(48000 * seconds) / 48000).astype(np.float32)[None] / 2
        frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def sound_of(path):
    """Seconds of the sound of a file, and its strongest frequency."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        rate = container.streams.audio[0].rate
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    return len(samples) / rate, float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("choice", "seconds"), [("stretch", 8), ("keep", 2), ("drop", None)])
def test_sound(tmp_path, choice, seconds, suffix):
    with_sound(tmp_path / "in.mp4", moving(4), 2)
    words = ["slowmo", "in.mp4", "-o", f"out{suffix}", "--factor", "4", "--sound", choice, "--model", "tiny"]
    assert main(words) == 0
    found = sound_of(tmp_path / f"out{suffix}")
    assert found is None if seconds is None else found == (pytest.approx(seconds, abs=0.15), pytest.approx(440, abs=2))
    assert len(read(tmp_path / f"out{suffix}")) == 16
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("tempo", [Fraction(1, 10), Fraction(1, 2), Fraction(3, 2), Fraction(250), Fraction(4, 10)])
def test_tempos(tempo):
    parts = tempos(tempo)
    assert all(Fraction(1, 2) <= part <= 100 for part in parts) and np.prod(parts) == tempo


BAD = {
    "nothing to do": (["in.y4m", "-o", "out.mp4"], "--factor"),
    "missing": (["no.mp4", "--factor", "2", "-o", "out.mp4"], "no.mp4"),
    "same file": (["in.y4m", "--factor", "2", "-o", "in.y4m"], "same file"),
    "suffix": (["in.y4m", "--factor", "2", "-o", "out.gif"], ".gif"),
    "crf of raw video": (["in.y4m", "--factor", "2", "-o", "out.y4m", "--crf", "3"], "--crf"),
    "crf of ffv1": (["in.y4m", "--factor", "2", "-o", "out.mkv", "--crf", "3", "--video-codec", "ffv1"], "--crf"),
    "encoder": (["in.y4m", "--factor", "2", "-o", "out.mkv", "--video-codec", "warp"], "warp"),
    "huge factor": (["in.y4m", "--factor", "1001", "-o", "out.mkv"], "1001"),
    "model": (["in.y4m", "--factor", "2", "-o", "out.mkv", "--model", "huge"], "huge"),
    "folder": (["in.y4m", "--factor", "2", "-o", "no/out.mkv"], "no/out.mkv"),
    "folder, with sound": (["sound.mp4", "--factor", "2", "-o", "no/out.mp4"], "no/out.mp4"),
    "crf": (["in.y4m", "--factor", "2", "-o", "out.mp4", "--crf", "52"], "52"),
    "damaged in the middle": (["cut.y4m", "--factor", "2", "-o", "out.mp4"], "cut off"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, tmp_path, capfd):
    words, expected = BAD[case]
    path = write(tmp_path / "in.y4m", moving(3))
    with_sound(tmp_path / "sound.mp4", moving(3), 1)
    (tmp_path / "cut.y4m").write_bytes(path.read_bytes()[:-99])
    before = set(tmp_path.rglob("*"))
    assert main(["slowmo", *words, *([] if "--model" in words else ["--model", "tiny"])]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("codec: ") and err.count("\n") == 1 and expected in err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("factor", ["0", "-1", "x", "1/0", "1e999999999", "9" * 5000])
def test_factors_that_are_none(factor, capsys):
    with pytest.raises(SystemExit):
        main(["slowmo", "in.y4m", "-o", "out.mp4", f"--factor={factor}"])
    assert "factor" in capsys.readouterr().err


def test_from_python_with_progress(tmp_path):
    write(tmp_path / "in.y4m", moving(3))
    seen = []
    made = slow_motion(
        "in.y4m", "out.y4m", factor=Fraction(2), model="tiny", progress=lambda done, total: seen.append((done, total))
    )
    for factor in ("2", 10**5000):
        with pytest.raises(InputError, match="factor"):
            slow_motion("in.y4m", "other.y4m", factor=factor, model="tiny")
    assert made == 6 and seen == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("sound", ["stretch", "keep"])
def test_sound_of_a_codec_that_nobody_knows(sound, tmp_path, caplog):
    path = make_film(tmp_path / "in.mkv", 3)
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    assert main(["slowmo", "in.mkv", "-o", "out.mp4", "--factor", "2", "--sound", sound, "--model", "tiny"]) == 0
    assert "sound, subtitles (srt) left out" in caplog.text
    with av.open("out.mp4") as made:
        assert not made.streams.audio
