"""Training the post-filter of anchors: on a tiny corpus, for the small codec of the tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from corpus import logged, tiny_cache
from recipes import FILTER

from codec.bframe.postfilter import PostFilterConfig
from codec.cli import main
from codec.errors import InputError, ModelError
from codec.models.open import load as load_model
from codec.train.data import Corpus, Library
from codec.train.loop import share_of_batches, train_run
from codec.train.ranks import Ranks
from codec.train.run import read_checkpoint
from codec.train.tasks.postfilter import TASK, AnchorSampler, PostFilterTraining, seen
from codec.video.colour import in_levels, packed, yuv_to_rgb
from codec.video.picture import Colour

pytestmark = pytest.mark.usefixtures("one_thread", "weights")

ALONE = Ranks(torch.device("cpu"))


@pytest.fixture
def config():
    return PostFilterTraining(
        codec=PostFilterConfig(width=4, blocks=1),
        base="small-bframe",
        teacher=0.0,
        **FILTER,
    )


def test_training_takes_errors_out(config, library, tmp_path):
    larger = replace(config, codec=PostFilterConfig(width=8, blocks=1), lr=1e-2)
    train_run(TASK, replace(larger, steps=300, batch=4, log_every=50, ema=0.9), library, tmp_path, ranks=ALONE)
    losses, gains = logged(tmp_path, "loss"), logged(tmp_path, "valid_gain")
    assert losses[-1] < 0.8 * losses[0]
    assert gains[0] == 0 and gains[-1] > 1  # validated before the first step, and at the end


def test_samples_are_decoded_frames_beside_the_same_originals(config, library):
    batch = next(share_of_batches(TASK.start(config, "", ALONE.device), library, ALONE, AnchorSampler))
    error = (batch.past - batch.target).square().mean((1, 2, 3)).sqrt()
    assert torch.all(error > 0.005) and torch.all(error < 0.03)  # noise of three levels, and no motion
    assert torch.equal(batch.noise, torch.full((2,), 0.012))


def test_errors_count_as_they_are_seen_in_rgb(library):
    clip = library.clips[0]
    original, decoded = library.picture(clip, 0), library.picture(clip, 0, decoded=0)
    difference = (packed(in_levels(original)) - packed(in_levels(decoded))) / 255
    rgb = (yuv_to_rgb(original, Colour()) - yuv_to_rgb(decoded, Colour())).square().mean()
    assert float(seen(difference)) * (255 / 219) ** 2 == pytest.approx(float(rgb), rel=0.05)


def test_a_run_goes_on_from_its_checkpoint(config, library, tmp_path):
    train_run(TASK, replace(config, steps=2), library, tmp_path, ranks=ALONE)
    state = train_run(TASK, config, library, tmp_path, ranks=ALONE)
    assert state.step == 4 and len(logged(tmp_path, "loss")) == 4 and state.config == config
    again = TASK.resume(tmp_path, ALONE.device)
    assert all(torch.equal(a, b) for a, b in zip(state.model.parameters(), again.model.parameters(), strict=True))


def test_what_is_exported_is_the_codec_with_the_filter(config, library, tmp_path):
    state = train_run(TASK, config, library, tmp_path / "run", ranks=ALONE)
    exported = tmp_path / "mine.safetensors"
    assert main(["train", "export", "--run", str(tmp_path / "run"), "-o", str(exported)]) == 0
    before, after = load_model("small-bframe").codec, load_model(str(exported)).codec
    assert after.postfilter is not None and before.postfilter is None
    old, new = before.state_dict(), after.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert torch.equal(new["postfilter.last.bias"], state.average["last.bias"])
    assert load_model(str(tmp_path / "run" / "best.safetensors")).codec.postfilter is not None
    more = replace(config, init=str(exported), base=str(exported))  # the next one begins where this one stands
    assert torch.equal(TASK.start(more, "", ALONE.device).model.last.bias, new["postfilter.last.bias"])
    with pytest.raises(ModelError, match="sizes"):
        TASK.start(replace(more, codec=PostFilterConfig(width=5)), "", ALONE.device)
    with pytest.raises(ModelError, match="tiny: predicts B-frames and codes none"):
        state.config = replace(config, base="tiny")
        TASK.export(state, exported)


def test_the_command(cache, tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[codec]\nwidth = 4\n[train]\nbatch = 1\ncrop = 32\nvalidation_clips = 1\ndecoded = 1.0\n")
    words = ["train", "postfilter", "--config", recipe, "--data", cache, "--run", tmp_path / "run"]
    words += ["--base", "small-bframe", "--steps", 1, "--device", "cpu"]
    assert main([str(word) for word in words]) == 0
    state = TASK.resume(tmp_path / "run", ALONE.device)
    assert state.step == 1 and state.config.codec == PostFilterConfig(width=4)
    assert read_checkpoint(tmp_path / "run", ALONE.device)["task"] == "postfilter"
    recipe.write_text("[postfilter]\nbalance = 0.5\n")
    assert main([str(word) for word in words]) == 2
    assert "unknown key 'balance'" in capsys.readouterr().err


def test_clean_corpora_do_not_do(config, tmp_path):
    cache = tiny_cache(tmp_path / "clean")
    (cache / "pass0.json").unlink()
    with pytest.raises(InputError, match="codec train decode-passes"):
        train_run(TASK, config, Library(Corpus(cache)), tmp_path / "run", ranks=ALONE)


def test_samples_do_not_depend_on_what_was_drawn_before(config, library):
    sampler = AnchorSampler(library, config)
    first, again = (sampler.draw(np.random.default_rng(3)) for _ in range(2))
    assert first.past == again.past and first.target == again.target


def test_the_shipped_recipe_loads(pytestconfig):
    config = PostFilterTraining.load(pytestconfig.rootpath / "configs" / "postfilter.toml")
    assert config.codec == PostFilterConfig() and config.base == "bframe" and config.decoded == 1.0
