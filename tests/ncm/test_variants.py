"""`large`, `lite`, extrapolation and the ablations: what must hold for each before it is trained."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from codec import CodecError
from codec.models.open import load as load_model
from codec.train.config import TrainConfig
from codec.train.tasks.network import TASK
from ncm import NcmConfig, build
from ncm.layers import UnstridedUp
from ncm.network import blend_of
from ncm.subpixel import _blocks, _picture

CONFIGS = Path(__file__).parents[2] / "configs"
PLAIN = NcmConfig(widths=(16, 16, 16, 8, 8), context_width=4, teacher_width=8)
TINY = replace(PLAIN, pyramid=(4, 8, 8, 16), motion_features=16, quality_input=True)
ABLATIONS = {
    "no-motion-feature": replace(TINY, motion_features=0),
    "no-image-feature": replace(PLAIN, quality_input=True),
    "normal-coarse-to-fine": replace(TINY, fine_matching=True),
    "flow-guided-matching": replace(TINY, matching_along_flow=True),
}
LARGE = replace(TINY, double_resolution=True, flip_average=True)
NEXT = replace(TINY, task="extrapolation")
LITE = NcmConfig(
    widths=(16, 16, 8),
    coarse_ratio=0.25,
    fine_scales=(),
    fine_scales_far=(),
    quality_input=True,
    synthesis="subpixel",
    context_width=8,
    teacher_width=0,
)


def pair(height=64, width=96):
    return torch.rand(2, 1, 3, height, width, generator=torch.Generator().manual_seed(3))


def shipped():
    return sorted(p for p in CONFIGS.rglob("*.toml") if "model" in tomllib.loads(p.read_text()))


def config_of(path):
    table = tomllib.loads((CONFIGS / path).read_text())["model"]
    return NcmConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})


def opened(network):
    """The network with every zero-initialised weight at random."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return network


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(CONFIGS)))
@torch.inference_mode()
def test_shipped_configurations_build_and_run(path):
    frame = build(config_of(path))(*pair()).frame
    assert frame.shape == (1, 3, 64, 96) and frame.isfinite().all()


# --- ablations


@pytest.mark.parametrize("name", ABLATIONS)
@torch.inference_mode()
def test_ablations_start_level_with_the_plain_network(name):
    torch.manual_seed(0)
    plain, ablation = build(PLAIN), build(ABLATIONS[name])
    assert not ablation.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    assert torch.equal(ablation(*pair()).frame, plain(*pair()).frame)


@pytest.mark.parametrize(("height", "scales"), [(64, (1, 1)), (1088, (2, 1))])
@torch.inference_mode()
def test_fine_blocks_see_matching_near_and_far(height, scales):
    torch.manual_seed(0)
    config = replace(ABLATIONS["normal-coarse-to-fine"], context_width=2)
    network, pictures = opened(build(config)), pair(height, 64 if height > 64 else 96)
    network.flow.config = replace(config, coarse_short_side=16 if height > 64 else 256)
    assert network.flow._fine_scales(*pictures.shape[-2:]) == scales
    before = network(*pictures).steps
    for block in (network.flow.block3, network.flow.block4):
        torch.nn.init.normal_(block.image.weight)
        torch.nn.init.normal_(block.motion.weight)
    after = network(*pictures).steps
    assert torch.equal(before[2].flow, after[2].flow)
    assert not torch.equal(before[3].flow, after[3].flow) and not torch.equal(before[4].flow, after[4].flow)


@torch.inference_mode()
def test_along_the_flow_is_around_the_pixel_until_something_moves():
    torch.manual_seed(0)
    fixed, guided = opened(build(TINY)), build(ABLATIONS["flow-guided-matching"])
    torch.nn.init.normal_(fixed.flow.block0.lastconv[0].weight)  # some pixels of motion
    torch.nn.init.normal_(fixed.flow.block1.motion.weight, std=10)
    guided.load_state_dict(fixed.state_dict())
    one, other = fixed(*pair()).steps, guided(*pair()).steps
    first, second = ((a.flow - b.flow).abs().max() for a, b in zip(one[:2], other[:2], strict=True))
    assert first < 1e-3 and second > 1e-2  # the first block knows of no flow yet


# --- large


def test_large_has_the_parameters_of_base():
    base, large = (config_of(f"{name}.toml") for name in ("base", "large"))
    with torch.device("meta"):
        shapes = [{k: v.shape for k, v in build(c).state_dict().items()} for c in (base, large)]
    assert shapes[0] == shapes[1]


@torch.inference_mode()
def test_a_transposed_convolution_without_its_stride_averages_its_phases():
    torch.manual_seed(0)
    layer, x = UnstridedUp(5, 3, 4, stride=2, padding=1), torch.randn(2, 5, 7, 6)
    strided = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1)
    assert torch.allclose(layer(x), F.avg_pool2d(strided, 2), atol=1e-5)


@torch.inference_mode()
def test_features_are_twice_as_fine():
    sizes = {}
    for config in (TINY, LARGE):
        network, seen = build(replace(config, flip_average=False)), []
        for module in (network.flow.block4.convblock, network.synthesis.unet.down0, network.synthesis.contextnet.conv4):
            module.register_forward_hook(lambda _, __, out, seen=seen: seen.append(tuple(out.shape[-2:])))
        network(*pair())
        sizes[config.double_resolution] = set(seen)
    assert sizes[False] == {(16, 24), (32, 48), (4, 6)} and sizes[True] == {(32, 48), (64, 96), (8, 12)}


@torch.inference_mode()
def test_with_flips_a_picture_upside_down_gives_the_answer_upside_down():
    torch.manual_seed(0)
    network, pictures = opened(build(replace(TINY, flip_average=True))), pair()
    upright, turned = network(*pictures), network(*pictures.flip(-2, -1))
    assert torch.allclose(turned.frame.flip(-2, -1), upright.frame, atol=1e-5)
    assert torch.allclose(-turned.motion.flow.flip(-2, -1), upright.motion.flow, atol=1e-4)


def test_training_does_not_flip():
    network = build(replace(TINY, flip_average=True))
    plain = build(TINY)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.train()(*pair()).frame, plain(*pair()).frame)


# --- extrapolation


@pytest.mark.parametrize("time", [0.5, 0.75])
@torch.inference_mode()
def test_the_older_flow_is_the_newer_one_continued(time):
    """F_t0 = dF01 + F_t1 / (1 - time) after every block, dF01 and F_t1 being the sums of what the blocks answered."""
    torch.manual_seed(0)
    network = opened(build(replace(NEXT, coarse_blocks=0, fine_scales=(8, 4, 2, 1, 1))))
    answers = []
    for index in range(5):
        getattr(network.flow, f"block{index}").register_forward_hook(lambda _, __, out: answers.append(out.flow))
    steps = network(*pair(), time).steps
    for index, step in enumerate(steps, start=1):
        difference, newer = sum(answers[:index]).chunk(2, 1)
        assert torch.allclose(step.flow[:, 2:], newer, atol=1e-4)
        assert torch.allclose(step.flow[:, :2], difference + newer / (1 - time), atol=1e-4)


@torch.inference_mode()
def test_the_relation_survives_the_coarse_picture():
    torch.manual_seed(0)
    network = opened(build(NEXT))
    for index in range(5):
        getattr(network.flow, f"block{index}").register_forward_hook(lambda _, __, out: _without_difference(out))
    for step in network(*pair()).steps:
        assert torch.allclose(step.flow[:, :2], 2 * step.flow[:, 2:], atol=1e-4)


def _without_difference(answer):
    return answer._replace(flow=torch.cat([torch.zeros_like(answer.flow[:, :2]), answer.flow[:, 2:]], 1))


@torch.inference_mode()
def test_blocks_that_answer_zero_predict_that_nothing_moves():
    network = build(NEXT)
    for index in range(5):
        for parameter in getattr(network.flow, f"block{index}").lastconv.parameters():
            parameter.zero_()
    still, _ = pair()
    prediction = network(still, still)
    assert not any(step.flow.any() for step in prediction.steps)
    assert torch.allclose(blend_of(still, still, prediction.motion), still, atol=1e-4)


def test_rife40_does_not_extrapolate():
    with pytest.raises(ValueError, match="rife40"):
        NcmConfig(estimator="rife40", widths=(16, 16, 8, 8), task="extrapolation")


# --- lite


def test_lite_starts_from_blocks_of_rife5():
    config = TrainConfig.load(CONFIGS / "lite.toml")
    lite = TASK.start(config, "", torch.device("cpu")).model.state_dict()
    rife5 = load_model("rife5").network.state_dict()
    for block in ("flow.block0.", "flow.block1."):
        for name in (f"{block}conv0.1.0.weight", f"{block}convblock.5.conv.weight", f"{block}convblock.0.beta"):
            assert torch.equal(lite[name], rife5[name])
    first, other = "flow.block1.conv0.0.0.weight", "flow.block1.lastconv.0.bias"
    assert torch.equal(lite[first][:, :7], rife5[first][:, [0, 1, 2, 3, 4, 5, 14]])  # pictures and time, no features
    assert torch.equal(lite[first][:, 7:], rife5[first][:, 15:])  # mask, features of the block before, flow
    assert torch.equal(lite[other], rife5[other][:20])


def test_channels_that_are_not_there_are_an_error():
    config = TrainConfig.load(CONFIGS / "lite.toml")
    for channels in ({"flow.block0.conv0.0.0.weight": [99]}, {"flow.block9.weight": [0]}):
        with pytest.raises(CodecError, match="rife5"):
            TASK.start(replace(config, channels=channels), "", torch.device("cpu"))


@pytest.mark.parametrize("features", [True, False])
@torch.inference_mode()
def test_the_last_block_answers_features_if_wished(features):
    network = build(replace(LITE, last_features=features)).train()
    assert [step.hidden.shape[1] for step in network.flow(*pair(), torch.full((1, 1, 64, 96), 0.5))] == [0, 0, 0]
    assert network.flow.block2.lastconv[0].weight.shape[1] == (52 if features else 20)
    with pytest.raises(ValueError, match="last_features"):
        replace(LITE, last_features=False, teacher_width=8)


@torch.inference_mode()
def test_blocks_need_no_image_features():
    torch.manual_seed(0)
    for config in (replace(LITE, image_features=0), replace(PLAIN, image_features=0)):
        network = opened(build(config))
        assert not [name for name in network.state_dict() if "encode" in name]
        assert network(*pair()).frame.isfinite().all()


def test_pictures_become_blocks_and_blocks_pictures():
    picture = torch.rand(2, 3, 16, 24)
    assert torch.equal(_blocks(picture), F.pixel_unshuffle(picture, 4))
    assert torch.equal(_picture(_blocks(picture)), picture)


@torch.inference_mode()
def test_lite_starts_at_the_blend_and_computes_at_a_quarter():
    torch.manual_seed(0)
    network, seen = build(LITE), set()
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.register_forward_hook(lambda _, __, out: seen.add(out.shape[-2]))
    past, future = pair()
    prediction = network(past, future, 0.5, torch.tensor([0.05]))
    assert torch.allclose(prediction.frame, blend_of(past, future, prediction.motion), atol=1e-6)
    assert max(seen) == 16
    opened(network.synthesis)
    assert not torch.equal(network(past, future).frame, prediction.frame)


def test_lite_tells_every_step_only_where_training_needs_it():
    network = build(LITE)
    assert len(network(*pair()).steps) == 1
    steps = network.train()(*pair()).steps
    assert len(steps) == 3 and all(step.flow.shape == (1, 4, 64, 96) for step in steps)
    assert torch.equal(steps[-1].flow, network.eval()(*pair()).motion.flow)


def test_gradients_reach_every_parameter_of_lite():
    torch.manual_seed(0)
    network = opened(build(LITE)).train()
    network(*pair(), 0.5, torch.tensor([0.1])).frame.mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


# --- what does not fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "prediction"}, "task"),
        ({"synthesis": "gan"}, "synthesis"),
        ({"depths": (8,)}, "depths"),
        ({"fine_matching": True}, "pyramid"),
    ],
)
def test_values_outside_their_choices_are_errors(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)
