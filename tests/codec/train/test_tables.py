# SPDX-License-Identifier: MIT
"""`codec train tables`: distributions by what streams hold."""

import numpy as np
import pytest
from helpers import command, moving, write
from safetensors import safe_open

import codec
from codec.errors import InputError, OutputError
from codec.models.registry import find
from codec.train.tables import fit, fit_tables
from entropy import ScaleTables
from entropy.tables import TOTAL

FINE = {"mode": "bitneed", "model": "small-bframe", "qp": 8, "preset": "ultrafast", "metrics": False}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def shares(cdf, length):
    return np.diff(cdf[:length]) / TOTAL


@pytest.mark.parametrize("symmetric", [False, True])
def test_tables_follow_counts_where_there_are_many(symmetric):
    lists = ScaleTables(levels=8).lists()
    rng = np.random.default_rng(0)
    counts = [rng.integers(1, 10, length - 1) * (1e6 if row % 2 else 0.0) for row, length in enumerate(lists.lengths)]
    fitted = fit(lists, counts, symmetric=symmetric)
    assert fitted.lengths == lists.lengths and fitted.offsets == lists.offsets
    for row, (cdf, length) in enumerate(zip(fitted.cdfs, fitted.lengths, strict=True)):
        before, expected = shares(lists.cdfs[row], length), counts[row] / max(counts[row].sum(), 1)
        if symmetric:
            expected[:-1] = (expected[:-1] + expected[-2::-1]) / 2
        assert np.allclose(shares(cdf, length), expected if row % 2 else before, atol=2e-3)


def test_what_was_counted_costs_less_and_is_read_again(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(9, 96, 64, step=5))
    codec.encode(src, tmp_path / "before.ncm", **FINE)
    model = tmp_path / "fitted.safetensors"
    done = command("train", "tables", tmp_path / "before.ncm", "-o", model)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"tables of 4 B-frames\n", b"")
    with safe_open(model, "pt") as file:
        assert file.metadata()["tables"] == "of 4 B-frames in 1 streams"
    recon = tmp_path / "recon.y4m"
    codec.encode(src, tmp_path / "after.ncm", recon=recon, **FINE | {"model": str(model)})
    before, after = (
        sum(frame.bits for frame in codec.info(tmp_path / f"{name}.ncm").frames if frame.kind == "B")
        for name in ("before", "after")
    )
    assert after < before
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_WEIGHTS", f"{tmp_path}:{find('small-bframe').parent}")
        codec.decode(tmp_path / "after.ncm", tmp_path / "dec.y4m")
    assert (tmp_path / "dec.y4m").read_bytes() == recon.read_bytes()


def test_streams_that_tell_nothing_are_refused(tmp_path, monkeypatch):
    src = write(tmp_path / "seq.y4m", moving(5, 64, 64, step=5))
    codec.encode(src, tmp_path / "fine.ncm", **FINE)
    codec.encode(src, tmp_path / "free.ncm", **FINE | {"mode": "bitfree", "model": "tiny"})
    output = tmp_path / "out.safetensors"
    with pytest.raises(InputError, match=r"free.ncm: no B-frame .* payload; code more frames"):
        fit_tables([tmp_path / "free.ncm"], output)
    monkeypatch.setattr("codec.train.tables._count", None)  # what can be known is said before anything is decoded
    with pytest.raises(InputError, match=r"free.ncm: of model 'tiny'"):
        fit_tables([tmp_path / "fine.ncm", tmp_path / "free.ncm"], output)
    assert not output.exists()
    output.mkdir()
    with pytest.raises(OutputError, match=r"out\.safetensors: is a directory"):
        fit_tables([tmp_path / "fine.ncm"], output)
