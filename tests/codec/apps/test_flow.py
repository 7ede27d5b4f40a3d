"""The sheet of flows, mask, warped pictures and prediction."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import ncm
from codec.apps.motion_pictures import GAP, TITLE, panels
from codec.apps.picture_files import read_picture
from codec.cli import main
from codec.models.network_file import save_network


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (37, 53, 3), np.uint8)).save(name)


def test_a_sheet():
    assert main(["flow", "a.png", "b.png", "-o", "flow.png", "--time", "0.25", "--model", "tiny"]) == 0
    made = read_picture("flow.png")
    assert made.shape == (2 * (37 + TITLE + GAP) - GAP, 3 * (53 + GAP) - GAP, 3)
    a, b = read_picture("a.png"), read_picture("b.png")
    prediction = made[37 + TITLE + GAP + TITLE :, 53 + GAP : 2 * 53 + GAP]
    assert np.array_equal(prediction, ncm.interpolate(a, b, 0.25, network=ncm.load("tiny")))


def test_panels_add_up():
    """Warped pictures and mask make the blend that the prediction starts from."""
    a, b = read_picture("a.png"), read_picture("b.png")
    by = {panel.title.split(",")[0]: panel.picture / 255 for panel in panels(ncm.load("tiny"), a, b, 0.5)}
    assert len(by) == 6 and all(picture.shape == a.shape for picture in by.values())
    mask = by["mask: white is past"]
    blend = mask * by["warped past"] + (1 - mask) * by["warped future"]
    assert np.abs(blend - by["prediction"]).mean() < 0.5


def test_extrapolation(tmp_path):
    torch.manual_seed(0)
    save_network(ncm.build(replace(ncm.load("tiny").config, task="extrapolation")), tmp_path / "ahead.safetensors")
    words = ["flow", "a.png", "b.png", "-o", "flow.jpg", "--extrapolate", "--model"]
    assert main([*words, "ahead.safetensors"]) == 0 and read_picture("flow.jpg").ndim == 3
    assert main([*words, "tiny"]) == 2


@pytest.mark.parametrize("words", [["--time", "1"], ["--time", "0.3", "--extrapolate"], ["--model", "nothing"]])
def test_bad_input(words, tmp_path, capfd):
    before = set(tmp_path.rglob("*"))
    assert main(["flow", "a.png", "b.png", "-o", "flow.png", *words]) == 2
    err = capfd.readouterr().err
    assert err.startswith("codec: ") and err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before
