"""Pictures in, pictures out: forms, sizes, times, and weights that are found without the codec."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import bunny_pictures

import ncm
from codec.models.network_file import load_network, save_network
from codec.video.metrics import rgb_of
from codec.video.picture import Colour
from ncm.effects import at_time
from ncm.light import from_light, to_light
from ncm.weights import find, installed, read

SHAPE = (37, 53)


@pytest.fixture(scope="module")
def tiny(tiny_weights):
    return ncm.load(tiny_weights / "tiny.safetensors")


@pytest.fixture(scope="module")
def ahead(tiny):
    """A network for extrapolation."""
    torch.manual_seed(0)
    return ncm.build(replace(tiny.config, task="extrapolation"))


def pair(*shape):
    return tuple(torch.rand(2, *shape, generator=torch.Generator().manual_seed(1)))


def test_weights_are_those_that_the_codec_reads(tiny, tiny_weights):
    expected = load_network(tiny_weights / "tiny.safetensors")
    assert tiny.config == expected.config and not tiny.training
    assert all(
        torch.equal(a, b) for a, b in zip(tiny.state_dict().values(), expected.state_dict().values(), strict=True)
    )
    assert all(not parameter.requires_grad for parameter in tiny.parameters())


def test_weights_are_found_without_the_codec():
    code = "import sys, ncm; ncm.load('lite'); print(sorted({n.split('.')[0] for n in sys.modules} & {'codec', 'av'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_names(monkeypatch, tiny_weights):
    assert {"base", "lite", "rife"} <= installed().keys()
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    assert find("tiny").parent == tiny_weights
    with pytest.raises(FileNotFoundError, match=r"known are .*base"):
        ncm.load("nothing")


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:60], lambda _: b"", lambda _: b"x" * 99])
def test_damaged_weights(tmp_path, tiny_weights, damage):
    path = tmp_path / "a.safetensors"
    path.write_bytes(damage((tiny_weights / "tiny.safetensors").read_bytes()))
    with pytest.raises(ValueError, match="not a whole"):
        ncm.load(path)


def test_weights_of_another_kind(tmp_path, tiny):
    with pytest.raises(ValueError, match="bframe"):
        ncm.load("bframe")
    save_network(tiny, tmp_path / "a.safetensors", note="x")
    assert read(tmp_path / "a.safetensors").notes["note"] == "x"
    (tmp_path / "a.safetensors").write_bytes(
        (tmp_path / "a.safetensors").read_bytes().replace(b'"context_width', b'"contexts_widt', 1)
    )
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        ncm.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32", "float64"])
def test_arrays(tiny, dtype):
    a, b = ((x.numpy() * {"u": np.iinfo(dtype).max if "u" in dtype else 1}["u"]).astype(dtype) for x in pair(*SHAPE, 3))
    made = ncm.interpolate(a, b, network=tiny)
    assert made.shape == a.shape and made.dtype == a.dtype
    batch = ncm.interpolate(np.stack([a, b]), np.stack([b, a]), network=tiny)
    assert np.allclose(batch[0].astype(float), made.astype(float), atol=1 if "u" in dtype else 1e-5)
    assert np.array_equal(
        ncm.interpolate(a[::-1], b[::-1], network=tiny), ncm.interpolate(a[::-1].copy(), b[::-1].copy(), network=tiny)
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_tensors(tiny, dtype):
    a, b = (x if dtype.is_floating_point else x * 255 for x in pair(2, 3, *SHAPE))
    made = ncm.interpolate(a.to(dtype), b.to(dtype), torch.tensor([0.25, 0.75]), network=tiny)
    assert made.shape == a.shape and made.dtype == dtype
    one = ncm.interpolate(a[0].to(dtype), b[0].to(dtype), 0.25, network=tiny)
    assert torch.allclose(one.float(), made[0].float(), atol=1e-3 if dtype.is_floating_point else 1)


def test_form_does_not_matter(tiny):
    a, b = (x.numpy() for x in pair(*SHAPE, 3))
    made = ncm.interpolate(a, b, 0.3, network=tiny)
    tensors = (torch.from_numpy(x).movedim(-1, 0) for x in (a, b))
    assert np.allclose(ncm.interpolate(*tensors, 0.3, network=tiny).movedim(0, -1).numpy(), made, atol=1e-6)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((8, 8), np.uint8),) * 2,
        (np.zeros((8, 8, 4), np.uint8),) * 2,
        (np.zeros((8, 8, 3), np.int32),) * 2,
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)),
        (torch.zeros(8, 8, 3),) * 2,
    ],
)
def test_what_is_no_picture(tiny, a, b):
    with pytest.raises(ValueError, match="picture"):
        ncm.interpolate(a, b, network=tiny)


def test_no_picture_at_all(tiny):
    with pytest.raises(TypeError, match="list"):
        ncm.interpolate([1], [2], network=tiny)


def test_tasks(tiny, ahead):
    a, b = pair(3, *SHAPE)
    assert ncm.extrapolate(a, b, network=ahead).shape == a.shape
    with pytest.raises(ValueError, match="made for extrapolation"):
        ncm.interpolate(a, b, network=ahead)
    with pytest.raises(ValueError, match="made for interpolation"):
        ncm.extrapolate(a, b, network=tiny)


def test_tta_is_symmetric(tiny_weights, tiny):
    """Turning both pictures turns the answer."""
    a, b = pair(3, 64, 96)
    large = ncm.load(tiny_weights / "tiny.safetensors", tta=True)
    turned = ncm.interpolate(a.flip(-2, -1), b.flip(-2, -1), network=large).flip(-2, -1)
    assert torch.allclose(turned, ncm.interpolate(a, b, network=large), atol=1e-5)
    assert not torch.allclose(ncm.interpolate(a, b, network=tiny), ncm.interpolate(a, b, network=large), atol=1e-5)


@pytest.mark.parametrize(
    ("factor", "count"), [(1, 4), (2, 7), (4, 13), (2.5, 8), (Fraction(1, 2), 2), (Fraction(5, 4), 4)]
)
def test_slow_motion_counts(tiny, factor, count):
    frames = [torch.full((3, 8, 8), value) for value in (0.0, 0.1, 0.2, 0.3)]
    made = list(ncm.slow_motion(iter(frames), factor, network=tiny))
    assert len(made) == count and made[0] is frames[0]
    for number, frame in enumerate(made):
        position = number / Fraction(factor)
        if position.denominator == 1:
            assert frame is frames[int(position)]


def test_slow_motion_halves_where_it_can(tiny):
    a, b = pair(3, 64, 96)  # a size that is not padded: the padding of what was made is what was made there
    middle = ncm.interpolate(a, b, network=tiny)
    made = list(ncm.slow_motion([a, b], 4, network=tiny))
    assert torch.allclose(made[2], middle)
    assert torch.allclose(made[1], ncm.interpolate(a, middle, network=tiny), atol=1e-5)
    thirds = list(ncm.slow_motion([a, b], 3, network=tiny))
    assert torch.equal(thirds[1], ncm.interpolate(a, b, 1 / 3, network=tiny))


def test_each_frame_is_made_once():
    """Eighths take seven calls, each from its neighbours on the grid."""
    asked = []

    def between(a, b, time):
        asked.append((float(a), float(b), time))
        return a + (b - a) * time

    known = {Fraction(0): torch.tensor(0.0), Fraction(1): torch.tensor(1.0)}
    assert [float(at_time(Fraction(k, 8), known, between)) for k in range(9)] == [k / 8 for k in range(9)]
    assert sorted(asked) == sorted((k / n, (k + 1) / n, 0.5) for n in (1, 2, 4) for k in range(n))
    assert float(at_time(Fraction(1, 3), known, between)) == pytest.approx(1 / 3) and asked[-1][:2] == (0, 1)


def test_slow_motion_is_lazy(tiny):
    def endless():
        while True:
            yield torch.zeros(3, 8, 8)

    made = ncm.slow_motion(endless(), 3, network=tiny)
    assert all(next(made).shape == (3, 8, 8) for _ in range(5))
    assert list(ncm.slow_motion([], 2)) == []
    with pytest.raises(ValueError, match="factor"):
        next(ncm.slow_motion([], 0))


def test_motion_blur_is_a_mean_in_light(tiny):
    a, b = pair(3, *SHAPE)
    blurred = ncm.motion_blur(a, b, samples=2, shutter=180, network=tiny)
    frames = [ncm.interpolate(a, b, t, network=tiny) for t in (1 / 6, 1 / 3)]
    assert torch.allclose(to_light(blurred), sum(map(to_light, frames)) / 2, atol=1e-5)
    for wrong in ({"samples": 0}, {"shutter": 0}, {"shutter": 361}):
        with pytest.raises(ValueError, match=r"samples|shutter"):
            ncm.motion_blur(a, b, network=tiny, **wrong)


def test_light_and_back():
    values = torch.linspace(0, 1, 1001)
    assert torch.allclose(from_light(to_light(values)), values, atol=1e-6)
    assert to_light(torch.tensor([0.5])).item() == pytest.approx(0.21404, abs=1e-4)


def test_shipped_weights_beat_the_blend():
    a, middle, b = (rgb_of(picture, Colour())[..., :96, :160] for picture in bunny_pictures(3))
    made = ncm.interpolate(a, b)
    assert (made - middle).square().mean() < ((a + b) / 2 - middle).square().mean()
