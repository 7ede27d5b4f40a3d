"""The next frame: a tiny network beside repetition and linear motion."""

from dataclasses import replace

import pytest
import torch
from helpers import moving, write

import codec
import ncm
from codec.models.network_file import save_network
from codec.video.picture import Colour
from eval.next_frame import Row, linear_motion, main
from eval.tables import read_rows


@pytest.fixture
def clip(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    torch.manual_seed(0)
    network = ncm.build(replace(ncm.load("tiny").config, task="extrapolation"))
    save_network(network, tmp_path / "ahead.safetensors")
    (tmp_path / "clips").mkdir()
    return write(tmp_path / "clips" / "a.y4m", moving(6, 64, 64))


def test_a_run_and_its_table(tmp_path, clip, capsys):
    words = ["run", "--root", clip.parent, "--models", tmp_path / "ahead.safetensors", "--motion", "tiny"]
    words = [str(word) for word in (*words, "--triplets", 2, "-o", tmp_path / "n.csv")]
    assert main(words) == 0
    rows = read_rows(tmp_path / "n.csv", Row)
    assert [row.frames for row in rows] == [2, 2, 2] and [row.method for row in rows][:2] == [
        "repetition",
        "linear motion",
    ]
    assert main(["table", str(tmp_path / "n.csv")]) == 0
    assert "| **mean** |" in capsys.readouterr().out


def test_refusals(tmp_path, clip, capsys):
    out = ["-o", str(tmp_path / "n.csv")]
    assert main(["run", "--root", str(clip), "--models", "tiny", "--motion", "tiny", *out]) == 2
    assert (
        main(["run", "--root", str(clip), "--models", str(tmp_path / "ahead.safetensors"), "--motion", "rife5x", *out])
        == 2
    )
    ahead = str(tmp_path / "ahead.safetensors")
    assert main(["run", "--root", str(clip), "--models", ahead, "--motion", ahead, *out]) == 2
    write(clip, moving(2, 64, 64))
    assert (
        main(["run", "--root", str(clip), "--models", str(tmp_path / "ahead.safetensors"), "--motion", "tiny", *out])
        == 2
    )
    assert capsys.readouterr().err.count("\n") == 4


def test_linear_motion_beats_repetition_where_motion_is_linear():
    pictures = [codec.rgb_of(picture, Colour()) for picture in moving(3, 96, 96, step=3)]
    with torch.inference_mode():
        made = linear_motion(ncm.load("rife"))(*pictures[:2])
    middle = (..., slice(16, -16), slice(16, -16))
    errors = [float((frame[middle] - pictures[2][middle]).square().mean()) for frame in (made, pictures[1])]
    assert errors[0] < errors[1] / 4
