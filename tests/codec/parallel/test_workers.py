"""Worker processes: the same bytes for any number of them, also where one dies, and nothing left behind."""

import os
import pickle
import signal
import subprocess
import sys
import time
from fractions import Fraction
from typing import ClassVar

import pytest
from helpers import moving, write
from worker_tasks import Broken, Sum

import codec
from codec.bframe.tasks import ChangeTask, FilterTask, PredictTask, ReadTask, WriteTask
from codec.errors import WorkerError
from codec.models.neighbour_file import load_neighbour
from codec.models.open import averaged, in_tiles, predictor
from codec.models.open import load as load_model
from codec.models.registry import find
from codec.parallel.open import _recipe, executor_for
from codec.parallel.pool import Pool
from codec.parallel.process import ProcessWorker, WorkerLostError
from codec.video.picture import VideoInfo

FINE = {
    "model": "small-bframe",
    "qp": 12,
    "anchor_preset": "ultrafast",
    "intra_period": 4,
    "hashes": True,
    "metrics": False,
}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


class Mortal:
    """A worker of this process that dies of every task."""

    started = 0

    def __init__(self):
        type(self).started += 1

    def run(self, task):
        raise WorkerLostError

    def stop(self):
        pass

    def close(self):
        pass


class Local(Mortal):
    """A worker of this process, which gets tasks and returns results as another process would."""

    done: ClassVar[set[type]] = set()

    def __init__(self, recipe=lambda: None):
        self.predictor = recipe()

    def run(self, task):
        self.done.add(type(task))
        return pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(task)).run(self.predictor)))


FILTERED = {"model": "small-filtered", "neighbours": "small-neighbour", "postfilter": True, "qp": 28}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mode": "bitneed", "gop": "fixed:4"}, {WriteTask, ReadTask}),
        ({"mode": "auto"}, {WriteTask}),
        ({"mode": "bitfree", "gop": "fixed:2", **FILTERED}, {ChangeTask, FilterTask, PredictTask}),
        ({"mode": "auto", **FILTERED}, {ChangeTask, WriteTask}),
    ],
    ids=["bitneed", "auto", "filtered", "auto-filtered"],
)
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, monkeypatch, settings, expected):
    monkeypatch.setattr("codec.parallel.open.ProcessWorker", Local)
    Local.done.clear()
    src = write(tmp_path / "seq.y4m", moving(11, 66, 50, step=3))
    streams, pictures = set(), set()
    for workers in (1, 2, 3):
        codec.encode(src, tmp_path / "s.ncm", workers=workers, **FINE | settings)
        streams.add((tmp_path / "s.ncm").read_bytes())
        codec.decode(tmp_path / "s.ncm", tmp_path / "dec.yuv", workers=workers)
        pictures.add((tmp_path / "dec.yuv").read_bytes())
    assert len(streams) == len(pictures) == 1 and expected <= Local.done
    assert codec.verify(tmp_path / "s.ncm", workers=1) == 11


def test_a_killed_process_changes_nothing(tmp_path, monkeypatch):
    src = write(tmp_path / "seq.y4m", moving(9, 66, 50, step=3))
    codec.encode(src, tmp_path / "alone.ncm", mode="bitneed", workers=1, **FINE)
    pids = []

    class Killed(ProcessWorker):
        """The first one is killed while it works."""

        def run(self, task):
            if not pids:
                os.kill(self.pid, signal.SIGKILL)
            pids.append(self.pid)
            return super().run(task)

    monkeypatch.setattr("codec.parallel.open.ProcessWorker", Killed)
    codec.encode(src, tmp_path / "killed.ncm", mode="bitneed", workers=2, **FINE)
    assert len(set(pids)) >= 2
    assert (tmp_path / "killed.ncm").read_bytes() == (tmp_path / "alone.ncm").read_bytes()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_predict_as_this_process_does():
    info = VideoInfo(64, 48, Fraction(25), Fraction(1, 25))
    neighbours = load_neighbour(find("small-neighbour"))
    bframes = predictor(averaged(in_tiles(load_model("small-filtered"), 256)), info, neighbours)
    theirs = pickle.loads(pickle.dumps(_recipe(bframes)))()
    assert type(theirs) is type(bframes) and theirs.info == info
    assert theirs.model.network.tile == 256 and theirs.model.network.config.flip_average
    assert theirs.anchor_filter.reach == bframes.anchor_filter.reach > 0


def test_errors_of_a_worker_are_those_of_the_task():
    bframes = predictor(load_model("tiny"), VideoInfo(64, 48, Fraction(25), Fraction(1, 25)))
    with executor_for(bframes, 2, 0.0) as pool:
        with pytest.raises(codec.StreamError, match="of ours"):
            pool.submit(lambda: Broken(True)).result()
        with pytest.raises(WorkerError, match=r"ZeroDivisionError: nought.*--workers 1"):
            pool.submit(lambda: Broken(False)).result()


def test_a_task_that_kills_every_worker_is_given_up():
    with Pool(Mortal, 1) as pool, pytest.raises(WorkerError, match="3 workers died on one task"):
        pool.submit(lambda: Sum(())).result()
    assert Mortal.started == 3


def test_tasks_wait_for_what_they_need():
    with Pool(Local, 3) as pool:
        one = pool.submit(lambda: Sum((1, 0)))
        two = pool.submit(lambda: Sum((one.result(), 1)), [one])
        three = pool.submit(lambda: Sum((one.result(), two.result())), [two, one])
        assert [one.result(), two.result(), three.result()] == [1, 2, 3]
        assert pool.wants_more(1) and pool.wants_more(3) and not pool.wants_more(4)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_a_command_that_is_stopped(tmp_path, how):
    src = write(tmp_path / "seq.y4m", moving(40, 160, 96, step=3))
    words = ["encode", src, "-o", tmp_path / "s.ncm", "--mode", "bitfree", "--model", "tiny"]
    words += ["--workers", "2", "--hash"]
    with subprocess.Popen([sys.executable, "-m", "codec.cli", *map(str, words)], stderr=subprocess.PIPE) as command:
        workers = children_of(command, 2)
        command.send_signal(how)
        assert command.wait(60) != 0
        said = command.stderr.read()
        assert len(said.splitlines()) <= 1 and b"Traceback" not in said
    deadline = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)


def children_of(command, count):
    """The process numbers of a command's children, once there are so many."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and command.poll() is None:
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(command.pid)], capture_output=True, text=True)
        if len(pids := found.stdout.split()) >= count:
            return [int(pid) for pid in pids]
        time.sleep(0.05)
    pytest.fail("no workers were started")


def alive(pid):
    """Whether a process runs; one that ended and waits for its parent does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")
