"""The measurements of worker processes and of GPUs run, on tiny inputs."""

import pytest

from eval.gpu import main as gpu
from eval.parallel import main as parallel


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def test_simulation(capsys):
    parallel(["simulate", "--seconds", "0.01", "--frames", "9", "--workers", "1", "2"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 4 and "overhead" in lines[0]


def test_gpu_on_a_cpu(capsys):
    gpu(["--device", "cpu", "--sizes", "64x64", "--frames", "5", "--models", "tiny", "small-bframe"])
    lines = capsys.readouterr().out.strip().splitlines()
    assert sum("decode" in line for line in lines) == 8 and "RIFE" in lines[-1]
