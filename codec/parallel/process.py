# SPDX-License-Identifier: MIT
"""A worker process: tasks come in on its standard input, results go out on what was its standard output.

A plain process and two pipes rather than `multiprocessing`: that would import the caller's script anew, which only
works where the script expects it. A worker ends when its standard input does, so it never outlives whoever started it.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from ..bframe.predictor import Predictor
from ..bframe.tasks import Task
from ..errors import CodecError, WorkerError
from ..memory import keep_freed_memory

ResultT = TypeVar("ResultT")
Recipe = Callable[[], Predictor]  # makes what does the tasks; must survive pickling
COMMAND = "from codec.parallel.process import serve; serve()"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class WorkerLostError(Exception):
    """A worker died; the task may be done again by another."""


class ProcessWorker:
    """The parent's end of a worker process, for one thread to use; `stop` may be called by another."""

    def __init__(self, recipe: Recipe) -> None:
        here = os.pathsep.join(os.path.abspath(path) for path in sys.path)  # noqa: PTH100 ("" is this folder)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": here},
        )
        self._send(recipe)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def run(self, task: Task[ResultT]) -> ResultT:
        """Do a task there. WorkerLostError if the process dies, CodecError as it arose there."""
        self._send(task)
        assert self._process.stdout is not None
        try:
            result: ResultT | CodecError = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise WorkerLostError from error
        if isinstance(result, CodecError):
            raise result
        return result

    def stop(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process and close its pipes."""
        self.stop()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was never sent cannot be sent now
                continue

    def _send(self, value: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(value, self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerLostError from error


def serve() -> None:
    """What a worker process does: tasks in, results out, until there is nobody to serve."""
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes to standard error
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, inbox), daemon=True).start()
    do = doer(inbox.get())
    while True:
        pickle.dump(do(inbox.get()), results, pickle.HIGHEST_PROTOCOL)
        results.flush()


def _receive(file: BinaryIO, inbox: "queue.SimpleQueue[Any]") -> None:
    """Put what arrives into the inbox; end the process, busy or not, when nothing can arrive any more."""
    try:
        while True:
            inbox.put(pickle.load(file))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)


def doer(recipe: Recipe) -> Callable[[Task[Any]], Any]:
    """What does tasks by a recipe; errors, those of the recipe too, become results."""
    made: list[Predictor] = []

    def do(task: Task[Any]) -> Any:  # noqa: ANN401
        try:
            if not made:
                made.append(recipe())
            return task.run(made[0])
        except CodecError as error:
            return error
        except Exception as error:  # to be told in one line by the parent
            return WorkerError(f"a worker failed ({type(error).__name__}: {error}); try --workers 1 to see where")

    return do
