"""Training the in-loop filter of B-frames: on a tiny corpus, for the small codec of the tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from corpus import logged, tiny_cache
from recipes import FILTER

from codec.bframe.loop_filter import LoopFilterConfig, nearest
from codec.bframe.postfilter import PLANES
from codec.cli import main
from codec.errors import InputError, ModelError
from codec.models.neighbour_file import load_neighbour
from codec.models.open import load as load_model
from codec.models.registry import find
from codec.train import loop_filter_samples
from codec.train.data import Corpus, Library
from codec.train.loop import train_run
from codec.train.loop_filter_samples import LoopFilterSampler, LoopFilterTraining
from codec.train.ranks import Ranks
from codec.train.tasks.loopfilter import TASK

pytestmark = pytest.mark.usefixtures("one_thread", "weights")

ALONE = Ranks(torch.device("cpu"))


@pytest.fixture
def config():
    sizes = LoopFilterConfig(width=4, blocks=1)
    drawn = {"distances": (1.0,), "unequal": 0.0, "teacher": 0.0}
    return LoopFilterTraining(codec=sizes, base="small-filtered", pictures=3, side=32, **drawn, **FILTER)


@pytest.fixture
def library(tmp_path):
    """A corpus of its own: B-frames are kept beside it."""
    return Library(Corpus(tiny_cache(tmp_path / "tiny")))


def test_training_takes_errors_out(config, library, tmp_path):
    larger = replace(config, codec=LoopFilterConfig(width=8, blocks=1), lr=1e-2, ema=0.9)
    train_run(TASK, replace(larger, steps=200, batch=2, log_every=50), library, tmp_path / "run", ranks=ALONE)
    losses, gains = logged(tmp_path / "run", "loss"), logged(tmp_path / "run", "valid_gain")
    assert losses[-1] < 0.9 * losses[0]
    assert gains[0] == 0 and gains[-1] > 0.1


def test_b_frames_are_coded_once(config, library, monkeypatch):
    first = LoopFilterSampler(library, config).batch(0)
    monkeypatch.setattr(loop_filter_samples, "coded", None)  # not called any more
    every = [LoopFilterSampler(library, config).batch(number) for number in (0, 0)]
    for again in every:
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert every[0].past.shape == (2, PLANES, 16, 16) and every[0].future.shape == (2, 3 * PLANES, 16, 16)
    with pytest.raises(TypeError):  # those of another seed are others
        LoopFilterSampler(library, replace(config, seed=1)).batch(0)


def test_a_sample_is_a_b_frame_beside_its_source(config, library):
    """Time runs both ways, and so the references change places; the prediction does not."""
    sampler = LoopFilterSampler(library, config)
    known = sampler.kept.of(0, lambda: sampler._coded(0))
    sampler.config = replace(config, pictures=1)
    drawn = [sampler.sample(np.random.default_rng(n)).future for n in range(9)]
    first, last = (float((planes - known.decoded).sum()) for planes in (known.past, known.predicted))
    forwards = [float(each[:, :PLANES].sum()) == pytest.approx(first, abs=1e-3) for each in drawn]
    assert set(forwards) == {True, False}
    assert all(float(each[:, -PLANES:].sum()) == pytest.approx(last, abs=1e-3) for each in drawn)
    error = (known.decoded - known.source).square().mean().sqrt()
    assert 0 < error < 0.05 and (known.predicted - known.decoded).abs().max() > 0
    assert known.noise > 0


def test_it_starts_from_what_a_filter_makes_of_the_nearest(config):
    known = load_neighbour(find("small-neighbour"))
    sizes = LoopFilterConfig(width=known.config.width, blocks=known.config.blocks)
    model = TASK.start(replace(config, init="small-neighbour", codec=sizes), "", ALONE.device).model
    torch.manual_seed(0)
    planes, past, future, predicted = torch.rand(4, 1, PLANES, 16, 24)
    expected = nearest(known)(planes, [past - planes, future - planes], torch.tensor([0.02]))
    got = model(planes, [past - planes, future - planes, predicted - planes], torch.tensor([0.02]))
    assert expected.any() and torch.allclose(got, expected, atol=1e-6)
    with pytest.raises(ModelError, match="does not fit"):
        TASK.start(replace(config, init="small-neighbour", codec=LoopFilterConfig(width=9)), "", ALONE.device)
    with pytest.raises(ModelError, match="neither"):
        TASK.start(replace(config, init="small-bframe"), "", ALONE.device)


def test_what_is_exported_is_the_codec_with_the_filter(config, library, tmp_path):
    state = train_run(TASK, config, library, tmp_path / "run", ranks=ALONE)
    exported = tmp_path / "mine.safetensors"
    assert main(["train", "export", "--run", str(tmp_path / "run"), "-o", str(exported)]) == 0
    before, after = load_model("small-filtered").codec, load_model(str(exported)).codec
    old, new = before.state_dict(), after.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert torch.equal(new["loop_filter.last.bias"], state.average["last.bias"])
    more = replace(config, init=str(exported), base=str(exported))  # the next one begins where this one stands
    assert torch.equal(TASK.start(more, "", ALONE.device).model.last.bias, new["loop_filter.last.bias"])
    with pytest.raises(ModelError, match="tiny: predicts B-frames and codes none"):
        train_run(TASK, replace(config, base="tiny"), library, tmp_path / "other", ranks=ALONE)


@pytest.mark.parametrize("wrong", [{"pictures": 0}, {"side": 48}, {"side": 32, "crop": 64}])
def test_senseless_sizes_are_refused(config, wrong):
    with pytest.raises(InputError, match="pictures from 1"):
        replace(config, **wrong)
