# SPDX-License-Identifier: MIT
"""Training from outside: the command line, a process that is killed, and several processes at once."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from helpers import moving, write

from codec.cli import main
from codec.errors import InputError
from codec.train.config import TrainConfig
from codec.train.data import Corpus, Library, build_cache
from codec.train.loop import share_of_batches, train, train_run, train_step
from codec.train.ranks import Ranks, joined
from codec.train.tasks import load_task

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
NETWORK = load_task("network")
STEPS = 10
TINY = f"""
[model]
widths = [8, 8, 8, 8, 8]
pyramid = [4, 4, 4, 4]
motion_features = 4
context_width = 4
teacher_width = 8

[train]
steps = {STEPS}
batch = 2
crop = 32
bf16 = false
warmup = 0
final = 1.0  # a constant rate: where a run ends has no effect on its first steps
validation_clips = 1
checkpoint_minutes = 0.0
log_every = 1
"""
SECOND_RANK = """
import sys
from pathlib import Path
import torch
from codec.train.loop import train

torch.set_num_threads(1)
config, data, run, weights = map(Path, sys.argv[1:])
state = train("network", config, [data], run, steps=4, device=torch.device("cpu"))
torch.save({"model": state.model.state_dict(), "average": state.average}, weights)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with tiny.toml, clips in `data`, and their cache."""
    root = tmp_path_factory.mktemp("training")
    (root / "tiny.toml").write_text(TINY)
    (root / "data").mkdir()
    for number, name in enumerate(("clip0", "clip1", "scene-16")):  # the last is on the validation side of the split
        write(root / "data" / f"{name}.y4m", moving(8, 48, 48, seed=number))
    build_cache(root / "data", root / "cache" / "data")
    return root


def command(place, run, *more):
    words = ["--config", place / "tiny.toml", "--data", place / "data", "--run", run, "--device", "cpu"]
    return ["train", "network", *map(str, words), *more]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- the command line


def test_train_go_on_and_export(place, tmp_path, monkeypatch, capsys):
    run = place / "run"
    assert main(command(place, run, "--steps", "1", "--threads", "1", "--init", "")) == 0
    assert {p.name for p in run.iterdir()} == {"checkpoint.pt", "log.csv", "best.safetensors"}
    assert main(command(place, run, "--steps", "2")) == 0
    assert NETWORK.resume(run, CPU).step == 2
    assert main(["train", "export", "--run", str(run), "-o", str(tmp_path / "mine.safetensors")]) == 0
    # The exported weights are a model: something to start from, and something to code with, by name.
    monkeypatch.setenv("NCM_WEIGHTS", str(tmp_path))
    assert main(command(place, place / "again", "--steps", "1", "--init", "mine")) == 0
    clip, out = str(place / "data" / "clip0.y4m"), str(tmp_path / "out.ncm")
    assert (
        main(["encode", clip, "-o", out, "--mode", "bitfree", "--model", "mine", "--frames", "3", "--no-metrics"]) == 0
    )


BAD = {
    "config missing": ({"--config": "nowhere.toml"}, "nowhere.toml"),
    "config no TOML": ({"--config": "data/clip0.y4m"}, "clip0.y4m"),
    "data missing": ({"--data": "nowhere"}, "nowhere"),
    "no clips": ({"--data": "empty"}, "no clips"),
    "init unknown": ({"--init": "huge"}, "rife5"),
    "init missing": ({"--init": "no.safetensors"}, "no.safetensors"),
    "init damaged": ({"--init": "bad.safetensors"}, "bad.safetensors"),
    "init of another shape": ({"--init": "rife5"}, "does not fit"),
    "run is a file": ({"--run": "tiny.toml"}, "tiny.toml"),
    "device": ({"--device": "abacus"}, "--device"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case, place, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(place)
    (place / "empty").mkdir(exist_ok=True)
    (place / "bad.safetensors").write_bytes(b"nothing")
    changes, expected = BAD[case]
    words = {"--config": "tiny.toml", "--data": "cache/data", "--run": str(tmp_path / "run")} | changes
    assert main(["train", "network", *(word for pair in words.items() for word in pair)]) == 2
    err = capfd.readouterr().err
    assert err.startswith("codec: ") and err.count("\n") == 1 and expected in err


def test_exports_that_cannot_be(place, tmp_path, capfd):
    run = tmp_path / "run"
    for damage in (None, b"", b"not a checkpoint"):
        if damage is not None:
            run.mkdir(exist_ok=True)
            (run / "checkpoint.pt").write_bytes(damage)
        assert main(["train", "export", "--run", str(run), "-o", "x.safetensors"]) == 2
        err = capfd.readouterr().err
        assert "holds no run" in err and err.count("\n") == 1
    NETWORK.start(TrainConfig.load(place / "tiny.toml"), "", CPU).save(run)
    assert main(["train", "export", "--run", str(run), "-o", str(tmp_path / "weights.pt")]) == 2
    assert ".safetensors" in capfd.readouterr().err


# --- a process that is killed


def test_a_killed_run_ends_as_if_nothing_had_happened(place):
    straight = train_run(
        NETWORK,
        TrainConfig.load(place / "tiny.toml"),
        Library(Corpus(place / "cache/data")),
        place / "straight",
        ranks=Ranks(CPU),
    )
    run, moment = place / "killed", random.uniform(1, STEPS - 3)
    kill_at(run, moment, [sys.executable, "-m", "codec.cli", *command(place, run, "--threads", "1")])
    assert 0 < NETWORK.resume(run, CPU).step < STEPS, moment
    assert main(command(place, run)) == 0
    resumed = NETWORK.resume(run, CPU)
    assert resumed.step == STEPS
    assert same(resumed.model.state_dict(), straight.model.state_dict()), moment
    assert same(resumed.average, straight.average), moment


def kill_at(run, moment, words):
    """Start a command and kill it when its run has logged so many steps, and the fraction of one."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    deadline, wanted = time.monotonic() + 120, f"\n{int(moment)},"
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "checkpoint.pt").exists() and wanted in (run / "log.csv").read_text():
            time.sleep(moment % 1 / 10)
            break
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL


# --- several processes


def test_two_processes_are_one_that_accumulates(place, tmp_path, monkeypatch):
    """Both ranks resume, end with the same weights, and those are bit for bit what one process makes of the halves."""
    config, library = TrainConfig.load(place / "tiny.toml"), Library(Corpus(place / "cache/data"))
    run = tmp_path / "run"
    train_run(NETWORK, replace(config, steps=2), library, run, ranks=Ranks(CPU))
    alone = NETWORK.resume(run, CPU)
    alone.config = replace(config, steps=4, batch=1, accumulate=2)
    batches = share_of_batches(alone, library, Ranks(CPU))
    for _ in range(2):
        train_step(NETWORK, alone, batches, Ranks(CPU))

    first, second = train_as_two(place, run, tmp_path / "second.pt", monkeypatch)
    assert first.step == NETWORK.resume(run, CPU).step == 4
    for weights in (second, vars(alone) | {"model": alone.model.state_dict()}):
        assert same(first.model.state_dict(), weights["model"])
        assert same(first.average, weights["average"])


def train_as_two(place, run, weights, monkeypatch):
    """Go on with a run as two processes, of which this one is the first: its state, and the weights of the other."""
    monkeypatch.setattr("codec.train.ranks.PATIENCE", timedelta(seconds=120))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}  # what torchrun sets
    for name, value in (settings | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    config, data = place / "tiny.toml", place / "cache/data"
    words = [sys.executable, "-c", SECOND_RANK, *map(str, (config, data, run, weights))]
    with subprocess.Popen(words, env=os.environ | settings | {"RANK": "1"}) as other:
        first = train("network", config, [data], run, steps=4, device=CPU)
    assert other.returncode == 0
    return first, torch.load(weights, weights_only=True)


def test_ranks_share_every_sample_once(place):
    config, library = TrainConfig.load(place / "tiny.toml"), Library(Corpus(place / "cache/data"))
    run = NETWORK.start(replace(config, batch=4, accumulate=2, steps=2), "", CPU)
    run.step = 1
    whole = torch.cat([b.past for b in share_of_batches(run, library, Ranks(CPU))])
    shares = [[b.past for b in share_of_batches(run, library, Ranks(CPU, rank, 2))] for rank in (0, 1)]
    assert torch.equal(whole, torch.cat([part for pair in zip(*shares, strict=True) for part in pair]))
    with pytest.raises(InputError, match="3 processes"):
        share_of_batches(run, library, Ranks(CPU, 0, 3))


def test_without_torchrun_there_is_one_rank():
    with joined(CPU) as ranks:
        assert (ranks.rank, ranks.count, ranks.first) == (0, 1, True)
        assert ranks.any(True) and not ranks.any(False)


def test_recipes_of_the_paper(pytestconfig):
    """Section 4.1 and 3.4: what is drawn, what is fixed, how long, how fast."""
    folder: Path = pytestconfig.rootpath / "configs"
    one, two = (TrainConfig.load(folder / f"paper-stage{n}.toml") for n in (1, 2))
    for stage, steps in ((one, 230_000), (two, 76_000)):
        assert (stage.steps, stage.batch, stage.crop, stage.lr) == (steps, 64, 256, 3e-4)
        assert (stage.lr * stage.final, stage.weight_decay, stage.distillation) == pytest.approx((3e-5, 1e-3, 0.01))
        assert stage.loss == {"laplacian": 1.0} and stage.teacher == 1.0
        assert (stage.distances, stage.unequal, stage.decoded) == ((1.0,), 0.0, 0.0)
    coarse = {"flow.encode", "flow.pyramid", "flow.motion", "flow.block0", "flow.block1", "flow.block2"}
    fine = {"flow.block3", "flow.block4", "synthesis"}
    assert trained(one) == coarse | {"flow.teacher"} and one.supervise == "coarse"
    assert trained(two) == fine | {"flow.teacher"} and two.supervise == "frame"
    flow = NETWORK.start(replace(two, init=""), "", CPU).model.flow
    sizes = set()
    for ratio in two.coarse_ratios:
        flow.config = replace(two.model, coarse_ratio=ratio)
        sizes.add(flow.coarse_size(256, 256))
    assert sizes == {(64, 64), (128, 128), (256, 256)}


def trained(config):
    """The parts whose parameters are not frozen."""
    model = NETWORK.start(replace(config, init=""), "", CPU).model
    names = [name.split(".") for name, parameter in model.named_parameters() if parameter.requires_grad]
    return {".".join(words[: 2 if words[0] == "flow" else 1]) for words in names}
