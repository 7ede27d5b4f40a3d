"""E.3 at equal bit rate, with tiny networks; and pictures side by side."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from helpers import moving, write
from PIL import Image

import codec
import ncm
from codec.models.network_file import save_network
from eval import comparison, jitter
from eval.jitter import SCHEMES, Row, temporal
from eval.strips import busiest
from eval.tables import read_rows


@pytest.fixture
def clip(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    torch.manual_seed(0)
    network = ncm.build(replace(ncm.load("tiny").config, task="extrapolation"))
    save_network(network, tmp_path / "ahead.safetensors")
    return write(tmp_path / "a.y4m", moving(11, 176, 168))


def test_a_run_and_its_table(tmp_path, clip, capsys):
    out = tmp_path / "j.csv"
    words = ["run", "--root", clip, "--model", "tiny", "--foresee", tmp_path / "ahead.safetensors", "-o", out]
    words = [str(word) for word in (*words, "--strips", tmp_path / "strips", "--crf", 30)]
    assert jitter.main(words) == 0
    rows = {row.scheme: row for row in read_rows(out, Row)}
    assert len(rows) == 5
    one, two, three, four = (rows[name] for name in SCHEMES)
    assert one.crf > two.crf == three.crf and one.kbps <= two.kbps == three.kbps == four.kbps
    assert [row.delay for row in (one, two, three, four)] == [0, 0, pytest.approx(3 / 25), 0]
    with Image.open(tmp_path / "strips" / "a.png") as image:
        assert image.width == 5 * 163 - 3
    before = out.read_text()
    assert jitter.main(words) == 0 and out.read_text() == before
    assert jitter.main([*words, "--crf", "31"]) == 2 and "by other options" in capsys.readouterr().err
    assert jitter.main([*words, "--frames", "9"]) == 2 and "by other options" in capsys.readouterr().err
    assert jitter.main([*words, "--strips", str(out / "strips")]) == 2 and "no folder" in capsys.readouterr().err
    assert jitter.main(["table", str(out)]) == 0
    assert "| ours, interpolation |" in capsys.readouterr().out


def test_temporal_consistency_falls_where_playback_sticks():
    pictures = moving(5)
    info = codec.VideoInfo(64, 48, 25, Fraction(1, 25))
    assert temporal(pictures, pictures, info) == 100
    stuck = [pictures[0]] * 4 + [pictures[4]]
    assert temporal(pictures, stuck, info) < 40


def test_too_short(tmp_path, clip, capsys):
    write(clip, moving(8))
    assert jitter.main(["run", "--root", str(clip), "-o", str(tmp_path / "j.csv")]) == 2
    assert "it takes 9" in capsys.readouterr().err


def test_comparison(tmp_path, clip, capsys):
    words = [str(clip), "--at", "4", "6", "-o", str(tmp_path / "c.png"), "--models"]
    assert comparison.main([*words, "tiny"]) == 0
    with Image.open(tmp_path / "c.png") as image:
        assert image.size == (3 * 243 - 3, 2 * (180 + 13 + 3) - 3)
    assert comparison.main([*words, str(tmp_path / "ahead.safetensors"), "--extrapolate", "--step", "2"]) == 0
    assert comparison.main([*words, "tiny", "--extrapolate"]) == 2
    assert comparison.main([*words, "tiny", "--step", "20"]) == 2
    assert comparison.main([*words, "tiny", "-o", str(tmp_path / "none" / "c.png")]) == 2
    assert capsys.readouterr().err.count("\n") == 3
    for option in ("--step", "--side", "--zoom"):
        with pytest.raises(SystemExit, match="2"):
            comparison.main([*words, "tiny", option, "0"])


def test_the_window_is_where_something_moves():
    a = torch.zeros(1, 3, 64, 96)
    b = a.clone()
    b[..., 40:48, 72:80] = 1
    window = busiest([a, b], 32, 24)
    assert window.x <= 72 and window.x + 32 >= 80 and window.y <= 40 and window.y + 24 >= 48
