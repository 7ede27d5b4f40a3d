"""Costs add up, and are those of the network that is asked."""

import math

import pytest
import torch

import codec
from eval import codec_cost, complexity
from eval.memory import PeakMemory


def test_modules_add_up(tiny_weights, monkeypatch):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    cost = complexity.measure([codec.load_model("small")], (64, 96), repeats=1)[0]
    assert sum(cost.modules.values()) == cost.macs > 0
    assert {"flow.block0", "synthesis"} <= set(cost.modules)


def test_the_command(tiny_weights, monkeypatch, capsys, tmp_path):
    """Of a codec with a payload both directions are there; the times of its parts are those of the whole."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.setattr(complexity, "SIZES", {"240p": (64, 96)})
    words = ["--models", "small-bframe", "--sizes", "240p", "--repeats", "1", "--device", "cpu"]
    assert complexity.main([*words, "--figure", str(tmp_path / "f.png")]) == 0
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "| small-bframe | 240p | write |" in text and "| flow.encode | small-bframe | 240p |" in text
    capsys.readouterr()
    for more in (
        ["--models", "none"],
        ["--figure", str(tmp_path / "f.doc")],
        ["--figure", str(tmp_path / "no" / "f.png")],
    ):
        assert complexity.main([*words, *more]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_parts_of_a_bframe(tiny_weights, monkeypatch):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    model = codec.load_model("small-bframe")
    cost = codec_cost.measure(model, (64, 96), repeats=2)
    for values in (cost.write.seconds, cost.write.macs):
        *parts, rest, whole, inner = codec_cost._columns(values).values()
        assert min(parts) >= 0 and rest >= 0 and sum(parts) + rest == pytest.approx(whole) and 0 < inner < whole
    assert cost.write.macs["frame"] > 0 and 0 < codec_cost.parameters(model) < 10e6


def test_peak_memory():
    with PeakMemory(torch.device("cpu")) as memory:
        big = torch.ones(8_000_000)
        del big
    assert math.isnan(memory.peak) or 30 < memory.peak < 100
