"""Training the B-frame codec: on a tiny corpus, with a tiny codec on a tiny network."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus import logged

from codec.bframe.config import BFrameConfig
from codec.bframe.network import BFrameCodec
from codec.bframe.side_information import anchor_features, luma_planes
from codec.cli import main
from codec.errors import InputError, ModelError, OutputError
from codec.models.bframe_file import load_codec
from codec.models.network_file import save_network
from codec.models.open import load as load_model
from codec.train.loop import share_of_batches, train_run, train_step
from codec.train.ranks import Ranks
from codec.train.sampling import validation_items
from codec.train.tasks import bframe
from codec.train.tasks.bframe import TASK, BFrameTraining, codec_of
from codec.video.colour import rgb_to_yuv
from codec.video.picture import Colour
from entropy import Write
from ncm import NcmConfig, build

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Ranks(torch.device("cpu"))
TINY = BFrameConfig(
    widths=(4, 6, 8), latents=12, coder_width=8, motion_latents=8, motion_width=6, lambdas=(64.0, 512.0, 4096.0)
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Weights of a tiny network that predicts."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "base.safetensors"
    save_network(build(NcmConfig(widths=(8, 8, 8, 8, 8), context_width=4, teacher_width=8, quality_input=True)), path)
    return path


@pytest.fixture
def config(base):
    return BFrameTraining(
        codec=TINY,
        base=str(base),
        teacher=0.0,
        decoded=1.0,
        steps=4,
        batch=2,
        crop=32,
        unequal=0.0,
        distances=(1.0,),
        lr=2e-3,
        warmup=1,
        bf16=False,
        validation_clips=1,
        validation_qualities=(0, 2),
        log_every=1,
    )


def test_training_lowers_the_cost(config, library, tmp_path):
    train_run(
        TASK, replace(config, steps=60, log_every=10, ema=0.9, blocks=False), library, tmp_path / "run", ranks=ALONE
    )
    losses = logged(tmp_path / "run", "loss")
    assert losses[-1] < 0.8 * losses[0]
    assert logged(tmp_path / "run", "valid2_saving")[-1] > 0
    assert all(logged(tmp_path / "run", name) for name in ("bpp_frame", "bpp_motion", "psnr", "psnr_free"))


def test_blocks_are_copied_in_training_unless_the_recipe_says_no(config, library, tmp_path):
    for blocks in (True, False):
        run = tmp_path / str(blocks)
        train_run(TASK, replace(config, steps=1, blocks=blocks), library, run, ranks=ALONE)
        assert any(logged(run, "bpp_blocks")) is blocks


def test_a_run_goes_on_from_its_checkpoint(config, library, tmp_path):
    train_run(TASK, replace(config, steps=2), library, tmp_path, ranks=ALONE)
    state = train_run(TASK, config, library, tmp_path, ranks=ALONE)
    assert state.step == 4 and len(logged(tmp_path, "loss")) == 4
    assert state.config == config


def test_a_checkpoint_holds_everything(config, library, tmp_path):
    state = train_run(TASK, config, library, tmp_path, ranks=ALONE)
    again = TASK.resume(tmp_path, ALONE.device)
    assert again.config == state.config and again.step == 4
    values = [train_step(TASK, s, share_of_batches(replace_steps(s, 6), library, ALONE), ALONE) for s in (state, again)]
    assert values[0] == values[1]
    assert all(torch.equal(a, b) for a, b in zip(state.model.parameters(), again.model.parameters(), strict=True))
    assert all(torch.equal(state.average[name], again.average[name]) for name in state.average)


def replace_steps(state, steps):
    state.config = replace(state.config, steps=steps)
    return state


def test_frozen_parts_stay(config, library, tmp_path):
    before = TASK.start(config, "", ALONE.device).model.state_dict()
    after = train_run(TASK, replace(config, freeze=("motion.*",)), library, tmp_path, ranks=ALONE).model.state_dict()
    assert torch.equal(before["motion.down.0.0.weight"], after["motion.down.0.0.weight"])
    assert not torch.equal(before["frame.down_half.0.0.weight"], after["frame.down_half.0.0.weight"])


def test_what_is_exported_writes_streams(config, library, tmp_path):
    state = train_run(TASK, config, library, tmp_path, ranks=ALONE)
    TASK.export(state, tmp_path / "codec.safetensors")
    with pytest.raises(ModelError, match=r"'base', fingerprint .* not installed"):
        load_codec(tmp_path / "codec.safetensors")
    shutil.copy(config.base, tmp_path / "network.safetensors")  # beside it, it is found under any name
    codec = load_codec(tmp_path / "codec.safetensors")
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    (item,) = validation_items(library, 1, multiple=codec.multiple, decoded=True)
    past, target, future, at, noise = item.batch
    tape = Write()
    with torch.no_grad():
        exact = bframe.exact_of(past, future, noise)
        context = codec.context(past, future, time=at, noise=noise, quality=1, exact=exact)
        codec(tape, context, codec.target(context, target))
    assert tape.finish()
    with pytest.raises(OutputError, match="safetensors"):
        TASK.export(state, tmp_path / "codec.pt")
    with pytest.raises(ModelError, match="not the weights of a B-frame codec"):
        load_codec(Path(config.base))
    exported = tmp_path / "again.safetensors"
    assert main(["train", "export", "--run", str(tmp_path), "-o", str(exported)]) == 0
    assert load_model(str(exported)).codec is not None


def test_features_of_training_are_those_of_the_codec(config, library):
    """There they come from the anchors' planes, here from the RGB of these."""
    state = TASK.start(config, "", ALONE.device)
    past, _, future, _, noise = next(share_of_batches(state, library, ALONE))
    exact = bframe.exact_of(past, future, noise)
    for number in range(len(past)):
        planes = [luma_planes([rgb_to_yuv(x[number : number + 1], Colour(), 8).y], 8) for x in (past, future)]
        alone = anchor_features(planes[0], planes[1], noise[number : number + 1])
        assert all(torch.equal(a, b[number : number + 1]) for a, b in zip(alone, exact, strict=True))


JOINT = {"joint": True, "freeze": ("network.flow.teacher.*",), "decoded": 0.5, "batch": 4, "lr": 1e-3}


def test_the_network_learns_beside_the_codec(config, library, base, tmp_path):
    before = load_model(str(base)).network.state_dict()
    state = train_run(TASK, replace(config, **JOINT), library, tmp_path, ranks=ALONE)
    after = codec_of(state.model).network.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert any(name.startswith("synthesis.") for name in moved) and any(name.startswith("flow.") for name in moved)
    assert not any("teacher" in name for name in moved)
    assert len(logged(tmp_path, "student")) == 4
    again = TASK.resume(tmp_path, ALONE.device)
    assert all(torch.equal(a, b) for a, b in zip(state.model.parameters(), again.model.parameters(), strict=True))
    values = [train_step(TASK, s, share_of_batches(replace_steps(s, 6), library, ALONE), ALONE) for s in (state, again)]
    assert values[0] == values[1]


def test_what_is_coded_does_not_teach_the_network(config, library, base, tmp_path):
    before = load_model(str(base)).network.state_dict()
    silent = replace(config, **JOINT, loss={"charbonnier": 0.0}, weight_decay=0.0)
    after = train_run(TASK, silent, library, tmp_path, ranks=ALONE).model.codec.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_samples_with_decoded_references_are_coded(config, library):
    state = TASK.start(replace(config, **JOINT), "", ALONE.device)
    batch = next(share_of_batches(state, library, ALONE))
    quality = torch.arange(4) % 3
    for noise, coded in (([0.1, 0.0, 0.2, 0.0], [0, 2]), ([0.0] * 4, [0, 1, 2, 3])):
        mixed = batch._replace(noise=torch.tensor(noise))
        prediction = codec_of(state.model).network(mixed.past, mixed.future, mixed.time, mixed.noise)
        chosen, qualities, known = bframe._to_be_coded(mixed, quality, prediction)
        assert torch.equal(chosen.target, batch.target[coded]) and torch.equal(qualities, quality[coded])
        assert torch.equal(known.frame, prediction.frame[coded]) and not known.motion.flow.requires_grad


def test_references_are_filtered_as_they_are_shown(config, library, tmp_path):
    sizes = replace(TINY, postfilter_width=4)
    state = TASK.start(replace(config, codec=sizes, filtered=1.0, freeze=("postfilter.*",)), "", ALONE.device)
    codec = codec_of(state.model)
    batch = next(share_of_batches(state, library, ALONE))
    with torch.no_grad():
        codec.postfilter.last.bias.fill_(2 / 255)
    batch = batch._replace(noise=torch.full_like(batch.noise, 0.5))
    shown = bframe.filtered(codec, batch, torch.tensor([False, True]), bf16=False)
    assert torch.equal(shown.past[0], batch.past[0]) and not torch.equal(shown.past[1], batch.past[1])
    assert shown.noise.tolist() == [0.5, pytest.approx(0.5 * bframe.LEFT)]
    levels = [rgb_to_yuv(pictures.future[1:], Colour(), 8).y.astype(int) for pictures in (batch, shown)]
    assert (levels[1] - levels[0] == 1).all()  # 2 levels, by a noise of 1/2
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    train_step(TASK, state, share_of_batches(state, library, ALONE), ALONE)
    moved = {name for name, value in codec.state_dict().items() if not torch.equal(before[name], value)}
    assert moved and not any("postfilter" in name for name in moved)


def test_filtered_references_need_a_filter(config, library, tmp_path):
    with pytest.raises(ModelError, match="postfilter_width"):
        train_run(TASK, replace(config, filtered=1.0), library, tmp_path / "run", ranks=ALONE)


def test_lambdas_follow_the_noise_of_the_references(config):
    noise = torch.tensor([0.0, (bframe.TRADED / 512) ** 0.5, 0.5])
    lambdas = config.codec.lambdas
    assert bframe.drawn_qualities(np.random.default_rng(0), noise, lambdas, 0.5).tolist() == [2, 1, 0]
    every = {int(q) for n in range(9) for q in bframe.drawn_qualities(np.random.default_rng(n), noise, lambdas, 0.0)}
    assert every == {0, 1, 2}


def test_a_network_that_learnt_is_exported_beside_its_codec(config, library, tmp_path):
    train_run(TASK, replace(config, **JOINT, steps=1), library, tmp_path / "run", ranks=ALONE)
    exported = tmp_path / "weights" / "mine.safetensors"
    assert main(["train", "export", "--run", str(tmp_path / "run"), "-o", str(exported.with_suffix(".pt"))]) == 2
    assert not exported.parent.exists()
    assert main(["train", "export", "--run", str(tmp_path / "run"), "-o", str(exported)]) == 0
    network = load_model(str(exported.with_name("mine-base.safetensors"))).network
    codec = load_codec(exported)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), codec.network.parameters(), strict=True))


def test_the_command_trains_one_lambda(base, cache, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[codec]\nwidths = [4, 6, 8]\nlatents = 12\ncoder_width = 8\n"
        "[train]\nbatch = 1\ncrop = 32\nunequal = 0.0\ndistances = [1.0]\nvalidation_clips = 1\ndecoded = 1.0\n"
    )
    words = ["train", "bframe", "--config", recipe, "--data", cache, "--run", tmp_path / "run", "--base", base]
    assert main([str(w) for w in (*words, "--lambda", 256, "--steps", 1, "--device", "cpu")]) == 0
    state = TASK.resume(tmp_path / "run", ALONE.device)
    assert state.step == 1 and state.config.codec.lambdas == (256.0,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[codec]\nwidht = 3", "widht"),
        ("[codec]\nwidths = [1]", "three scales"),
        ("[bframe]\nbalanced = 1", "balanced"),
        ("[train]\nbatches = 3", "batches"),
        ("[model]\nwidths = [1]", r"\[model\]"),
        ("[codec", "recipe"),
    ],
)
def test_recipes_with_mistakes(tmp_path, text, complaint):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=complaint):
        BFrameTraining.load(tmp_path / "recipe.toml")


@pytest.mark.parametrize("name", ["bframe", "bframe-filtered", "bframe-joint", "bframe-lambda256", "bframe-paper"])
def test_recipes_that_ship(name, base):
    config = BFrameTraining.load(Path(__file__).parents[3] / "configs" / f"{name}.toml")
    assert config.codec.motion_latents and max(config.validation_qualities) < len(config.codec.lambdas)
    codec = BFrameCodec(config.codec, load_model(str(base)).network)  # sizes fit each other
    assert sum(weights.numel() for weights in codec.parameters()) > 100_000


def test_a_run_that_is_none(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        TASK.resume(tmp_path, ALONE.device)
