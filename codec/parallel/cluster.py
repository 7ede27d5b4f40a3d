# SPDX-License-Identifier: MIT
"""The machines of a Ray cluster: workers for the same pool that worker processes serve, and whole calls of functions.

A worker is an actor with one thread. Where one dies, alone or with its machine, the pool starts another on what is left
of the cluster, and has the task done again. A call is a task of Ray's, which does it again itself.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from itertools import count
from logging.handlers import BufferingHandler
from pathlib import Path
from socket import gethostname
from typing import Any, TypeVar, cast

import torch

from ..arguments import check_range, checked
from ..bframe.tasks import Task
from ..errors import CodecError, InputError, WorkerError
from ..memory import keep_freed_memory
from ..notes import LOGGER
from ..status import told
from .pool import ATTEMPTS, Pool
from .process import Recipe, WorkerLostError, doer

ResultT = TypeVar("ResultT")
PAUSE = 1.0  # seconds between two looks at a call
GRACE = 10.0  # seconds to stop in
MOST_NOTES = 1000


class Doer:
    """What does tasks on a machine of the cluster, one at a time."""

    def __init__(self, recipe: Recipe) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        self._do = doer(recipe)

    def do(self, task: Task[Any]) -> Any:  # noqa: ANN401
        """What the task returns, or the error that it raises."""
        return self._do(task)


class ClusterWorker:
    """This process's end of an actor, for one thread to use; `stop` may be called by another."""

    def __init__(self, recipe: Recipe, cpus: int) -> None:
        import ray

        self._ray = ray
        self._actor = ray.remote(Doer).options(num_cpus=cpus).remote(recipe)

    def run(self, task: Task[ResultT]) -> ResultT:
        """Do a task there. WorkerLostError if the actor is gone, CodecError as it arose there."""
        try:
            result: ResultT | CodecError = self._ray.get(self._actor.do.remote(task))
        except self._ray.exceptions.RayError as error:
            raise WorkerLostError from error
        if isinstance(result, CodecError):
            raise result
        return result

    def stop(self) -> None:
        """End the actor now."""
        self._ray.kill(self._actor)

    def close(self) -> None:
        """End the actor; nothing of it is left."""
        self.stop()


@contextmanager
def cluster_pool(address: str, recipe: Recipe, workers: int | None) -> Iterator[Pool]:
    """A pool with so many workers on a cluster, by default one for each of its processors that is free.

    InputError as `open_cluster`. Workers that replace lost ones take no processor of their own, which may have gone
    with a machine.
    """
    with open_cluster(address, workers) as cluster:
        started = count()
        with Pool(lambda: ClusterWorker(recipe, int(next(started) < cluster.size)), cluster.size) as pool:
            yield pool


@checked
@contextmanager
def open_cluster(address: str, size: int | None = None) -> "Iterator[Cluster]":
    """The cluster at an address, of which `size` processors are to be used, by default all that are free.

    The address is 'auto' for the cluster that this machine belongs to. InputError if Ray or the cluster is missing, or
    the size is below 1.
    """
    check_range("size", 1 if size is None else size, 1)
    if find_spec("ray") is None:
        raise InputError("--ray needs the package ray; install it with pip install 'ncm-codec[cluster]'")
    import ray

    with nullcontext() if ray.is_initialized() else _joined(address):
        cluster = Cluster(size or max(1, int(ray.available_resources().get("CPU", 1))))
        try:
            yield cluster
        finally:
            cluster.close()


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """This process belongs to a cluster."""
    import ray
    from ray._private import worker as printing

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        remedy = "start one with Ray's own command, ray start, or give the address of one"
        raise InputError(f"--ray {address}: no cluster answers there; {remedy}") from error
    before = printing._worker_logs_enabled
    printing._worker_logs_enabled = False  # or that a machine is lost is told on standard output, where a video may go
    try:
        yield
    finally:
        ray.shutdown()
        printing._worker_logs_enabled = before


class Cluster:
    """Calls of functions on the machines of a cluster, `size` at once: threads make them, each waits for its own."""

    @checked
    def __init__(self, size: int) -> None:
        import ray

        self.size, self._ray = size, ray
        self._task = ray.remote(_called).options(num_cpus=1, max_retries=ATTEMPTS - 1)
        self._lock = threading.Lock()
        self._closed = False
        self._under_way: set[Any] = set()

    def call(
        self,
        function: Callable[..., ResultT],
        *arguments: object,
        paths: Sequence[Path] = (),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> ResultT:
        """What a function returns on some machine, in this process's folder and with one processor.

        It is called again if its machine is lost. `meanwhile` is called each second, and when it is done. InputError if
        one of `paths` is not there, CodecError as it arose there, WorkerError if all machines that tried were lost.
        """
        with self._lock:
            if self._closed:  # or Ray would start a cluster of its own
                raise WorkerError("the cluster was left")
            reference = self._task.remote(Path.cwd(), paths, function, arguments)
            self._under_way.add(reference)
        try:
            ended = False
            while not ended:
                ended = bool(self._ray.wait([reference], timeout=PAUSE)[0])
                meanwhile()
            result, notes = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"{ATTEMPTS} workers died on it; give fewer --workers if memory is short") from error
        finally:
            self._under_way.discard(reference)
        for note in notes:
            LOGGER.warning("%s", note)
        if isinstance(result, CodecError):
            raise result
        return cast(ResultT, result)

    def close(self) -> None:
        """Stop what is under way: first so that it can remove its unfinished files, then at once."""
        with self._lock:
            self._closed = True
        for force in (False, True):
            for reference in list(self._under_way):
                self._ray.cancel(reference, force=force)
            end = time.monotonic() + GRACE
            while self._under_way and time.monotonic() < end:
                time.sleep(PAUSE / 10)


def _called(folder: Path, paths: Sequence[Path], function: Callable[..., Any], arguments: Sequence[Any]) -> Any:  # noqa: ANN401
    """On a machine of the cluster: what a function returns, or its error as a CodecError; and what it told the user."""
    keep_freed_memory()
    with suppress(OSError):  # what is missing is said below
        os.chdir(folder)
    notes = BufferingHandler(MOST_NOTES)
    LOGGER.addHandler(notes)
    try:
        return _result(paths, function, arguments), [record.getMessage() for record in notes.buffer]
    finally:
        LOGGER.removeHandler(notes)


def _result(paths: Sequence[Path], function: Callable[..., Any], arguments: Sequence[Any]) -> Any:  # noqa: ANN401
    for path in paths:
        if not path.exists():
            remedy = "a cluster needs a file system that all its machines share"
            return InputError(f"{path}: is not there on the machine {gethostname()}; {remedy}")
    try:
        return function(*arguments)
    except CodecError as error:
        return error
    except Exception as error:
        return CodecError(told(error)[1])
