"""On a machine with a GPU: what the CPU writes is read, and the other way round; pictures agree; training goes on.

Skipped elsewhere; tests/codec/test_device.py finds most of what a GPU would refuse without one.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from corpus import tiny_cache
from helpers import BUNNY, DATA, command, moving, write
from recipes import RECIPE, SMALL, TINY

import codec
from codec.bframe.config import BFrameConfig
from codec.models.network_file import save_network
from codec.train.config import TrainConfig
from codec.train.data import Corpus, Library
from codec.train.loop import train_run
from codec.train.ranks import Ranks
from codec.train.tasks import load_task
from codec.train.tasks.bframe import BFrameTraining
from codec.video.reader import open_source
from ncm import build

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def compare(path, other, *, share):
    """Same pictures to one level, in at most this share of samples."""
    with open_source(path) as a, open_source(other) as b:
        for first, second in zip(a, b, strict=True):
            planes = zip(first.picture.planes, second.picture.planes, strict=True)
            difference = np.concatenate([np.abs(x.astype(int) - y).ravel() for x, y in planes])
            assert difference.max() <= 1 and (difference > 0).mean() < share


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "bitfree", "model": "tiny", "crf": 30},
        {"mode": "bitneed", "model": "small-bframe", "qp": 8, "effort": 1},
        {"mode": "auto", "model": "small-bframe", "qp": 12},
    ],
    ids=lambda settings: settings["mode"],
)
@pytest.mark.parametrize("writer", ["cpu", "cuda"])
def test_what_one_device_writes_the_other_reads(tmp_path, writer, settings):
    src = write(tmp_path / "seq.y4m", moving(9, 130, 98, step=3))
    recon = tmp_path / "recon.y4m"
    codec.encode(src, tmp_path / "a.ncm", device=writer, recon=recon, hashes=True, **settings)
    codec.decode(tmp_path / "a.ncm", tmp_path / "same.y4m", device=writer)
    assert (tmp_path / "same.y4m").read_bytes() == recon.read_bytes()
    other = "cuda" if writer == "cpu" else "cpu"
    with codec.open(tmp_path / "a.ncm", device=other) as video:
        pictures = [frame.picture for frame in video]
        assert not any("payload" in problem for problem in video.problems)
    compare(recon, write(tmp_path / "other.y4m", pictures), share=1e-2)


def test_the_shipped_model_in_separate_processes(tmp_path):
    recon = tmp_path / "recon.yuv"
    words = ["--frames", 5, "-o", tmp_path / "b.ncm", "--recon", recon, "--crf", 20, "--mode", "bitneed"]
    encoded = command("encode", BUNNY, *words, "--device", "cuda")
    assert encoded.returncode == 0, encoded.stderr
    decoded = command("decode", tmp_path / "b.ncm", "--device", "cuda")
    assert (decoded.returncode, decoded.stderr) == (0, b"")
    assert (tmp_path / "b.dec.yuv").read_bytes() == recon.read_bytes()


@pytest.mark.parametrize("name", ["golden", "golden-bitneed", "golden-blocks", "golden-filters"])
def test_golden_streams(tmp_path, name):
    with codec.open(DATA / f"{name}.ncm", device="cuda") as video:
        pictures = [frame.picture for frame in video]
        assert not any("payload" in problem for problem in video.problems)
    compare(DATA / f"{name}.y4m", write(tmp_path / "shown.y4m", pictures), share=1e-2)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("what", ["network", "bframe"])
def test_training_goes_on_from_its_checkpoint(tmp_path, what, bf16):
    library = Library(Corpus(tiny_cache(tmp_path / "tiny")))
    base = tmp_path / "base.safetensors"
    save_network(build(replace(TINY, pyramid=(), motion_features=0)), base)
    ranks, run = Ranks(torch.device("cuda")), tmp_path / "run"
    for steps in (1, 2):
        if what == "network":
            config = TrainConfig(model=TINY, bf16=bf16, **RECIPE)
        else:
            codec_config = BFrameConfig(**SMALL, lambdas=(64.0, 512.0, 4096.0))
            own = {"codec": codec_config, "base": str(base), "validation_qualities": (0, 2), "rdoq_from": 0}
            config = BFrameTraining(**own, teacher=0.0, bf16=bf16, **RECIPE)
        state = train_run(load_task(what), replace(config, steps=steps), library, run, ranks=ranks)
        assert state.step == steps
        assert all(p.is_cuda and p.isfinite().all() for p in state.model.parameters())
