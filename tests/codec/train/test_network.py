# SPDX-License-Identifier: MIT
"""The training room on a tiny corpus with a tiny network."""

import json
import shutil
import signal
import tomllib
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from safetensors import safe_open

from codec.cli import main
from codec.errors import CodecError, InputError
from codec.models.open import load as load_model
from codec.train import decoded, losses, precision
from codec.train.config import TrainConfig
from codec.train.data import Corpus, Library, build_cache, find_runs, is_validation
from codec.train.loop import share_of_batches, train_run, train_step
from codec.train.ranks import Ranks
from codec.train.sampling import Sampler, prefetch, validation_items
from codec.train.tasks import load_task
from ncm import NcmConfig
from ncm.ifblock import Motion

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
ALONE = Ranks(CPU)
NETWORK = load_task("network")
TINY = NcmConfig(
    widths=(8, 8, 8, 8, 8),
    pyramid=(4, 4, 4, 4),
    motion_features=4,
    quality_input=True,
    context_width=4,
    teacher_width=8,
)
CONFIG = TrainConfig(
    model=TINY, batch=2, crop=32, warmup=2, steps=4, lr=1e-3, bf16=False, validation_clips=2, loss={"charbonnier": 1.0}
)


def write_clip(path, *, seed, frames=9, size=(66, 64)):
    """A texture that moves two pixels a frame."""
    width, height = size
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height // 4 + 8, width // 4 + 8, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "10", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = texture[2 * index : 2 * index + height, index : index + width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Twelve clips of ten scenes from four sources, decoded."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "train").mkdir()
    rows = ["file,split,scene,source"]
    # Scene 16 falls on the validation side of the split.
    for index, scene in enumerate([16, 16, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]):
        write_clip(root / "train" / f"clip{index:02}.mp4", seed=index)
        rows.append(f"train/clip{index:02}.mp4,train,scene-{scene},owner/repo{scene % 4}@abc:some/clip.mp4")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return build_cache(root / "train", root / "cache").folder


@pytest.fixture
def corpus(cache):
    return Corpus(cache)


@pytest.fixture
def library(corpus):
    return Library(corpus)


# --- the corpus


def test_cache_holds_every_frame_and_its_labels(corpus):
    assert len(corpus.clips) == 12
    assert corpus.clean.size == sum(c.frames * c.frame_bytes for c in corpus.clips)
    clip = corpus.clips[2]
    assert (clip.scene, clip.source, clip.width, clip.height, clip.frames) == ("scene-1", "owner/repo1", 66, 64, 9)
    first, second = corpus.picture(clip, 0), corpus.picture(clip, 1)
    # The texture moves by (1, 2): the same sample sits up and left in the next frame.
    assert (
        np.abs(first.y[2:, 1:].astype(int) - second.y[:-2, :-1]).mean()
        < 8
        < np.abs(first.y.astype(int) - second.y).mean()
    )


def test_a_corpus_without_a_manifest_is_labelled_by_file(tmp_path):
    write_clip(tmp_path / "a.mp4", seed=0, frames=4)
    (clip,) = build_cache(tmp_path, tmp_path / "cache").clips
    assert (clip.scene, clip.source) == ("a", "a")


def test_folders_that_are_no_corpus(tmp_path):
    with pytest.raises(InputError, match="no clips"):
        build_cache(tmp_path, tmp_path / "cache")
    with pytest.raises(InputError, match="no training cache"):
        Corpus(tmp_path)


def test_runs_leave_out_duplicates_and_cuts():
    assert find_runs([5, 5, 5]) == [(0, 3)]
    assert find_runs([5, 5, 0.1, 5, 5, 90, 5]) == [(0, 2), (3, 5)]
    assert find_runs([0.0, 0.0]) == [] and find_runs([]) == []


def test_split_keeps_scenes_whole(corpus, library):
    held_out = {c.scene for c in corpus.clips if is_validation(c)}
    assert held_out == {"scene-16"}
    names = {item.name for item in validation_items(library, 24, multiple=32, decoded=False)}
    assert names == {"clip00.mp4"}  # one clip a scene
    seen = {clip.name for source in Sampler(library, CONFIG).sources for scene in source for clip in scene}
    assert len(seen) == 10 and not seen & {"clip00.mp4", "clip01.mp4"}


# --- sampling


def test_a_batch_is_a_function_of_seed_and_number(library):
    one, again = Sampler(library, CONFIG).batch(3), Sampler(library, CONFIG).batch(3)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.past, Sampler(library, CONFIG).batch(4).past)
    assert not torch.equal(one.past, Sampler(library, replace(CONFIG, seed=1)).batch(3).past)
    assert one.past.shape == (2, 3, 32, 32) and one.time.shape == one.noise.shape == (2,)


def test_times_are_those_of_the_frames(library):
    rng = np.random.default_rng(0)
    unequal = Sampler(library, replace(CONFIG, unequal=1.0))
    times = {round(unequal.draw(rng).time, 4) for _ in range(60)}
    assert times == {0.25, 0.3333, 0.6667, 0.75}
    equal = Sampler(library, replace(CONFIG, unequal=0.0))
    assert {equal.draw(rng).time for _ in range(10)} == {0.5}


def test_extrapolation_takes_both_references_from_one_side(library):
    """Either of two frames in a row and the one after them, in either direction; crops of one draw are the same."""
    between = replace(CONFIG, unequal=1.0)
    beyond = replace(between, model=replace(between.model, task="extrapolation"), teacher=0.0)
    for number in range(8):
        inside, outside = (Sampler(library, config).draw(np.random.default_rng(number)) for config in (between, beyond))
        assert (inside.time, inside.past.digest()) == (outside.time, outside.past.digest())
        assert inside.target.digest() == outside.future.digest() and inside.future.digest() == outside.target.digest()
    (item,) = validation_items(library, 1, multiple=32, decoded=False, task="extrapolation")
    (other,) = validation_items(library, 1, multiple=32, decoded=False)
    assert torch.equal(item.batch.future, other.batch.target) and torch.equal(item.batch.target, other.batch.future)


def test_prefetch_keeps_order_and_hands_on_errors():
    assert list(prefetch(lambda n: n * n, range(10))) == [n * n for n in range(10)]
    with pytest.raises(ZeroDivisionError):
        list(prefetch(lambda n: 1 // n, range(3)))


def test_spans_longer_than_every_clip_are_an_error(library):
    with pytest.raises(InputError, match="usable frames"):
        Sampler(library, replace(CONFIG, unequal=0.0, distances=(0.0,) * 5 + (1.0,))).batch(0)


def test_crops_larger_than_every_clip_are_an_error(library):
    with pytest.raises(InputError, match="96x96"):
        Sampler(library, replace(CONFIG, crop=96))


# --- configuration


def test_unknown_keys_and_wrong_types_are_errors():
    with pytest.raises(InputError, match="'stepps'"):
        TrainConfig.of({"train": {"stepps": 3}}, "x.toml")
    with pytest.raises(InputError, match="'widhts'"):
        TrainConfig.of({"model": {"widhts": [1]}}, "x.toml")
    with pytest.raises(InputError, match=r"\[tarin\]"):
        TrainConfig.of({"tarin": {}}, "x.toml")
    with pytest.raises(InputError, match="steps"):
        TrainConfig.of({"train": {"steps": "many"}}, "x.toml")
    with pytest.raises(InputError, match="laplacien"):
        TrainConfig.of({"train": {"loss": {"laplacien": 1.0}}}, "x.toml")


def test_a_configuration_survives_its_own_tables():
    assert TrainConfig.of(json.loads(json.dumps(CONFIG.tables())), "x") == CONFIG


def test_shipped_configurations_load(pytestconfig):
    paths = sorted((pytestconfig.rootpath / "configs").glob("*.toml"))
    recipes = [p for p in paths if {"train", "codec"} & set(tomllib.loads(p.read_text())) == {"train"}]
    assert {"base.toml", "base-synthesis.toml", "paper-stage1.toml", "paper-stage2.toml"} <= {p.name for p in recipes}
    for path in recipes:
        TrainConfig.load(path)


# --- losses


@pytest.mark.parametrize("name", losses.TERMS)
def test_terms_are_zero_at_equality_and_positive_elsewhere(name):
    a, b = torch.rand(2, 2, 3, 32, 32, generator=torch.manual_seed(0))
    term = losses.TERMS[name]
    assert abs(float(term(a, a))) < 1e-6 < float(term(a, b))
    assert torch.allclose(term(a, b), term(b, a))
    assert float(term(a, a + 0.1)) < float(term(a, a + 0.2))


def motion(flow):
    return Motion(
        torch.full((1, 4, 16, 16), flow, requires_grad=True), torch.zeros(1, 1, 16, 16), torch.zeros(1, 8, 16, 16)
    )


def test_distillation_pulls_the_student_and_not_the_teacher():
    past = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    student, teacher = motion(3.0), motion(0.0)
    loss = losses.distillation([student], teacher, past, past, past)  # the teacher is right: nothing moves
    loss.backward()
    assert loss.item() > 0 and student.flow.grad is not None and teacher.flow.grad is None
    assert (student.flow.grad >= 0).all() and student.flow.grad.any()  # downhill is towards the teacher's zero


def test_distillation_ignores_a_worse_teacher_and_an_equal_one():
    past = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    assert losses.distillation([motion(0.0)], motion(3.0), past, past, past).item() == 0
    assert losses.distillation([motion(1.0)], motion(1.0), past, past, past).item() == 0


# --- runs


def weights_of(run):
    return {k: v.clone() for k, v in run.model.state_dict().items()}


def step_then_stop(last):
    """A training step after which, at step `last`, somebody ends the process."""

    def step(task, run, *args):
        result = train_step(task, run, *args)
        if run.step == last:
            signal.raise_signal(signal.SIGTERM)
        return result

    return step


def test_resuming_is_exact(library, tmp_path, monkeypatch):
    straight = train_run(NETWORK, CONFIG, library, tmp_path / "straight", ranks=ALONE)
    with monkeypatch.context() as patch:
        patch.setattr("codec.train.loop.train_step", step_then_stop(2))
        assert train_run(NETWORK, CONFIG, library, tmp_path / "halves", ranks=ALONE).step == 2
    halves = train_run(NETWORK, CONFIG, library, tmp_path / "halves", ranks=ALONE)
    assert halves.step == straight.step == 4
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, halves.model.state_dict()[name]), name
        assert torch.equal(straight.average[name], halves.average[name]), name


def test_sigterm_saves_between_two_steps(library, tmp_path, monkeypatch):
    monkeypatch.setattr("codec.train.loop.train_step", step_then_stop(1))
    before = signal.getsignal(signal.SIGTERM)
    assert train_run(NETWORK, CONFIG, library, tmp_path / "run", ranks=ALONE).step == 1
    assert NETWORK.resume(tmp_path / "run", CPU).step == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_frozen_parts_do_not_move(library, tmp_path):
    config = replace(CONFIG, freeze=("flow.*",), teacher=0.0, steps=2)
    before = weights_of(NETWORK.start(config, "", CPU))
    after = weights_of(train_run(NETWORK, config, library, tmp_path / "run", ranks=ALONE))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any(name.startswith("flow.") for name in moved)
    with pytest.raises(InputError, match="nothing to train"):
        NETWORK.start(replace(config, freeze=("*",)), "", CPU)


def test_stage_one_trains_the_coarse_blocks_alone(library, tmp_path):
    config = replace(
        CONFIG, supervise="coarse", freeze=("synthesis.*", "flow.block[34].*"), steps=1, warmup=0, bf16=True
    )
    before = weights_of(NETWORK.start(config, "", CPU))
    run = train_run(NETWORK, replace(config, coarse_ratios=(1.0,)), library, tmp_path / "run", ranks=ALONE)
    moved = {n for n, v in weights_of(run).items() if not torch.equal(before[n], v)}
    assert any(n.startswith("flow.block0.") for n in moved)
    assert not any(n.startswith(("synthesis.", "flow.block3.", "flow.block4.")) for n in moved)


def test_rates_and_schedule():
    config = replace(CONFIG, rates={"*quality*": 3.0, "flow.*": 0.5}, warmup=10, steps=110, final=0.1, lr=1.0)
    run = NETWORK.start(config, "", CPU)
    assert sorted(g["factor"] for g in run.optimizer.param_groups) == [0.5, 1.0, 3.0]
    assert sum(len(g["params"]) for g in run.optimizer.param_groups) == len(list(run.model.parameters()))
    rates = []
    for run.step in range(110):
        rates.append(run.rate())
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55) and rates[-1] == pytest.approx(0.1, abs=0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_how_samples_are_grouped_changes_only_rounding(library):
    """The law of `share_of_batches`: batch x accumulate samples make a step, however they are divided."""
    results = []
    for batch, accumulate in ((4, 1), (2, 2), (1, 4)):
        run = NETWORK.start(replace(CONFIG, batch=batch, accumulate=accumulate, clip=1e9), "", CPU)
        results.append(train_step(NETWORK, run, share_of_batches(run, library, ALONE), ALONE))
    for name in ("loss", "student", "teacher", "distillation", "gradient"):
        assert [r[name] for r in results] == pytest.approx([results[0][name]] * 3, rel=1e-4), name


def test_the_average_follows_the_weights_and_is_what_is_validated():
    run = NETWORK.start(replace(CONFIG, ema=0.5), "", CPU)
    name, weight = next(iter(run.model.named_parameters()))
    before, run.step = weight.detach().clone(), 1000
    with torch.no_grad():
        weight += 1.0
    run.update_average()
    assert torch.allclose(run.average[name], before + 0.5)
    with run.averaged() as model:
        assert torch.equal(dict(model.named_parameters())[name], run.average[name])
    assert torch.equal(weight, before + 1.0)
    run.config, run.step = replace(CONFIG, ema=0.999), 0
    run.update_average()  # a young average forgets its start sooner: 1 / 10 of it is left
    assert torch.allclose(run.average[name], before + 0.95)


def test_bf16_is_for_the_network_alone_and_not_emulated(library, monkeypatch):
    results = []
    for bf16, native in ((False, True), (True, True), (True, False)):
        monkeypatch.setattr(precision, "has_bfloat16", lambda device, native=native: native)
        run = NETWORK.start(replace(CONFIG, bf16=bf16), "", CPU)
        results.append(train_step(NETWORK, run, share_of_batches(run, library, ALONE), ALONE)["loss"])
        kept = [
            *run.model.state_dict().values(),
            *run.average.values(),
            *run.optimizer.state_dict()["state"][0].values(),
        ]
        assert {value.dtype for value in kept} == {torch.float32}
    assert results[0] == pytest.approx(results[1], rel=0.05) and results[0] != results[1]
    assert results[2] == results[0]


def test_channels_come_last_before_and_after_resuming(library, tmp_path):
    fresh = NETWORK.start(CONFIG, "", CPU)
    fresh.save(tmp_path)
    for run in (fresh, NETWORK.resume(tmp_path, CPU)):
        for value in (*run.model.parameters(), *run.average.values()):
            assert value.ndim < 4 or value.is_contiguous(memory_format=torch.channels_last)
    batch = Sampler(library, CONFIG).batch(0).to(CPU)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in batch[:3])


def test_sample_pictures_and_curves(library, tmp_path):
    pytest.importorskip("tensorboard")
    train_run(
        NETWORK,
        replace(CONFIG, steps=2, samples_every=2, tensorboard=True, log_every=1),
        library,
        tmp_path,
        ranks=ALONE,
    )
    (picture,) = (tmp_path / "samples").iterdir()
    assert picture.name == "step0000002-clean-clip00.mp4.png"
    with av.open(str(picture)) as container:
        row = next(container.decode(video=0)).to_ndarray(format="rgb24")
    (item,) = validation_items(library, 1, multiple=32, decoded=False)
    assert row.shape == (64, 4 * 66, 3)
    target = (item.batch.target[0, :, :64, :66].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(row[:, 2 * 66 : 3 * 66], target)
    (events,) = tmp_path.glob("events.*")
    assert b"psnr_clean" in events.read_bytes() and b"gradient" in events.read_bytes()


def test_export_loads_strictly_and_can_start_another_run(library, tmp_path):
    run = train_run(NETWORK, replace(CONFIG, steps=1), library, tmp_path / "run", ranks=ALONE)
    path = tmp_path / "out.safetensors"
    assert main(["train", "export", "--run", str(tmp_path / "run"), "-o", str(path)]) == 0
    network = load_model(str(path)).network
    assert network.config == TINY
    for name, value in network.state_dict().items():
        assert torch.equal(value, run.average[name].half().float()), name
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) >= {"config", "steps", "hours", "data"}
    NETWORK.start(replace(CONFIG, init=str(path)), "", CPU)
    bigger = replace(TINY, motion_features=8)
    with pytest.raises(CodecError, match=r"out.safetensors"):
        NETWORK.start(replace(CONFIG, model=bigger, init=str(path)), "", CPU)


def test_init_may_lack_only_what_the_config_allows(tmp_path):
    plain = NETWORK.start(replace(CONFIG, model=replace(TINY, quality_input=False)), "", CPU)
    NETWORK.export(plain, tmp_path / "plain.safetensors")
    config = replace(CONFIG, init=str(tmp_path / "plain.safetensors"))
    with pytest.raises(CodecError, match="quality"):
        NETWORK.start(config, "", CPU)
    NETWORK.start(replace(config, may_be_missing=("*quality*",)), "", CPU)


# --- decoded anchors


@pytest.fixture(scope="module")
def coded(cache, tmp_path_factory):
    """The corpus with one pass of decoded anchors."""
    folder = shutil.copytree(cache, tmp_path_factory.mktemp("coded") / "cache")
    assert decoded.main(["--cache", str(folder.parent)]) == 2  # no cache
    assert main(["train", "decode-passes", "--cache", str(folder), "--passes", "1"]) == 0
    return Corpus(folder)


def test_a_pass_holds_every_frame_and_its_error(coded):
    (version,) = coded.passes
    assert version.samples.size == coded.clean.size
    for clip in coded.clips:
        originals = [coded.picture(clip, i) for i in range(clip.frames)]
        anchors = [coded.picture(clip, i, decoded=0) for i in range(clip.frames)]
        assert 0.001 < version.noise[clip.name] < 0.2
        assert decoded.rgb_error(originals, anchors) == pytest.approx(version.noise[clip.name])
    assert len(set(version.noise.values())) == len(coded.clips)


def test_decoded_references_come_with_their_noise(coded, tmp_path):
    library, config = Library(coded), replace(CONFIG, decoded=1.0, steps=1)
    batch = Sampler(library, config).batch(0)
    assert (batch.noise > 0).all()
    clean = Sampler(library, replace(config, decoded=0.0)).batch(0)
    assert (clean.noise == 0).all()
    half = [Sampler(library, replace(config, decoded=0.5, batch=1)).batch(n).noise.item() for n in range(40)]
    assert 8 < sum(noise > 0 for noise in half) < 32
    train_run(NETWORK, config, library, tmp_path / "run", ranks=ALONE)
    assert {"psnr_clean", "psnr_decoded"} <= {
        r.split(",")[2] for r in (tmp_path / "run" / "log.csv").read_text().split()
    }


def test_decoded_training_without_a_pass_is_an_error(library):
    with pytest.raises(InputError, match="codec train decode-passes"):
        Sampler(library, replace(CONFIG, decoded=0.5))
