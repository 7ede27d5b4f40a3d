import subprocess
import sys
from pathlib import Path

import pytest
import torch

import entropy
from entropy import EntropyError, Estimate, LatentCoder, Read, ScaleTables, Write, freeze

SIZES = [(1, 1), (1, 2), (3, 5), (8, 8), (9, 14)]


class Listen:
    """A tape that passes everything on and remembers the symbols."""

    def __init__(self, tape):
        self.tape, self.symbols, self.values = tape, [], []

    def code(self, name, y, prior, rdoq_lambda=None):
        coded = self.tape.code(name, y, prior, rdoq_lambda)
        self.symbols.append(coded.symbols)
        self.values.append(coded.value)
        return coded


def tiny(seed=0):
    """An untrained coder whose scales and means are no constants."""
    torch.manual_seed(seed)
    coder = LatentCoder(6, width=8, hyper=4, context=3, exact_context=2, qualities=4, tables=ScaleTables(levels=32))
    for step in (coder.scales.first, coder.scales.second):
        torch.nn.init.normal_(step[-1].weight, std=0.4)
    return coder


def frozen(seed=0):
    coder = tiny(seed).eval()
    freeze(coder)
    return coder


def sample(size, batch=1, seed=1):
    """(latent, keyword arguments that both sides have)"""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(batch, 6, *size, generator=generator) * 4
    context = torch.randn(batch, 3, *size, generator=generator)
    picture = torch.randint(0, 256, (batch, 2, *size), generator=generator).float()
    return y, {"context": context, "exact_context": picture, "quality": 1.5}


def written(coder, y, known):
    tape = Write()
    with torch.no_grad():
        y_hat = coder(tape, "y", y, **known)
    return y_hat, tape.finish()


def read(coder, data, size, known, listen=None):
    tape = Read(data)
    with torch.no_grad():
        y_hat = coder(tape if listen is None else (listen := Listen(tape)), "y", None, size=size, **known)
    tape.finish()
    return (y_hat, listen) if listen is not None else y_hat


@pytest.mark.parametrize("size", SIZES)
def test_the_reader_rebuilds_the_writers_latent_to_the_bit(size):
    coder = frozen()
    y, known = sample(size)
    for quality in (0, 1.3, 3):
        known["quality"] = quality
        y_hat, data = written(coder, y, known)
        assert torch.equal(read(coder, data, size, known), y_hat)


def test_the_estimate_of_writing_is_what_is_written():
    """Same values to the bit; bits roughly, as an untrained coder's scales have little to do with the data."""
    coder = frozen()
    y, known = sample((16, 18))
    y_hat, data = written(coder, y, known)
    tape = Estimate("round")
    assert torch.equal(coder(tape, "y", y, **known), y_hat)
    assert 8 * len(data) == pytest.approx(tape.total("y").item(), rel=0.1)


def test_higher_quality_is_closer_and_costs_more():
    torch.manual_seed(0)
    coder = LatentCoder(6, width=8, hyper=4, context=3, exact_context=2, qualities=4).eval()
    freeze(coder)
    y, known = sample((9, 14))
    results = [written(coder, y, known | {"quality": q}) for q in (0.0, 1.0, 2.0, 3.0)]
    sizes = [len(data) for _, data in results]
    errors = [(y_hat - y).square().mean().item() for y_hat, _ in results]
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)


def test_two_latents_share_one_string():
    motion, picture = frozen(0), frozen(1)
    y, known = sample((5, 4))
    tape = Write()
    sent = [coder(tape, "y", y, **known) for coder in (motion, picture)]
    tape = Read(tape.finish())
    got = [coder(tape, "y", None, size=(5, 4), **known) for coder in (motion, picture)]
    tape.finish()
    assert all(torch.equal(a, b) for a, b in zip(sent, got, strict=True))


READER = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from entropy import LatentCoder, Read, ScaleTables
job = torch.load(sys.argv[1], weights_only=True)
torch.set_num_threads(job["threads"])  # float means are the same to the bit only so; symbols always are
coder = LatentCoder(6, width=8, hyper=4, context=3, exact_context=2, qualities=4, tables=ScaleTables(levels=32)).eval()
coder.load_state_dict(job["model"])
tape = Read(bytes(job["data"].tolist()))
with torch.no_grad():
    y_hat = coder(tape, "y", None, size=tuple(job["size"]), **job["known"])
tape.finish()
torch.save(y_hat, sys.argv[2])
"""


def test_another_process_rebuilds_it_from_string_and_checkpoint(tmp_path):
    coder, size = frozen(), (9, 14)
    y, known = sample(size)
    y_hat, data = written(coder, y, known)
    job = {"model": coder.state_dict(), "data": torch.tensor(list(data)), "size": list(size), "known": known}
    job["threads"] = torch.get_num_threads()
    torch.save(job, tmp_path / "job.pt")
    root = Path(entropy.__file__).parents[1]
    subprocess.run([sys.executable, "-c", READER, tmp_path / "job.pt", tmp_path / "out.pt"], check=True, cwd=root)
    assert torch.equal(torch.load(tmp_path / "out.pt", weights_only=True), y_hat)


def disturb(module, inputs, output):
    return output + 1e-5 * torch.randn_like(output)


def test_noise_on_every_float_of_the_decoder_leaves_the_symbols_alone():
    writer, reader = frozen(), frozen()
    for module in reader.means.modules():
        module.register_forward_hook(disturb)
    y, known = sample((12, 10))
    sent = Listen(tape := Write())
    with torch.no_grad():
        y_hat = writer(sent, "y", y, **known)
    again, got = read(reader, tape.finish(), (12, 10), known, listen=True)
    assert all(torch.equal(a, b) for a, b in zip(sent.symbols, got.symbols, strict=True))
    assert 0 < (again - y_hat).abs().max() < 1e-2


def test_a_decoder_in_double_precision_reads_the_same_symbols():
    coder = frozen()
    y, known = sample((6, 7))
    sent = Listen(tape := Write())
    with torch.no_grad():
        y_hat = coder(sent, "y", y, **known)
    known["context"] = known["context"].double()
    again, got = read(coder.double(), tape.finish(), (6, 7), known, listen=True)
    assert all(torch.equal(a, b.float()) for a, b in zip(sent.symbols, got.symbols, strict=True))
    assert torch.allclose(again.float(), y_hat, atol=1e-3)


@pytest.mark.parametrize("mode", ["noise", "mixed", "round"])
def test_gradients_reach_every_parameter(mode):
    coder = tiny().train()
    y, known = sample((8, 8), batch=3)
    y.requires_grad_()
    tape = Estimate(mode)
    y_hat = coder(tape, "y", y, **known | {"quality": torch.tensor([0.5, 1.5, 2.5])})
    assert tape.bits["y.z"].shape == tape.bits["y.y"].shape == (3,)
    ((y_hat - y).square().mean() + tape.total().mean() / 1000).backward()
    trained = {name: p for name, p in coder.named_parameters() if p.requires_grad}
    dead = [name for name, p in trained.items() if p.grad is None or not (p.grad != 0).any()]
    assert not dead and y.grad.isfinite().all()
    assert set(dict(coder.named_parameters())) - set(trained) == {"bottleneck.density.quantiles"}


def test_training_under_autocast_estimates_the_same_bits():
    coder = tiny().train()
    y, known = sample((8, 8), batch=2)
    totals = []
    for enabled in (False, True):
        tape = Estimate("round")
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y_hat = coder(tape, "y", y, **known)
        (y_hat.float().square().mean() + tape.total().mean()).backward()
        totals.append(tape.total().mean().item())
    assert y_hat.dtype == torch.float32 and totals[1] == pytest.approx(totals[0], rel=0.05)


def correlated(batch, generator):
    """Latents whose scale varies in space, smoothly, with neighbours that resemble each other."""
    coarse = torch.randn(batch, 6, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    energy = torch.nn.functional.interpolate(torch.randn(batch, 1, 2, 2, generator=generator), scale_factor=8)
    return (3 * smooth + 0.5 * torch.randn(batch, 6, 16, 16, generator=generator)) * (1.5 * energy).exp()


def test_a_little_training_saves_bits_of_estimate_and_string():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3)
    coder = LatentCoder(6, width=12, hyper=6)
    held_out = correlated(1, generator)

    def measure():
        freeze(coder.eval())
        with torch.no_grad():
            y_hat = coder(tape := Write(), "y", held_out)
            coder(estimate := Estimate("round"), "y", held_out)
        written = 8 * len(tape.finish())
        return written, estimate.total().item(), (y_hat - held_out).square().mean().item()

    before, _, error_before = measure()
    optimiser = torch.optim.Adam(coder.parameters(), lr=5e-3)
    coder.train()
    for _ in range(120):
        y = correlated(4, generator)
        y_hat = coder(tape := Estimate("mixed"), "y", y)
        loss = 2 * (y_hat - y).square().mean() + tape.total().mean() / y[0].numel()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
        optimiser.step()
    after, estimated, error_after = measure()
    assert after == pytest.approx(estimated, rel=0.02)
    assert after < 0.8 * before and error_after < 1.5 * error_before


def test_untrained_and_training_coders_say_what_is_missing():
    coder = tiny()
    y, known = sample((4, 4))
    with pytest.raises(RuntimeError, match="evaluation mode"):
        coder(Write(), "y", y, **known)
    with pytest.raises(RuntimeError, match="freeze"):
        coder.eval()(Write(), "y", y, **known)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"quality": 3.1}, r"quality 3.1 is not in \[0, 3\]"),
        ({"quality": -0.1}, "quality"),
        ({"context": None}, r"^context: expected .* \(3, 4, 4\), found \(0, 4, 4\)"),
        ({"exact_context": torch.zeros(1, 2, 4, 5)}, r"^exact context: expected .* \(2, 4, 4\), found \(2, 4, 5\)"),
        ({"exact_context": torch.full((1, 2, 4, 4), 0.5)}, "whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changed, match):
    y, known = sample((4, 4))
    with pytest.raises(ValueError, match=match):
        frozen()(Write(), "y", y, **known | changed)


@pytest.mark.parametrize("shape", [(6, 4, 4), (1, 5, 4, 4), (1, 1, 6, 4, 4)])
def test_latents_of_another_shape_are_refused(shape):
    _, known = sample((4, 4))
    with pytest.raises(ValueError, match=r"^latent: expected"):
        frozen()(Write(), "y", torch.zeros(shape), **known)


def test_a_reader_needs_a_size():
    _, known = sample((4, 4))
    with pytest.raises(ValueError, match="size"):
        frozen()(Read(b""), "y", None, **known)


def test_another_model_or_size_is_noticed():
    y, known = sample((8, 8))
    _, data = written(frozen(0), y, known)
    with pytest.raises(EntropyError):
        read(frozen(1), data, (8, 8), known)
    with pytest.raises(EntropyError):
        read(frozen(0), data[:-4], (8, 8), known)


def test_public_names_are_sorted_and_there():
    assert entropy.__all__ == sorted(entropy.__all__)
    assert all(hasattr(entropy, name) for name in entropy.__all__)
