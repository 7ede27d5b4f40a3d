"""A video of a low frame rate made smooth: what is shown when, and live from a pipe."""

import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from helpers import moving, read, write

import ncm
from codec.apps.dejitter import dejitter, extrapolated, interpolated
from codec.cli import main
from codec.models.network_file import save_network
from codec.video.picture import VideoInfo
from codec.video.raw import frame_bytes, y4m_header
from codec.video.reader import open_source


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = ncm.build(replace(ncm.load("tiny").config, task="extrapolation"))
    save_network(network, tmp_path / "ahead.safetensors")


TRY = ["--model", "tiny", "--foresee", "ahead.safetensors"]


class Told:
    """Stands for a network: tells what it was asked."""

    def __init__(self, pictures):
        self.names = {id(picture): f"{4 * number + 1}" for number, picture in enumerate(pictures)}
        self.made = []

    def name(self, picture):
        return self.names[id(picture)]

    def new(self, like, name):
        picture = replace(like)
        self.made.append(picture)
        self.names[id(picture)] = name
        return picture

    def between(self, a, b, time):
        return self.new(a, f"({self.name(a)} {self.name(b)} {time:g})")

    def ahead(self, a, b, _):
        return self.new(a, f"[{self.name(a)} {self.name(b)}]")


def test_interpolation():
    pictures = moving(2)
    told = Told(pictures)
    names = [told.name(p) for p in interpolated(pictures, 4, told.between)]
    assert names == ["1", "(1 5 0.25)", "(1 5 0.5)", "(1 5 0.75)", "5", "5", "5", "5"]


def test_extrapolation_shows_the_fifth_between_the_fourth_and_the_sixth():
    pictures = moving(3)
    told = Told(pictures)
    names = [told.name(p) for p in extrapolated(pictures, 4, told.between, told.ahead)]
    sixth, eighth = "(5 [1 5] 0.25)", "(5 [1 5] 0.75)"
    assert names[:8] == ["1"] * 4 + [f"(1 {sixth} 0.5)", sixth, "(5 [1 5] 0.5)", eighth]
    assert names[8] == f"({eighth} (9 [5 9] 0.25) 0.5)"
    plain = [told.name(p) for p in extrapolated(pictures, 4, told.between, told.ahead, smooth=False)]
    assert plain[4] == "5" and plain[8] == "9"


def test_cuts_and_stills_are_repeated():
    (a, b), (c, _) = moving(2), moving(2, seed=5)
    told = Told([a, b])
    told.names[id(c)] = "c"
    for seen in (
        interpolated([a, a, b, c], 3, told.between),
        extrapolated([a, a, b, c], 3, told.between, told.ahead, smooth=False),
    ):
        names = [told.name(p) for p in seen]
        assert names[:3] == ["1"] * 3 and names[9:] == ["c"] * 3
        assert not any("c" in name for name in names[:9])


def test_each_is_made_when_it_can_be():
    """Nothing waits for more than it needs."""
    taken = []

    def live():
        for number, picture in enumerate(moving(4)):
            taken.append(number)
            yield picture

    told = Told([])
    told.name = lambda _: ""
    seen = extrapolated(live(), 4, told.between, told.ahead)
    assert [len(taken) for _ in seen] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    taken.clear()
    seen = interpolated(live(), 4, told.between)
    assert [len(taken) for _ in seen] == [1] + [2] * 4 + [3] * 4 + [4] * 7


@pytest.mark.parametrize(("scheme", "delay"), [("interpolation", Fraction(3, 100)), ("extrapolation", Fraction(0))])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_command(tmp_path, capsys, scheme, delay, bit_depth):
    write(tmp_path / "in.y4m", moving(3, bit_depth=bit_depth))
    assert main(["dejitter", "in.y4m", "-o", "out.mkv", "--scheme", scheme, *TRY]) == 0
    with open_source(tmp_path / "out.mkv") as source:
        assert source.info.frame_rate == 100 and len(list(source)) == 12
    assert f"shown {1000 * float(delay):.0f} ms after" in capsys.readouterr().out
    assert dejitter("in.y4m", "o.y4m", scheme=scheme, model="tiny", foresee="ahead.safetensors") == (12, delay)
    assert len(read(tmp_path / "o.y4m")) == 12


@pytest.mark.parametrize(("scheme", "shown"), [("interpolation", [1, 4, 4, 4]), ("extrapolation", [4, 4, 4, 4])])
def test_live(tmp_path, scheme, shown):
    """Fed by the clock through a pipe: all that a received picture allows comes before the next one is sent."""
    info = VideoInfo(64, 48, Fraction(5), Fraction(1, 5))
    words = [sys.executable, "-m", "codec", "dejitter", "-", "-o", "-", "--scheme", scheme, *TRY]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(y4m_header(info))
    size, late = frame_bytes(info) + len(b"FRAME\n"), []
    for picture, count in zip(moving(4), shown, strict=True):
        sent = time.monotonic()
        process.stdin.write(b"FRAME\n" + picture.tobytes())
        process.stdin.flush()
        if picture is not None and not late:
            assert process.stdout.readline().startswith(b"YUV4MPEG2 W64 H48 F20:1")
        for _ in range(count):
            assert len(process.stdout.read(size)) == size
        late.append(time.monotonic() - sent)
        time.sleep(max(0, sent + float(1 / info.frame_rate) - time.monotonic()))
    process.stdin.close()
    assert len(process.stdout.read()) == (16 - sum(shown)) * size
    assert process.wait() == 0 and b"pictures, each shown" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert min(late[1:]) < 5  # seconds, the best of three on a busy machine: nothing waits for what is not sent yet


BAD = {
    "scheme's model": (["--scheme", "extrapolation", "--foresee", "tiny"], "--foresee tiny: "),
    "factor": (["--factor", "1"], "--factor 1"),
    "huge factor": (["--factor", str(10**17)], f"--factor {10**17}"),
    "model of another task": (["--model", "ahead.safetensors"], "extrapolation"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, tmp_path, capfd):
    words, expected = BAD[case]
    write(tmp_path / "in.y4m", moving(3))
    before = set(tmp_path.rglob("*"))
    assert main(["dejitter", "in.y4m", "-o", "out.mkv", *TRY, *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("codec: ") and err.count("\n") == 1 and expected in err
    assert set(tmp_path.rglob("*")) == before
