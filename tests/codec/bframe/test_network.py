"""The B-frame codec: where it starts, that what is written is read, that everything in it is trained."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from codec.bframe.config import BFrameConfig
from codec.bframe.motion_residual import sensitivity
from codec.bframe.network import BFrameCodec
from codec.bframe.side_information import FEATURES, anchor_features, luma_planes, quarter_db
from codec.decoder.reconstruct import noise_level
from codec.errors import ModelError
from codec.learned.transform import COLOURS, block_basis
from codec.video.colour import rgb_to_yuv
from codec.video.picture import Colour
from entropy import Estimate, Read, Write, freeze
from entropy.tape import Coded
from ncm import NcmConfig, build
from ncm.ifblock import Motion
from ncm.network import blend_of, warped_along

NCM = NcmConfig(widths=(8, 8, 8, 8, 8), context_width=4, teacher_width=8, quality_input=True)
TINY = BFrameConfig(
    widths=(4, 6, 8), latents=12, coder_width=8, motion_latents=8, motion_width=6, lambdas=(64.0, 256.0, 1024.0)
)

SMALL = BFrameConfig(widths=(6, 8), latents=12, coder_width=8, scale_width=4, lambdas=(64.0, 256.0, 1024.0))
WITHOUT_MOTION = BFrameConfig(**{**vars(TINY), "motion_latents": 0})


def network():
    torch.manual_seed(0)
    return build(NCM).requires_grad_(False)


def codec(config=TINY, *, trained=True):
    """An untrained codec; `trained` gives its zero layers something to say."""
    model = BFrameCodec(config, network())
    if trained:
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def pictures(batch=1, size=(64, 96), seed=0):
    """Smooth past, target and future, the features of the references, and the rest of what a codec is told."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3 * batch, 3, size[0] // 8 + 1, size[1] // 8 + 1)
    texture = F.interpolate(torch.rand(shape, generator=generator), size=size, mode="bicubic").clamp(0, 1)
    past, target, future = texture.chunk(3)
    planes = [(255 * x[:, 1:2]).round() for x in (past, future)]
    noise = torch.full((batch,), 0.02)
    known = {"time": 0.5, "noise": noise, "exact": anchor_features(*planes, noise)}
    return past, target, future, known


def context(model, quality=1.0, **changes):
    """What a codec knows of one frame, and the frame itself."""
    past, target, future, known = pictures(**changes)
    with torch.no_grad():
        return model.context(past, future, quality=quality, **known), target


def coded(model, tape, quality=1.0, **wishes):
    """One frame estimated or written."""
    known, target = context(model, quality)
    with torch.no_grad():
        return model(tape, known, model.target(known, target, **wishes)).frame


class Silence:
    """A tape on which every symbol is zero."""

    def code(self, name, y, prior, rdoq_lambda=None):
        return Coded(torch.zeros_like(prior.mean), prior.mean)


@pytest.mark.parametrize("config", [TINY, WITHOUT_MOTION, SMALL])
def test_it_starts_as_bitfree_plus_a_transform(config):
    model = codec(config, trained=False)
    known, target = context(model, 2)
    with torch.no_grad():
        free = model.network(known.past, known.future, 0.5, known.noise).frame
        silent = model(Silence(), known)
    assert torch.equal(silent.frame, free) and torch.equal(silent.predicted, free)
    assert (coded(model, Estimate("round"), 2) - target).square().mean() < 0.5 * (free - target).square().mean()


def test_finer_qualities_cost_more_and_give_more():
    model = codec(trained=False)
    _, target = context(model)
    bits, errors = [], []
    for quality in (0, 0.5, 1, 2):
        frame = coded(model, tape := Estimate("round"), quality)
        bits.append(float(tape.total()))
        errors.append(float((frame - target).square().mean()))
    assert bits == sorted(bits) and errors == sorted(errors, reverse=True)


def written(model, quality=1.0):
    frame = coded(model, tape := Write(), quality)
    return frame, tape.finish()


def read(model, data, quality=1.0):
    tape = Read(data)
    with torch.no_grad():
        frame = model(tape, context(model, quality)[0]).frame
    tape.finish()
    return frame


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_what_is_written_is_read_bit_for_bit(config):
    model = codec(config)
    freeze(model)
    frame, data = written(model)
    assert len(data) > 40
    assert torch.equal(read(model, data), frame)
    assert written(model, 2.0)[1] != data


READER = """
import sys, torch
sys.path.insert(0, sys.argv[1])
import test_network as t
model = t.codec()
model.load_state_dict(torch.load(sys.argv[2], weights_only=True))
data = open(sys.argv[3], "rb").read()
torch.set_num_threads(2)
with torch.backends.mkldnn.flags(enabled=False):
    frame = t.read(model.to(memory_format=torch.channels_last), data)
torch.save(frame, sys.argv[4])
"""


def test_another_process_with_other_arithmetic_reads_the_same_symbols(tmp_path):
    model = codec()
    freeze(model)
    frame, data = written(model)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    (tmp_path / "data").write_bytes(data)
    names = [str(tmp_path / name) for name in ("model.pt", "data", "frame.pt")]
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-W", "ignore", "-c", READER, here, *names], check=True)
    difference = (torch.load(tmp_path / "frame.pt", weights_only=True) - frame).abs()
    # The string was read to its end without complaint; the picture differs by float noise alone.
    assert difference.max() < 1e-3


@pytest.mark.parametrize("config", [TINY, SMALL])
def test_gradients_reach_everything(config):
    model = codec(config).train()
    for part in filter(None, (model.frame, model.motion)):
        part.coder.analysis[-1].weight.data *= 30  # hyper-latents of so few pixels would all be zero
    past, target, future, known = pictures(batch=2)
    known = model.context(past, future, quality=torch.tensor([0.5, 1.5]), **known)
    tape = Estimate()
    done = model(tape, known, model.target(known, target))
    ((done.frame - target).square().mean() * 1e3 + tape.total().mean()).backward()
    untouched = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert untouched == []
    assert all(p.grad is None for p in model.network.parameters())


def test_the_network_that_predicts_is_somebody_elses():
    model = codec()
    assert not any("flow" in name for name in model.state_dict())
    with pytest.raises(ModelError, match="teacher"):
        BFrameCodec(TINY, build(NcmConfig(widths=(8, 8, 8, 8, 8), context_width=4, teacher_width=0)))


@pytest.mark.parametrize("wrong", [{"widths": (4,)}, {"lambdas": ()}, {"lambdas": (2.0, 1.0)}])
def test_sizes_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BFrameConfig(**wrong)


def test_block_transform_is_orthonormal():
    five = block_basis(12, 4, colours=torch.eye(5))
    for basis in (block_basis(24, 16), block_basis(96, 8), block_basis(150, 8), five):
        flat = basis.flatten(1)
        assert torch.allclose(flat @ flat.T, torch.eye(len(flat)), atol=1e-5)
    assert torch.allclose(COLOURS @ COLOURS.T, torch.eye(3), atol=1e-6)
    with pytest.raises(ValueError, match="2 latents for 3"):
        block_basis(2, 16)
    with pytest.raises(ValueError, match="49 latents for 3"):
        block_basis(49, 4)


@pytest.mark.parametrize("size", [8, 16])
def test_anchor_features_are_whole_numbers_that_follow_motion(size):
    def of(past, future):
        return anchor_features(past, future, None)[(8, 16).index(size)]

    generator = torch.Generator().manual_seed(0)
    still = torch.randint(0, 256, (1, 1, 64, 64), generator=generator).float()
    assert (of(still, still)[:, :2] == -1280).all()
    moved = still.roll(8, 3)
    features, middle = of(still, moved), 32 // size
    assert features.shape == (1, FEATURES, 64 // size, 64 // size) and torch.equal(features, features.round())
    assert features[0, 0, middle, middle] > 500 and features[0, 1, middle, middle] == -1280
    # Sums that are whole do not care for their order.
    double = of(still.double().flip(3), moved.double().flip(3)).flip(3)
    assert torch.equal(double[:, :2].float(), features[:, :2])


def test_the_level_of_noise_comes_back_from_the_noise():
    levels = torch.arange(256)
    noise = torch.tensor([noise_level(level) for level in levels.tolist()])
    assert torch.equal(quarter_db(noise), levels.double())


def test_planes_come_back_from_rgb():
    past, _, _, _ = pictures()
    picture = rgb_to_yuv(past, Colour(), 10)
    assert luma_planes([picture.y], 10).max() <= 255
    assert torch.equal(luma_planes([picture.y], 10), torch.from_numpy((picture.y >> 2).astype("float32"))[None, None])


@pytest.mark.parametrize("channel", range(5))
def test_sensitivity_is_what_a_small_error_of_motion_costs(channel):
    past, _, future, _ = pictures(size=(96, 128))
    generator = torch.Generator().manual_seed(4)
    flow, mask = torch.randn(1, 4, 1, 1, generator=generator), torch.randn(1, 1, 1, 1, generator=generator)
    motion = Motion(flow.expand(1, 4, 96, 128), mask.expand(1, 1, 96, 128), mask.expand(1, 1, 96, 128))
    error = torch.zeros(1, 5, 1, 1)
    error[:, channel] = 0.1
    wrong = motion._replace(flow=motion.flow + error[:, :4], mask=motion.mask + error[:, 4:])
    inside = (..., slice(8, -8), slice(8, -8))  # borders are repeated outwards, so there errors do not show
    found = (blend_of(past, future, wrong) - blend_of(past, future, motion)).square()[inside].mean()
    answer = sensitivity(*warped_along(past, future, motion), motion.mask)
    assert answer[:, channel][inside].mean() * 0.01 == pytest.approx(float(found), rel=0.1)


def test_lambda_lies_between_those_of_the_recipe():
    model = codec()
    slopes = model._slope(torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64))
    assert slopes.tolist() == pytest.approx([64, 128, 256, 1024])


def test_precision_is_bought_at_the_slope(monkeypatch):
    """Twice the worth gives more bits and less error; and lambda * MSE + bits is lower than with nearest symbols."""
    model = codec(trained=False)
    _, target = context(model)

    def cost(worth, *, rdoq=True):
        monkeypatch.setattr("codec.bframe.network.RDOQ", worth)
        frame = coded(model, tape := Estimate("round"), rdoq=rdoq)
        return float((frame - target).square().mean()), float(tape.total()) / target[0, 0].numel()

    (coarse, few), (fine, more), (nearest, most) = cost(1.0), cost(3.0), cost(1e6)
    assert few < more < most and coarse > fine > nearest
    assert 256 * fine + more < 256 * nearest + most
    assert cost(1.0, rdoq=False) == (nearest, most)


def test_padding_is_worth_nothing():
    """Nothing is sent for it: neither motion, nor what the picture lacks; the part that is seen costs as before."""
    model = codec(trained=False)
    known, target = context(model, size=(64, 128))
    seen = torch.zeros(1, 1, 64, 128)
    seen[..., :64] = 1
    strange = torch.where(seen > 0, target, 1 - target)
    bits, frames = [], []
    for wanted, part in ((target, None), (strange, None), (strange, seen)):
        with torch.no_grad():
            frames.append(model(tape := Estimate("round"), known, model.target(known, wanted, weight=part)))
        bits.append(float(tape.total()))
    assert bits[2] < 0.7 * bits[0] < bits[1]
    free = known.prediction.frame
    assert (frames[2].frame - free)[..., 96:].abs().max() < 0.01
    errors = [(done.frame - target)[..., :64].square().mean() for done in frames]
    assert errors[2] < 1.1 * errors[0]
