# SPDX-License-Identifier: MIT
"""What holds for every task there is: a new one is tested by standing in the table."""

import argparse
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import moving, write
from safetensors.torch import load_file

from codec.cli import main
from codec.errors import InputError
from codec.train.command import add_train
from codec.train.config import find_recipe
from codec.train.loop import open_library, share_of_batches, train_run, train_step
from codec.train.ranks import Ranks
from codec.train.tasks import TASKS, load_task

pytestmark = pytest.mark.usefixtures("one_thread", "weights")

ALONE = Ranks(torch.device("cpu"))
TRAIN = {
    "decoded": 1.0,
    "distances": [1.0],
    "unequal": 0.0,
    "steps": 3,
    "batch": 1,
    "crop": 64,
    "validation_clips": 1,
    "bf16": False,
    "teacher": 0.0,
}
SMALL = {"widths": [4, 6, 8], "latents": 12, "coder_width": 8, "hyper": 4}
SIZES = {  # a task that is not here is tested at the sizes of its own defaults
    "network": {"model": {"widths": [8, 8, 8, 8, 8], "context_width": 4, "teacher_width": 8}},
    "bframe": {"codec": SMALL, "bframe": {"base": "tiny"}},
    "postfilter": {"codec": {"width": 4, "blocks": 1}, "postfilter": {"base": "small-bframe"}},
    "loopfilter": {
        "codec": {"width": 4, "blocks": 1},
        "loopfilter": {"base": "small-filtered", "pictures": 2, "side": 64},
    },
    "neighbour": {"codec": {"width": 4, "blocks": 1}},
    "tcm": {"codec": SMALL | {"intra_latents": 12, "motion_latents": 8, "motion_width": 6, "lambdas": [256.0]}},
}


@pytest.fixture(params=TASKS)
def task(request):
    return load_task(request.param)


def recipe_of(task):
    return task.recipe.of({"train": TRAIN} | SIZES.get(task.name, {}), "here")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_train(parser)
    return parser.parse_args(list(map(str, words)))


def test_a_task_is_what_the_table_says(task):
    listed, config = TASKS[task.name], recipe_of(task)
    assert set(config.tables()) == set(listed.tables)
    assert hasattr(config, "base") is bool(listed.base)
    assert task.recipe.of(json.loads(json.dumps(config.tables())), "x") == config
    if listed.rates:
        assert config.given(slope=100.0, steps=None).codec.lambdas == (100.0,)


def test_a_run_is_started_saved_resumed_and_exported(task, library, tmp_path):
    run = task.start(recipe_of(task), "some clips", ALONE.device)
    before = {name: value.clone() for name, value in run.average.items()}
    train_step(task, run, share_of_batches(run, library, ALONE, task.sampler), ALONE)
    run.save(tmp_path)
    again = task.resume(tmp_path, ALONE.device)
    assert (again.config, again.step, again.data) == (run.config, 1, "some clips")
    assert same(run.model.state_dict(), again.model.state_dict()) and same(run.average, again.average)
    assert not same(before, again.average)
    following = [train_step(task, r, share_of_batches(r, library, ALONE, task.sampler), ALONE) for r in (run, again)]
    assert following[0] == following[1] and same(run.average, again.average)
    exported = tmp_path / "out" / "mine.safetensors"
    assert main(["train", "export", "--run", str(tmp_path), "-o", str(exported)]) == 0
    task.export(task.resume(tmp_path, ALONE.device), tmp_path / "by-hand.safetensors")
    assert same(load_file(exported), load_file(tmp_path / "by-hand.safetensors"))


def test_without_held_out_clips_nothing_is_validated(task, library, tmp_path):
    config = replace(recipe_of(task), steps=0, validation_clips=0)
    assert train_run(task, config, library, tmp_path, ranks=ALONE).best == task.floor
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.fixture(scope="module")
def few_clips(tmp_path_factory):
    """A folder of three clips, none of whose names is among those that are held out."""
    folder = tmp_path_factory.mktemp("few") / "clips"
    folder.mkdir()
    for number in range(3):
        write(folder / f"clip{number}.y4m", moving(7, 64, 64, seed=number))
    return folder


def test_a_few_clips_are_enough(task, few_clips, tmp_path, caplog):
    """Those that are trained on validate too, and passes that a recipe needs are made."""
    caplog.set_level("INFO")
    config = replace(recipe_of(task), steps=2, validation_clips=2, validate_every=1)
    library = open_library([few_clips], few_clips.parent / "cache", ranks=ALONE, passes=1, strong=task.strong)
    assert library.too_few and len(library.corpora[0].passes) == 1
    run = train_run(task, config, library, tmp_path, ranks=ALONE)
    assert run.step == 2 and {line.partition(":")[0] for line in caplog.messages} >= {"step 0", "step 1", "step 2"}


def test_from_few_clips_to_a_run_by_one_command(few_clips, tmp_path, monkeypatch, capfd, caplog):
    """It says what it does."""
    caplog.set_level("INFO")
    monkeypatch.setattr("codec.train.loop.PASSES", 1)
    data = ["--data", str(few_clips), "--run", str(tmp_path / "few" / "run"), "--device", "cpu"]
    assert main(["train", "neighbour", "--config", "neighbor", *data]) == 2
    assert "neighbor: no such recipe; give a .toml file, or one of ablations/" in capfd.readouterr().err
    (tmp_path / "mine.toml").write_text("[codec]\nwidth = 4\nblocks = 1\n[neighbour]\n[train]\nsteps = 1\ncrop = 64\n")
    assert main(["train", "neighbour", "--config", str(tmp_path / "mine.toml"), *data]) == 0
    said = "\n".join(caplog.messages)
    assert "coding and decoding its clips 1 times" in said and "3 clips are too few to hold any out" in said
    assert capfd.readouterr().err == ""
    assert (tmp_path / "few" / "run" / "checkpoint.pt").exists()


def test_clips_that_are_too_small_are_refused_before_they_are_coded(few_clips, tmp_path, capfd):
    data = ["--data", str(few_clips), "--run", str(tmp_path / "few" / "run"), "--device", "cpu"]
    assert main(["train", "network", "--config", "base", *data]) == 2
    line = capfd.readouterr().err
    assert "no training clip is 160x160" in line and "largest is 64" in line and "smaller train.crop" in line
    assert not list((tmp_path / "few" / "cache").rglob("pass*"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("batch", 0), ("steps", -1), ("crop", 0), ("log_every", 0), ("validate_every", 0), ("warmup", -1)),
        *(("lr", 0.0), ("lr", math.nan), ("ema", 1.5), ("decoded", -0.5), ("distances", []), ("distances", [0.0])),
    ],
)
def test_values_that_make_no_sense(task, name, value):
    with pytest.raises(InputError, match=rf"train\.{name} is"):
        task.recipe.of({"train": TRAIN | {name: value}} | SIZES.get(task.name, {}), "here")


def test_sizes_of_a_wrong_type_or_that_do_not_fit(task):
    tables = {"train": TRAIN} | SIZES.get(task.name, {})
    table, key = ("model", "widths") if task.name == "network" else ("codec", next(iter(tables["codec"])))
    with pytest.raises(InputError, match=rf"\[{table}\]: {key} is 'x'"):
        task.recipe.of(tables | {table: tables[table] | {key: "x"}}, "here")
    if "latents" in tables.get("codec", {}):
        config = task.recipe.of(tables | {"codec": tables["codec"] | {"motion_latents": 128}}, "here")
        with pytest.raises(InputError, match="128 latents for"):
            task.start(config, "", ALONE.device)


def test_a_recipe_that_describes_a_network_only(tmp_path):
    with pytest.raises(InputError, match=r"no teacher block .*; set train\.teacher = 0\.0"):
        load_task("network").recipe.load(find_recipe("rife"))


def test_checkpoints_that_cannot_be_read(task, tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint\.pt; give the folder"):
        task.resume(tmp_path, ALONE.device)
    for content in (b"", b"PK" + bytes(99)):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read .*; delete it to train anew"):
            task.resume(tmp_path, ALONE.device)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_usual_recipe(name):
    arguments = parsed(name, "--data", "clips")
    config = load_task(name).recipe.load(find_recipe(arguments.config))
    assert config.steps > 0 and arguments.run == Path("runs") / name


def test_recipes_that_ship_have_names(tmp_path, monkeypatch, pytestconfig):
    monkeypatch.chdir(tmp_path)
    here = pytestconfig.rootpath / "configs"
    for name in ("base", "base.toml", "configs/base.toml"):
        assert find_recipe(name).samefile(here / "base.toml")
    assert find_recipe("ablations/no-image-feature").samefile(here / "ablations" / "no-image-feature.toml")
    (tmp_path / "base").touch()
    assert find_recipe("base") == Path("base")


def saved(name, folder, **changes):
    """A checkpoint with some of its content changed, or left out where that is None."""
    task = load_task(name)
    task.start(recipe_of(task), "", ALONE.device).save(folder)
    content = torch.load(folder / "checkpoint.pt", weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, folder / "checkpoint.pt")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": None, "task": None}, "older version; train anew, or export it with the version that made it"),
        ({"format": 1000}, "newer version"),
        ({"task": "chess"}, "'chess'; there are network, bframe"),
    ],
)
def test_checkpoints_of_other_versions_are_refused_in_one_line(tmp_path, capfd, changes, complaint):
    saved("network", tmp_path, **changes)
    assert main(["train", "export", "--run", str(tmp_path), "-o", str(tmp_path / "mine.safetensors")]) == 2
    err = capfd.readouterr().err
    assert err.startswith("codec: ") and complaint in err and err.count("\n") == 1


def test_a_run_of_another_task_is_not_gone_on_with(tmp_path):
    saved("network", tmp_path)
    with pytest.raises(InputError, match="a run of `codec train network`, not of tcm"):
        load_task("tcm").resume(tmp_path, ALONE.device)


# --- the command line


def test_every_task_is_a_command():
    common = ("--config", "x.toml", "--data", "a", "b", "--run", "r")
    for name, listed in TASKS.items():
        more = [*(("--base", "m") if listed.base else ()), *(("--lambda", 256) if listed.rates else ())]
        for word in (name, *listed.aliases):
            assert parsed(word, *common, *more).task == name
    assert parsed("ncm", *common).task == "network"  # its name of old
    for mistake in (("--steps", 0), ("--threads", "many"), ("--lambda", 0), ("--lambda", "inf")):
        with pytest.raises(SystemExit):
            parsed("bframe", *common, *mistake)


def test_parsing_loads_no_torch():
    code = "import argparse, sys; from codec.train.command import add_train; add_train(argparse.ArgumentParser())"
    subprocess.run([sys.executable, "-c", f"{code}; assert not {{'torch', 'rich'}} & {{*sys.modules}}"], check=True)


def test_passes_that_are_there_are_not_made_again(cache, tmp_path, capfd):
    before = (cache / "pass0.yuv").stat().st_mtime_ns
    assert main(["train", "decode-passes", "--cache", str(cache), "--passes", "1"]) == 0
    assert (cache / "pass0.yuv").stat().st_mtime_ns == before and not (cache / "pass1.yuv").exists()
    assert main(["train", "decode-passes", "--cache", str(tmp_path)]) == 2
    assert "no training cache" in capfd.readouterr().err
