import dataclasses

import pytest
import torch
from warm import warm_start

from codec.models.open import load as load_model
from ncm import NcmConfig, build
from ncm.layers import PReLU
from ncm.network import blend_of, time_plane

TINY = NcmConfig(
    widths=(16, 16, 16, 8, 8),
    pyramid=(4, 8, 8, 16),
    motion_features=16,
    quality_input=True,
    context_width=4,
    teacher_width=8,
)
PLAIN = NcmConfig(widths=(16, 16, 16, 8, 8), context_width=4, teacher_width=8)


def pair(height=64, width=96, batch=1):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(2, batch, 3, height, width, generator=generator)


@pytest.mark.parametrize("config", [TINY, PLAIN, NcmConfig(estimator="rife40", widths=(16, 16, 8, 8), teacher_width=0)])
@torch.inference_mode()
def test_shapes(config):
    past, future = pair(batch=2)
    prediction = build(config)(past, future, 0.5)
    assert prediction.frame.shape == (2, 3, 64, 96)
    assert prediction.frame.isfinite().all()
    assert len(prediction.steps) == len(config.widths)
    assert prediction.motion.flow.shape == (2, 4, 64, 96) and prediction.motion.mask.shape == (2, 1, 64, 96)


@torch.inference_mode()
def test_additions_change_nothing_before_training():
    """Matching, pyramid and quality input enter through zeros: the network equals the one without them."""
    torch.manual_seed(0)
    plain = build(PLAIN)
    full = build(TINY)
    missing = full.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys and missing.missing_keys
    past, future = pair()
    expected = plain(past, future, 0.5).frame
    assert torch.equal(full(past, future, 0.5).frame, expected)
    assert torch.equal(full(past, future, 0.5, torch.tensor([0.05])).frame, expected)


@torch.inference_mode()
def test_every_addition_matters_once_its_weights_move():
    past, future = pair()
    for name in ("image", "motion", "quality"):
        network = build(TINY)
        before = network(past, future, 0.5, torch.tensor([0.05])).motion.flow.clone()
        torch.nn.init.normal_(getattr(network.flow.block0, name).weight, std=0.1)
        assert not torch.equal(network(past, future, 0.5, torch.tensor([0.05])).motion.flow, before), name


def test_gradients_reach_every_parameter_but_the_teacher():
    torch.manual_seed(0)
    network = build(TINY)
    for module in network.modules():  # open the zero-initialised doors
        for parameter in module.parameters(recurse=False):
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.01)
    past, future = pair()
    network(past, future, 0.5, torch.tensor([0.1])).frame.mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(name.startswith("flow.teacher") for name in silent), silent


@torch.inference_mode()
def test_the_teacher_sees_the_target():
    torch.manual_seed(0)
    network = build(TINY)
    past, future = pair()
    plane = past.new_full((1, 1, 64, 96), 0.5)
    motion = network(past, future).motion
    one = network.flow.teach(past, future, plane, motion, past)
    other = network.flow.teach(past, future, plane, motion, future)
    assert one.flow.shape == motion.flow.shape and not torch.equal(one.flow, other.flow)


@pytest.mark.parametrize("frames", [(0, 2, 4), (8, 10, 12)])
@torch.inference_mode()
def test_the_trained_teacher_beats_its_student(frames):
    """By 4 dB at least; with the target anywhere else among its inputs it falls behind the student."""
    from helpers import bunny, rgb_psnr

    network = load_model("rife5").network
    past, target, future = bunny(frames=frames)
    student = network(past, future).motion
    teacher = network.flow.teach(past, future, time_plane(past, 0.5), student, target)
    student_psnr, teacher_psnr = (rgb_psnr(blend_of(past, future, motion), target) for motion in (student, teacher))
    assert teacher_psnr > student_psnr + 4


def test_sizes_that_do_not_fit_are_refused():
    past, future = pair(60, 96)
    with pytest.raises(ValueError, match="multiples of 32"):
        build(PLAIN)(past, future)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((256, 416), (128, 208)), ((1088, 1920), (256, 464)), ((1920, 1088), (464, 256)), ((32, 32), (16, 16))],
)
def test_coarse_size_follows_the_short_side(size, expected):
    assert build(TINY).flow.coarse_size(*size) == expected


def test_unknown_config_keys_and_values_are_errors():
    with pytest.raises(TypeError, match="radus"):
        NcmConfig(radus=4)
    with pytest.raises(ValueError, match="estimator"):
        NcmConfig(estimator="raft")
    with pytest.raises(ValueError, match="widths"):
        dataclasses.replace(PLAIN, widths=(8, 8))


@torch.inference_mode()
def test_base_starts_level_with_rife5():
    """Before training, `base` differs from `rife5` only in how its coarse stage resamples: within 0.1 dB."""
    from helpers import bunny, rgb_psnr

    base = warm_start(load_model("base").network.config)
    rife5 = load_model("rife5").network
    past, target, future = bunny(frames=(8, 10, 12))
    difference = rgb_psnr(base(past, future).frame, target) - rgb_psnr(rife5(past, future).frame, target)
    assert abs(difference) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_activation_is_the_librarys_to_the_bit(dtype):
    torch.manual_seed(0)
    layer, x = PReLU(6), torch.randn(2, 6, 9, 7, dtype=dtype)
    layer.weight.data.normal_()
    with torch.no_grad():
        assert torch.equal(layer(x), torch.nn.functional.prelu(x, layer.weight.to(dtype)))
