"""Training TCM: on a tiny corpus, the small networks at tiny sizes and the published ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corpus import logged, tiny_cache

from codec.anchors.tcm.config import TcmConfig
from codec.anchors.tcm.weights import Tcm, freeze_tcm, is_tcm, load_tcm, save_tcm
from codec.cli import main
from codec.errors import InputError, ModelError, OutputError
from codec.models.registry import find
from codec.train.data import Corpus, Library
from codec.train.loop import share_of_batches, train_run, train_step
from codec.train.ranks import Ranks
from codec.train.sampling import Batch
from codec.train.tasks.tcm import TASK, TcmTraining
from entropy import Write

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Ranks(torch.device("cpu"))
TINY = TcmConfig(
    lambdas=(128.0, 2048.0),
    widths=(4, 6, 8),
    intra_latents=24,
    latents=12,
    motion_latents=8,
    motion_width=6,
    hyper=4,
    coder_width=8,
)
RECIPE = {"batch": 1, "crop": 64, "unequal": 0.0, "distances": (1.0,), "lr": 2e-3, "warmup": 1, "bf16": False}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return Library(Corpus(tiny_cache(tmp_path_factory.mktemp("corpora") / "tiny")))


@pytest.fixture
def config():
    return TcmTraining(codec=TINY, teacher=0.0, steps=4, validation_clips=1, log_every=1, **RECIPE)


def test_training_lowers_the_cost_of_both_parts(config, library, tmp_path):
    train_run(TASK, replace(config, steps=24, batch=2, lr=5e-3, log_every=4, ema=0.9), library, tmp_path, ranks=ALONE)
    for name in ("loss", "cost_i", "cost_p"):
        values = logged(tmp_path, name)
        assert values[-1] < 0.95 * values[0]
    costs = logged(tmp_path, "valid1_cost")
    assert len(costs) == 2 and costs[1] < costs[0]


def test_a_run_goes_on_from_its_checkpoint(config, library, tmp_path):
    train_run(TASK, replace(config, steps=2), library, tmp_path / "parts", ranks=ALONE)
    parts = train_run(TASK, config, library, tmp_path / "parts", ranks=ALONE)
    whole = train_run(TASK, replace(config, steps=4), library, tmp_path / "whole", ranks=ALONE)
    assert parts.step == whole.step == 4 and parts.config.codec == TINY
    again = TASK.resume(tmp_path / "whole", ALONE.device)
    again.config = whole.config = replace(config, steps=6)
    values = [train_step(TASK, s, share_of_batches(s, library, ALONE), ALONE) for s in (whole, again)]
    assert values[0] == values[1]


def test_what_is_exported_writes_what_was_trained(config, library, tmp_path, capsys):
    state = train_run(TASK, config, library, tmp_path, ranks=ALONE)
    path = tmp_path / "mine.safetensors"
    assert main(["train", "export", "--run", str(tmp_path), "-o", str(path)]) == 0
    model = load_tcm(path)
    assert is_tcm(path) and not any(parameter.requires_grad for parameter in model.parameters())
    again = load_tcm(tmp_path / "best.safetensors")
    assert model.config == TINY == again.config
    x = torch.rand(1, 3, 64, 64)
    tape = Write()
    with torch.no_grad():
        model.inter(tape, x, model.intra(tape, x, size=(64, 64), quality=1), quality=1)
    assert tape.finish()
    # Starting from it gives its weights, exact layers too, up to the rounding of what was stored.
    warm = TASK.start(replace(config, init=str(path)), "", ALONE.device).model.state_dict()
    for name, value in state.average.items():
        assert torch.allclose(warm[name], value, atol=1e-3, rtol=1e-3), name
    with pytest.raises(ModelError, match="other sizes"):
        TASK.start(replace(config, init=str(path), codec=TcmConfig()), "", ALONE.device)
    with pytest.raises(OutputError, match="safetensors"):
        save_tcm(model, tmp_path / "codec.pt")
    with pytest.raises(ModelError, match="not the weights of a TCM codec"):
        load_tcm(find("base"))


def test_the_published_networks_learn_one_lambda(config, tmp_path):
    """A step lowers the loss of its own batch; what comes out is saved and loaded, tables and all."""
    torch.manual_seed(0)
    codec = TcmConfig(network="paper", lambdas=(256.0,), intra_width=16)
    config = replace(config, codec=codec, lr=1e-4)
    state = TASK.start(config, "", ALONE.device)
    picture = torch.rand(1, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    batch = Batch(picture, picture.roll(2, 3), picture.roll(4, 3), torch.tensor([0.5]), torch.zeros(1))
    batches = iter([batch] * 4)
    losses = [train_step(TASK, state, batches, ALONE)["loss"] for _ in range(4)]
    assert losses[-1] < losses[0]
    freeze_tcm(state.model)
    save_tcm(state.model, tmp_path / "paper.safetensors")
    again = load_tcm(tmp_path / "paper.safetensors")
    assert isinstance(again, Tcm) and again.config == codec
    assert torch.equal(again.inter.density.cdf, state.model.inter.density.cdf)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[codec]\nwidht = 3", "widht"),
        ("[codec]\nwidths = [1]", "three scales"),
        ('[codec]\nnetwork = "vast"', "paper, lite"),
        ('[codec]\nnetwork = "paper"', "train one for each"),
        ("[tcm]\nbalanced = 1", "balanced"),
        ("[model]\nwidths = [1]", r"\[model\]"),
        ("[codec", "recipe"),
    ],
)
def test_recipes_with_mistakes(tmp_path, text, complaint):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(InputError, match=complaint):
        TcmTraining.load(tmp_path / "recipe.toml")


@pytest.mark.parametrize(("name", "rates"), [("tcm-lite", 4), ("tcm", 1)])
def test_recipes_that_ship(name, rates):
    config = TcmTraining.load(Path(__file__).parents[3] / "configs" / f"{name}.toml")
    assert len(config.codec.lambdas) == rates
