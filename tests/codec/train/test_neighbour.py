"""Training the filter that sees neighbouring pictures: on a tiny corpus, on weak and on strong passes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from corpus import logged, tiny_cache
from recipes import FILTER

from codec.bframe.neighbour_filter import PLANES, NeighbourConfig, by_plane, differences, planes_of
from codec.cli import main
from codec.errors import InputError, ModelError
from codec.models.neighbour_file import load_neighbour
from codec.models.network_file import load_network
from codec.models.registry import find
from codec.train import neighbour_samples
from codec.train.data import Corpus, Library
from codec.train.loop import train_run
from codec.train.neighbour_samples import MARGIN, NeighbourSampler, NeighbourTraining, Turn, compared, held_out
from codec.train.ranks import Ranks
from codec.train.sampling import Batch, CropAndTurn, turned
from codec.train.tasks.neighbour import TASK, weighed
from codec.video.colour import unpacked

pytestmark = pytest.mark.usefixtures("one_thread", "weights")

ALONE = Ranks(torch.device("cpu"))


@pytest.fixture
def config():
    return NeighbourTraining(
        codec=NeighbourConfig(width=4, blocks=1),
        **FILTER,
    )


def _sample(sampler, seed):
    rng = np.random.default_rng(seed)
    return sampler.sample(rng, sampler.one(rng))


def test_training_takes_errors_out(config, library, tmp_path):
    train_run(TASK, replace(config, steps=30, lr=1e-2, log_every=10, ema=0.8), library, tmp_path, ranks=ALONE)
    losses, gains = logged(tmp_path, "loss"), logged(tmp_path, "valid_gain")
    assert losses[-1] < 0.8 * losses[0]
    assert gains[0] == 0 and gains[-1] > 0.5  # validated before the first step, and at the end
    assert load_neighbour(tmp_path / "best.safetensors").config == config.codec


def test_corrections_are_learnt_for_a_clip_at_a_time(config, library, tmp_path):
    """What is left of errors by the weights that suit a batch is less than by the filter that it starts from."""
    once = replace(config, steps=30, lr=1e-2, log_every=10, ema=0.8)
    train_run(TASK, once, library, tmp_path / "plain", ranks=ALONE)
    start = str(tmp_path / "plain" / "best.safetensors")
    sizes = replace(config.codec, luma_corrections=2, chroma_corrections=1)
    freeze = tuple(f"{name}.*" for name in ("first", "beside", "gain", "blocks", "last", "shares"))
    recipe = replace(once, codec=sizes, together=True, init=start, freeze=freeze)
    train_run(TASK, recipe, library, tmp_path / "more", ranks=ALONE)
    gains = logged(tmp_path / "more", "valid_gain")
    assert min(gains) > logged(tmp_path / "plain", "valid_gain")[-1]
    before, after = (load_neighbour(tmp_path / name / "best.safetensors") for name in ("plain", "more"))
    assert after.config == sizes and torch.equal(before.last.weight, after.last.weight)


@pytest.mark.parametrize("pictures", [0, 20])
def test_a_batch_for_corrections_is_of_one_decoded_clip(config, library, pictures):
    sampler = NeighbourSampler(library, replace(config, together=True, pictures=pictures))
    first = sampler.one(np.random.default_rng(0))
    more = [sampler.one(np.random.default_rng(n), first) for n in range(20)]
    assert all(one[:2] == first[:2] for one in more) and len({one.frame for one in more}) > 1
    assert len({sampler.one(np.random.default_rng(n)).clip.name for n in range(20)}) > 1


def test_weights_of_a_batch_leave_the_least_error():
    torch.manual_seed(0)
    added = torch.randn(2, PLANES + 4 + 2, 4, 4)
    error = torch.randn(2, PLANES, 4, 4)
    change, uneven = weighed(error, added, (1, 1, 1))
    y, *_ = by_plane(added, (1, 1, 1))
    best = np.linalg.lstsq(y.transpose(0, 1).flatten(1).T.numpy(), unpacked(error)[0].flatten().numpy(), rcond=None)[0]
    assert torch.allclose(unpacked(change)[0][:, 0], (y * torch.tensor(best).view(1, 2, 1, 1)).sum(1), atol=1e-3)
    assert uneven > 0


@pytest.mark.parametrize("flags", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_packed_planes_turn_as_pictures_do(flags, library):
    flip_x, flip_y, transposed = map(bool, flags)
    picture = library.picture(library.clips[0], 0)
    expected = planes_of(turned(picture, CropAndTurn(8, 4, 32, flip_x, flip_y, transposed)))
    assert torch.equal(Turn(4, 2, 16, flip_x, flip_y, transposed)(planes_of(picture)), expected)


def test_crops_are_compared_as_whole_pictures_are(library):
    """But for the grid of blocks, and for what the margin repeats of the picture's edge."""
    here, beside = (planes_of(library.picture(library.clips[0], frame, decoded=0)) for frame in (2, 3))
    turn = Turn(10, 6, 8, False, False, False)
    wide = turn._replace(size=8 + 2 * MARGIN)
    past, future = (wide(F.pad(planes, (MARGIN,) * 4, "replicate")) for planes in (here, beside))
    nothing = torch.zeros_like(past)
    batch = compared(Batch(past, turn(here), torch.cat([future, nothing], 1), torch.zeros(1), torch.ones(1)))
    assert torch.equal(batch.past, turn(here))
    found, none = batch.future.split(PLANES, 1)
    assert not none.any()
    whole = turn(differences(here, [beside])[0])
    still = turn(beside - here)
    assert (found - whole).abs().mean() < 0.3 * (still - whole).abs().mean()


def test_samples_do_not_depend_on_what_was_drawn_before(config, library):
    sampler = NeighbourSampler(library, config)
    first, again = (_sample(sampler, 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    batch = compared(sampler.batch(0))
    assert batch.past.shape == batch.target.shape == (2, PLANES, 16, 16)
    assert batch.future.shape == (2, 4 * PLANES, 16, 16)
    assert (batch.past - batch.target).abs().mean() < 0.02  # noise of three levels, and no motion
    assert torch.equal(batch.noise, torch.full((2,), 0.012))


@pytest.mark.parametrize("network", ["", "small"])
def test_what_is_seen_beside_a_picture_is_found_once(config, tmp_path, network):
    library = Library(Corpus(tiny_cache(tmp_path / "tiny")))
    sizes = replace(config.codec, network=network)
    recipe = replace(config, codec=sizes, pictures=3, missing=0.0, crop=32)
    sampler = NeighbourSampler(library, recipe)
    assert len({(one.clip.name, *one[1:]) for one in sampler.pool}) == 3
    first = sampler.batch(0)
    assert first.future.shape == (2, sizes.seen * PLANES, 16, 16) and first.past.shape == (2, PLANES, 16, 16)
    found = 0

    def find(one):
        nonlocal found
        found += 1
        return usual(one)

    usual, sampler._found = sampler._found, find
    assert all(torch.equal(a, b) for a, b in zip(first, sampler.batch(0), strict=True)) and found == 0
    again = NeighbourSampler(Library(Corpus(tmp_path / "tiny")), recipe).batch(0)  # kept beside the pass
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    one = sampler.pool[0]
    levels = sampler._seen(one).of(one.clip, one.frame, lambda: usual(one))
    assert np.abs(levels - 255 * usual(one)[0].numpy()).max() <= 0.5001


def test_what_was_seen_beside_an_older_pass_is_not_the_new_ones(config, tmp_path):
    cache, recipe = tiny_cache(tmp_path / "tiny"), replace(config, pictures=3)
    before = NeighbourSampler(Library(Corpus(cache)), recipe).batch(0)
    entries = json.loads((cache / "pass0.json").read_text())
    entries = {name: entry | {"noise": entry["noise"] / 2} for name, entry in entries.items()}
    (cache / "pass0.json").write_text(json.dumps(entries))
    decoded = np.fromfile(cache / "pass0.yuv", np.uint8)
    (255 - decoded).tofile(cache / "pass0.yuv")
    after = NeighbourSampler(Library(Corpus(cache)), recipe).batch(0)
    assert torch.allclose(after.past, 1 - before.past)
    assert torch.allclose(after.future, -before.future, atol=0.02)  # as it would be if it had been the first pass


@pytest.mark.parametrize("lacks", [(False, False), (True, False), (True, True)])
def test_neighbours_of_kept_pictures_are_taken_away_too(config, library, monkeypatch, lacks):
    sizes = replace(config.codec, network="small", reach=1)
    monkeypatch.setattr(neighbour_samples, "_drawn_lacks", lambda *_: lacks)
    sampler = NeighbourSampler(library, replace(config, codec=sizes, pictures=20))
    sampler.pool = [one for one in sampler.pool if one.frame == 2]  # of five, and neighbours are two away
    seen = [each.any() for each in sampler.batch(0).future.split(PLANES, 1)]
    assert seen == [not lacks[0], not lacks[1], *[not any(lacks)] * 3]


def test_training_on_kept_pictures_takes_errors_out(config, library, tmp_path):
    recipe = replace(config, steps=30, lr=1e-2, log_every=10, ema=0.8, pictures=3)
    train_run(TASK, recipe, library, tmp_path, ranks=ALONE)
    assert logged(tmp_path, "valid_gain")[-1] > 0.5


def test_neighbours_are_as_far_as_they_were_coded(config, tmp_path):
    """Where even and odd pictures were coded apart, two pictures away; a clip that a pass lacks is not drawn."""
    cache = tiny_cache(tmp_path / "tiny")
    one = replace(config, missing=0.0)
    apart = NeighbourSampler(Library(Corpus(cache)), one)
    found = [_sample(apart, n).future.split(PLANES, 1) for n in range(20)]
    assert not any(part.any() for sample in found for part in sample[2:])  # five frames: none is four away on a side
    entries = json.loads((cache / "pass0.json").read_text())
    entries = {name: entry | {"distance": 1} for name, entry in entries.items() if name != "clip1"}
    (cache / "pass0.json").write_text(json.dumps(entries))
    together = NeighbourSampler(Library(Corpus(cache)), one)
    assert {clip.name for scenes in together.sources for scene in scenes for clip in scene} == {"clip2", "clip3"}
    for n in range(20):
        assert all(part.any() for part in _sample(together, n).future.split(PLANES, 1)[:2])


def test_some_encoders_alone_are_learnt_from(config, tmp_path):
    cache = tiny_cache(tmp_path / "tiny")
    entries = json.loads((cache / "pass0.json").read_text())
    coders = dict(zip(entries, ("svtav1 6", "x265 medium", "svtav1 2", "x264"), strict=True))
    (cache / "pass0.json").write_text(json.dumps({name: entries[name] | {"encoder": coders[name]} for name in coders}))
    library = Library(Corpus(cache))

    def drawn(*encoders):
        recipe = replace(config, encoders=encoders)
        sources = NeighbourSampler(library, recipe).sources
        learnt = {clip.name for scenes in sources for scene in scenes for clip in scene}
        return learnt, [item.name for item in held_out(library, recipe)]

    assert drawn() == ({"clip1", "clip2", "clip3"}, ["clip0-0"])
    assert drawn("svtav1") == ({"clip2"}, ["clip0-0"])
    assert drawn("x265", "x264") == ({"clip1", "clip3"}, [])


def test_a_filter_begins_where_another_stands(config, library, tmp_path):
    state = train_run(TASK, config, library, tmp_path / "run", ranks=ALONE)
    exported = tmp_path / "mine.safetensors"
    TASK.export(state, exported)
    again = TASK.start(replace(config, init=str(exported)), "", ALONE.device)
    assert torch.equal(again.model.last.bias, state.average["last.bias"].half().float())
    wider = replace(config, codec=NeighbourConfig(width=5))
    with pytest.raises(ModelError, match="does not fit"):
        TASK.start(replace(wider, init=str(exported)), "", ALONE.device)
    with pytest.raises(ModelError, match="does not fit"):
        TASK.start(replace(wider, init="small-filtered"), "", ALONE.device)
    with pytest.raises(ModelError, match="neither a B-frame codec with a post-filter"):
        TASK.start(replace(config, init="tiny"), "", ALONE.device)


def test_a_filter_may_learn_to_see_a_prediction(config, library, tmp_path):
    """It begins where one without stands, sees nothing where a neighbour is missing, and keeps its network as it is."""
    state = train_run(TASK, config, library, tmp_path / "run", ranks=ALONE)
    TASK.export(state, tmp_path / "mine.safetensors")
    recipe = replace(config, codec=replace(config.codec, network="small"), init=str(tmp_path / "mine.safetensors"))
    batch = NeighbourSampler(library, replace(recipe, missing=1.0)).batch(0)
    whole = NeighbourSampler(library, replace(recipe, missing=0.0)).batch(0)
    begun = TASK.start(recipe, "", ALONE.device)
    missing, there = (compared(each, begun.model.network).future.split(PLANES, 1)[4:] for each in (batch, whole))
    assert len(there) == 3 and all(planes.any() for planes in there)
    assert not any(planes.any() for planes in missing)
    assert torch.equal(begun.model.last.bias, state.average["last.bias"].half().float())
    trained = train_run(TASK, replace(recipe, steps=2), library, tmp_path / "seeing", ranks=ALONE)
    TASK.export(trained, tmp_path / "seeing.safetensors")
    again = load_neighbour(tmp_path / "seeing.safetensors")
    assert again.config == recipe.codec and again.network.config == load_network(find("small")).config


def test_the_shipped_recipe_starts_where_the_shipped_codec_stands(pytestconfig):
    config = NeighbourTraining.load(pytestconfig.rootpath / "configs" / "neighbour.toml")
    assert config.codec == NeighbourConfig() and config.decoded == 1.0
    assert TASK.start(config, "", ALONE.device).model.last.weight.any()


def test_the_command_makes_strong_passes(tmp_path):
    """They are made where there are none, half of the clips as one sequence; then a step on them."""
    cache = tiny_cache(tmp_path / "tiny")
    for old in cache.glob("pass0.*"):
        old.unlink()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[codec]\nwidth = 4\n[train]\nbatch = 1\ncrop = 32\nvalidation_clips = 1\ndecoded = 1.0\n")
    words = ["train", "neighbour", "--config", recipe, "--data", cache, "--run", tmp_path / "run", "--steps", 1]
    words = [*map(str, words), "--device", "cpu"]
    assert main(words) == 0
    assert main(["train", "decode-passes", "--cache", str(cache), "--passes", "2", "--strong"]) == 0
    passes = Corpus(cache).passes[:2]
    assert [list(made.distance.values()) for made in passes] == [[1, 2, 1, 2], [2, 1, 2, 1]]
    assert all(0.001 < noise < 0.3 for made in passes for noise in made.noise.values())
    assert TASK.resume(tmp_path / "run", ALONE.device).step == 1


def test_clean_corpora_do_not_do(config, tmp_path):
    cache = tiny_cache(tmp_path / "clean")
    (cache / "pass0.json").unlink()
    with pytest.raises(InputError, match="codec train decode-passes"):
        train_run(TASK, config, Library(Corpus(cache)), tmp_path / "run", ranks=ALONE)
