"""The in-loop filter of B-frames: its strengths, what it adds, and that a decoder shows what the encoder saw."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import moving, write

import codec
from codec.bframe.loop_filter import LoopFilter, LoopFilterConfig, best_strengths, code_strengths, strength_bits
from codec.bframe.records import LOOP_FILTER
from codec.models.open import load as load_model
from codec.models.open import predictor
from entropy import EntropyError, Read, ReadMany, Write, WriteMany

LOOPED = {"mode": "bitneed", "model": "small-looped", "qp": 8, "anchor_preset": "ultrafast"}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def modes(path):
    return [frame.mode for frame in codec.info(path).frames if frame.kind == "B" and frame.mode is not None]


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("width", "height"), [(66, 50), (35, 19)])
@pytest.mark.parametrize("gop", ["ibpb", "fixed:4"])
def test_the_decoder_shows_the_encoders_reconstruction(tmp_path, bit_depth, width, height, gop):
    src = write(tmp_path / "seq.y4m", moving(9, width, height, bit_depth, step=3))
    recon = tmp_path / "recon.y4m"
    codec.encode(src, gop=gop, intra_period=8, postfilter=True, recon=recon, metrics=False, **LOOPED)
    assert any(mode & LOOP_FILTER for mode in modes(tmp_path / "seq.ncm"))
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    assert (tmp_path / "dec.y4m").read_bytes() == recon.read_bytes()


def test_b_frames_are_better_for_it(tmp_path):
    """The same codec without its filter, at the same anchors."""
    src = write(tmp_path / "seq.y4m", moving(9, 96, 64, step=5))
    with_it, without = (
        codec.encode(src, tmp_path / f"{model}.ncm", **LOOPED | {"model": model})
        for model in ("small-looped", "small-filtered")
    )
    assert with_it.mean("psnr_rgb") > without.mean("psnr_rgb") + 0.1
    assert with_it.bits_per_pixel("B") < 1.05 * without.bits_per_pixel("B")
    assert not any(mode & LOOP_FILTER for mode in modes(tmp_path / "small-filtered.ncm"))


def to_write(count):
    pictures, info = moving(count + 2, 64, 64, step=3), codec.VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    wanted = []
    for n in range(count):
        ends = pictures[n], pictures[n + 2]
        interval = codec.Interval(*ends, 0.5, 0.02, ends, 2)
        slope = (20000.0, 300.0)[n % 2]
        wanted.append(codec.ToWrite(interval=interval, source=pictures[n + 1], poc=n, slope=slope))
    return info, wanted


def test_a_batch_is_filtered_as_its_frames_are_alone():
    info, wanted = to_write(4)
    coder = predictor(load_model("small-looped"), info)
    alone, together = [coder.write(one) for one in wanted], coder.write_all(wanted)
    for a, b in zip(alone, together, strict=True):
        assert (a.packet and a.packet.mode) == (b.packet and b.packet.mode)
        assert b.cost == pytest.approx(a.cost, rel=0.01)
    sent = [(one.interval, choice) for one, choice in zip(wanted, together, strict=True) if choice.packet]
    shown = coder.read_all(*map(list, zip(*((interval, choice.packet) for interval, choice in sent), strict=True)))
    for picture, (_, choice) in zip(shown, sent, strict=True):
        planes = zip(picture.planes, choice.picture.planes, strict=True)
        assert all(np.abs(p.astype(int) - q).max() <= 1 for p, q in planes)


def test_a_model_without_the_filter_refuses_payloads_with_it():
    info, wanted = to_write(1)
    written = predictor(load_model("small-looped"), info).write(wanted[0])
    assert written.packet and written.packet.mode & LOOP_FILTER
    with pytest.raises(codec.StreamError, match=f"mode {written.packet.mode}"):
        predictor(load_model("small-filtered"), info).read(wanted[0].interval, written.packet)


def test_before_training_it_changes_nothing():
    torch.manual_seed(0)
    pictures = torch.rand(4, 2, 6, 16, 24)
    changed = LoopFilter(LoopFilterConfig(width=4, blocks=1)).change(
        pictures[0], list(pictures[1:3]), pictures[3], torch.tensor([0.01, 0.03])
    )
    assert changed.shape == (2, 6, 16, 24) and not changed.any()


def test_the_best_strengths_leave_the_least_error():
    torch.manual_seed(0)
    errors = [torch.randn(2, 1, 8, 12), torch.randn(2, 1, 4, 6), torch.zeros(2, 1, 4, 6)]
    changes = errors[0] / 0.5, -errors[1], torch.randn(2, 1, 4, 6)  # half of it is right, it is wrong, nothing is
    assert best_strengths(changes, errors).tolist() == [[4, 0, 0]] * 2
    assert best_strengths((errors[0] / 3, errors[1], errors[2]), errors).tolist() == [[8, 8, 0]] * 2


def test_a_reader_gets_the_strengths_and_others_none():
    strengths, used = torch.tensor([[8.0, 0, 3], [0, 0, 0], [1, 2, 7]]), torch.tensor([True, False, True])
    tapes = [Write() for _ in used]
    assert torch.equal(code_strengths(WriteMany(tapes), strengths, used), strengths)
    strings = [tape.finish() for tape in tapes]
    assert [bool(string) for string in strings] == used.tolist()
    readers = [Read(string) for string in strings]
    assert torch.equal(code_strengths(ReadMany(readers), None, used), strengths)
    for reader in readers:
        reader.finish()
    assert (strength_bits(strengths) > 3).all()


def test_a_strength_that_cannot_be_is_refused():
    tape = Write()
    with pytest.raises(EntropyError, match="strength"):
        code_strengths(tape, torch.tensor([[8.0, 9, 0]]), torch.tensor([True]))
    reader = Read(tape.finish())
    with pytest.raises(EntropyError, match="strength"):
        code_strengths(reader, None, torch.tensor([True]))
