"""Motion blur: where something moves, and only there; of videos and of two pictures."""

import numpy as np
import pytest
import torch
from helpers import moving, read, write
from PIL import Image

import ncm
from codec.apps.picture_files import read_picture, write_picture
from codec.cli import main
from codec.errors import OutputError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.chdir(tmp_path)


def blur(*words):
    return main(["blur", "--samples", "3", "--model", "tiny", *map(str, words)])


def test_video(tmp_path):
    pictures = [*moving(3), *moving(2, seed=5)]
    write(tmp_path / "in.y4m", pictures)
    assert blur("in.y4m", "-o", "out.y4m") == 0
    made = [frame.picture for frame in read(tmp_path / "out.y4m")]
    assert [a == b for a, b in zip(made, pictures, strict=True)] == [False, False, True, False, True]


def test_what_does_not_move_stays(tmp_path):
    still = moving(1)[0]
    write(tmp_path / "in.y4m", [still] * 3)
    assert blur("in.y4m", "-o", "out.y4m") == 0
    assert [frame.picture for frame in read(tmp_path / "out.y4m")] == [still] * 3


def pictures(tmp_path, *sizes):
    rng = np.random.default_rng(0)
    for name, size in zip(("a.png", "b.png"), sizes, strict=True):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / name)


def test_two_pictures(tmp_path, tiny_weights):
    pictures(tmp_path, (37, 53), (37, 53))
    assert blur("a.png", "b.png", "-o", "out.png", "--shutter", 360) == 0
    network = ncm.load(tiny_weights / "tiny.safetensors")
    a, b = (torch.from_numpy(read_picture(tmp_path / name)).movedim(-1, 0) for name in ("a.png", "b.png"))
    expected = ncm.motion_blur(a, b, samples=3, shutter=360, network=network)
    assert np.abs(read_picture(tmp_path / "out.png") - expected.movedim(0, -1).numpy().astype(int)).max() <= 1


BAD = {
    "shutter": (["in.y4m", "-o", "out.y4m", "--shutter", "361"], "361"),
    "samples": (["in.y4m", "-o", "out.y4m", "--samples", "1" + "0" * 15], "--samples"),
    "three": (["in.y4m", "a.png", "b.png", "-o", "out.png"], "two pictures"),
    "sizes": (["a.png", "b.png", "-o", "out.png"], "53x37"),
    "no picture": (["a.png", "in.y4m", "-o", "out.png"], "in.y4m"),
    "missing": (["a.png", "no.png", "-o", "out.png"], "no.png"),
    "EPS": (["a.png", "e.png", "-o", "out.png"], "e.png"),
    "suffix": (["a.png", "a.png", "-o", "out.mp4"], ".mp4"),
    "same": (["a.png", "b.png", "-o", "a.png"], "same file"),
    "folder": (["a.png", "a.png", "-o", "no/out.png"], "no/out.png"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, tmp_path, capfd):
    words, expected = BAD[case]
    write(tmp_path / "in.y4m", moving(2))
    pictures(tmp_path, (37, 53), (37, 54))
    Image.new("RGB", (53, 37)).save("e.png", "EPS")  # Pillow would have Ghostscript open it
    before = set(tmp_path.rglob("*"))
    assert blur(*words) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("codec: ") and err.count("\n") == 1 and expected in err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".webp", ".jpg"])
def test_a_picture_too_large_for_its_format(suffix, tmp_path):
    before = set(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="70000x2"):
        write_picture(tmp_path / f"a{suffix}", np.zeros((2, 70000, 3), np.uint8))
    assert set(tmp_path.rglob("*")) == before
