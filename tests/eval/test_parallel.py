"""The measurements of worker processes and of GPUs run, on tiny inputs."""

from types import SimpleNamespace

import pytest
from corpus import tiny_cache

import codec
from eval.gpu import main as gpu
from eval.gpu import trained
from eval.parallel import main as parallel


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def test_simulation(capsys):
    parallel(["simulate", "--seconds", "0.01", "--frames", "9", "--workers", "1", "2"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4 and "overhead" in lines[0]


def test_refusals(tmp_path, capfd):
    assert parallel(["measure", str(tmp_path / "none.mkv"), "--repeats", "1"]) == 2
    assert parallel(["tiles", str(tmp_path / "none.mkv")]) == 2
    assert gpu(["--device", "cuda:99"]) == 2
    err = capfd.readouterr().err
    assert "Traceback" not in err and err.count("none.mkv") >= 2 and "cuda:99" in err


TINY = ["--device", "cpu", "--sizes", "64x64", "--frames", "5", "--models", "tiny", "small-bframe"]


def test_gpu_on_a_cpu(capsys):
    gpu(TINY)
    lines = capsys.readouterr().out.strip().splitlines()
    checks = [line for line in lines if "| yes" in line]
    assert len(checks) == 3 and not any("| NO" in line for line in lines)
    assert sum("decode" in line for line in lines) == 8 and sum("forward pass" in line for line in lines) == 2


def test_gpu_ends_when_its_time_is_over(capsys):
    gpu([*TINY, "--minutes", "0"])
    captured = capsys.readouterr()
    assert "decode" not in captured.out and "no time for 4 measurements" in captured.err


RECIPE = """
[codec]
widths = [4, 6, 8]
latents = 12
coder_width = 8
lambdas = [64.0, 512.0]
[bframe]
base = "tiny"
validation_qualities = [0]
[train]
steps = 2
batch = 1
crop = 32
validation_clips = 1
log_every = 1
bf16 = false
"""


def test_gpu_trains_and_exports(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    given = {"output": tmp_path, "recipe": str(tmp_path / "small.toml"), "device": "cpu"}
    said = trained(SimpleNamespace(data=[tiny_cache(tmp_path / "tiny")], **given), seconds=600.0)
    assert "2 steps" in said and codec.load_model(str(tmp_path / "trained.safetensors")).codec is not None
