# SPDX-License-Identifier: MIT
"""An executor with several workers. One that dies is replaced, and its task done again.

Each worker has a thread in this process, which hands it one task at a time and waits for the result.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from ..arguments import check_range, checked
from ..bframe.tasks import Task
from ..errors import WorkerError
from .executor import Pending, ResultT
from .process import WorkerLostError

TASKS_AHEAD = 2  # a worker, so that none waits while this process prepares more
TASKS_A_PERIOD = 4  # that a period has at once, about: a schedule of 32 pictures has 8 or 16, then none for a while
ATTEMPTS = 3  # to do a task whose worker dies


class Worker(Protocol):
    """Does one task at a time, elsewhere."""

    def run(self, task: Task[ResultT]) -> ResultT:
        """The result of a task. WorkerLostError if the worker is gone, CodecError as it arose there."""
        ...

    def stop(self) -> None:
        """Give up at once; whoever waits for a result gets WorkerLostError."""
        ...

    def close(self) -> None:
        """Stop, and leave nothing behind."""
        ...


Job = tuple["Future[Any]", Callable[[], Task[Any]]]


class Pool:
    """Does tasks with `count` workers, each begun when there is a task for it; a context manager."""

    @checked
    def __init__(self, start: Callable[[], Worker], count: int) -> None:
        check_range("count", count, 1)
        self.count = count
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._outstanding: set[Future[Any]] = set()
        self._closed = False
        self._seats = [_Seat(start) for _ in range(count)]
        self._threads = [threading.Thread(target=self._serve, args=(seat,), daemon=True) for seat in self._seats]
        for thread in self._threads:
            thread.start()

    def submit(self, make: Callable[[], Task[ResultT]], after: Sequence[Pending[Any]] = ()) -> "Future[ResultT]":
        """Do the task that `make` returns, as soon as all of `after` are done and a worker is free.

        Its result is cancelled if the pool closes first.
        """
        future: Future[ResultT] = Future()
        needs = [one for one in after if isinstance(one, Future)]
        missing = len(needs) + 1

        def one_less(_: object) -> None:
            nonlocal missing
            with self._lock:
                missing -= 1
                ready = not missing
            if ready:
                self._jobs.put((future, make))

        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._outstanding.add(future)
        future.add_done_callback(self._finished)
        for one in needs:
            one.add_done_callback(one_less)
        one_less(None)
        return future

    def wants_more(self, under_way: int) -> bool:
        """Always one segment ahead, and more while workers have too few tasks."""
        return under_way < 2 or (under_way <= self.count and len(self._outstanding) < TASKS_AHEAD * self.count)

    @property
    def side_by_side(self) -> int:
        """So many periods that their tasks keep all workers busy, about."""
        return max(2, self.count // TASKS_A_PERIOD)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all workers at once; tasks that are not done never will be."""
        with self._lock:
            self._closed = True
            outstanding = list(self._outstanding)
        for future in outstanding:
            future.cancel()
        for seat in self._seats:
            seat.stop()
            self._jobs.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # it may be one of them that collects garbage
                thread.join()

    def _finished(self, future: "Future[Any]") -> None:
        with self._lock:
            self._outstanding.discard(future)

    def _serve(self, seat: "_Seat") -> None:
        """What the thread of a worker does, until the pool closes."""
        while not seat.stopped and (job := self._jobs.get()) is not None:
            future, make = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(seat.run(make()))
            except BaseException as error:  # whoever waits for the result is told
                future.set_exception(error)
        seat.leave()


class _Seat:
    """The place of one worker, who may change. Its thread uses it; `stop` may be called by another."""

    def __init__(self, start: Callable[[], Worker]) -> None:
        self._start = start
        self._worker: Worker | None = None
        self._lock = threading.Lock()
        self.stopped = False

    def run(self, task: Task[ResultT]) -> ResultT:
        """The result of a task, whoever does it. WorkerError if it kills all who try."""
        for _ in range(ATTEMPTS):
            try:
                return self._taken().run(task)
            except WorkerLostError:
                self.leave()
            if self.stopped:
                break
        raise WorkerError(f"{ATTEMPTS} workers died on one task; give fewer --workers if memory is short")

    def stop(self) -> None:
        """Stop the worker at once, and take no other."""
        with self._lock:
            self.stopped = True
            if self._worker is not None:
                self._worker.stop()

    def leave(self) -> None:
        """Leave nothing of the worker behind."""
        with self._lock:
            if self._worker is not None:
                self._worker.close()
            self._worker = None

    def _taken(self) -> Worker:
        with self._lock:
            if self.stopped:
                raise WorkerLostError
            if self._worker is None:
                self._worker = self._start()
            return self._worker
