# SPDX-License-Identifier: MIT
"""What every executor of tasks offers, and the one that does them in this process.

A task is handed over as a function that makes it, and what must be done before: it is called once that is done.
Tasks that wait and need nothing more are independent of each other, and so can be done together.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from ..arguments import check, check_range
from ..bframe.predictor import Predictor
from ..bframe.tasks import Task, run_all

ResultT = TypeVar("ResultT")
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Pending(Protocol[ResultT_co]):
    """The result of a task, now or later. `concurrent.futures.Future` is one."""

    def done(self) -> bool:
        """Whether it is there, or will never be."""
        ...

    def result(self) -> ResultT_co:
        """The result, waited for; raises what the task raised."""
        ...

    def cancel(self) -> bool:
        """Let it be, if it has not begun."""
        ...


class Executor(Protocol):
    """Does tasks, in any order that their needs allow; what they return does not depend on it."""

    def submit(self, make: Callable[[], Task[ResultT]], after: Sequence[Pending[Any]] = ()) -> Pending[ResultT]:
        """Do the task that `make` returns; it is asked when all of `after` are done."""
        ...

    def wants_more(self, under_way: int) -> bool:
        """Whether another segment should be begun while so many are under way."""
        ...

    @property
    def side_by_side(self) -> int:
        """How many periods should be decided at once, each of which waits for its tasks now and then."""
        ...


class InProcess:
    """Does tasks when a result is asked for, and none that nobody asks for; up to `batch` at once, if they can be.

    What is done besides what was asked for are the oldest tasks that wait and need nothing more.
    """

    def __init__(self, predictor: Predictor, batch: int = 1) -> None:
        check("batch", batch, int)
        check_range("batch", batch, 1)
        self.predictor, self.batch = predictor, batch
        self._waiting: list[Deferred[Any]] = []

    def submit(self, make: Callable[[], Task[ResultT]], after: Sequence[Pending[Any]] = ()) -> "Deferred[ResultT]":
        """A result that is made when it is asked for; then those it needs are asked for, too."""
        deferred: Deferred[ResultT] = Deferred(self, make, after)
        self._waiting.append(deferred)
        return deferred

    def wants_more(self, under_way: int) -> bool:
        """Whether there are too few tasks for a batch; in any case a few segments at a time."""
        return self.batch > 1 and under_way <= self.batch and len(self._waiting) < self.batch

    @property
    def side_by_side(self) -> int:
        """One period at a time."""
        return 1

    def do(self, wanted: "Deferred[Any]") -> None:
        """Have this result made, and others with it."""
        for need in wanted.after:
            need.result()
        others = (one for one in self._waiting if one is not wanted and all(need.done() for need in one.after))
        together = [wanted, *islice(others, self.batch - 1)]
        self._waiting = [one for one in self._waiting if one not in together]
        for one, result in zip(together, run_all([one.make() for one in together], self.predictor), strict=True):
            one.put(result)

    def leave(self, deferred: "Deferred[Any]") -> None:
        """Forget a task."""
        self._waiting = [one for one in self._waiting if one is not deferred]


class Deferred(Generic[ResultT]):
    """A result that is made when it is asked for."""

    def __init__(
        self, executor: InProcess, make: Callable[[], Task[ResultT]], after: Sequence[Pending[Any]] = ()
    ) -> None:
        self.make, self.after = make, after
        self._executor: InProcess | None = executor
        self._result: list[ResultT] = []

    def done(self) -> bool:
        """Whether it is there or will never be."""
        return self._executor is None

    def result(self) -> ResultT:
        """The result, made at the first call."""
        if self._executor is not None:
            self._executor.do(self)
        return self._result[0]

    def cancel(self) -> bool:
        """Never make it, if that has not happened."""
        if self._executor is not None:
            self._executor.leave(self)
            self._executor = None
        return not self._result

    def put(self, result: ResultT) -> None:
        """The result is there; what it was made of is let go."""
        self._result.append(result)
        self._executor, self.make, self.after = None, _made, ()  # a method of ours would keep us alive


def _made() -> Task[Any]:
    raise AssertionError("made once")


class Known(Generic[ResultT]):
    """A result that is there from the beginning."""

    def __init__(self, value: ResultT) -> None:
        self._value = value

    def done(self) -> bool:
        """Always."""
        return True

    def result(self) -> ResultT:
        """The value that was given."""
        return self._value

    def cancel(self) -> bool:
        """There is nothing to cancel."""
        return False


def handed_out(executor: Executor, tasks: Mapping[int, Task[ResultT]]) -> dict[int, Pending[ResultT]]:
    """Independent tasks under way, by what they are known as."""
    return {key: executor.submit(Known(task).result) for key, task in tasks.items()}


def results(executor: Executor, tasks: Iterable[Task[ResultT]]) -> list[ResultT]:
    """The results of independent tasks, in their order."""
    pending = [executor.submit(Known(task).result) for task in tasks]
    return [one.result() for one in pending]


StartedT = TypeVar("StartedT")


def begun_ahead(executor: Executor, begun: Iterable[StartedT], most: int | None = None) -> Iterator[StartedT]:
    """What is begun as it is taken, in order; as many ahead of whoever finishes them as the executor wants.

    No more than `most`, if that is given.
    """
    waiting: list[StartedT] = []
    for one in begun:
        waiting.append(one)
        while waiting and (len(waiting) > (most or len(waiting)) or not executor.wants_more(len(waiting))):
            yield waiting.pop(0)
    yield from waiting


ItemT = TypeVar("ItemT")


def done_ahead(
    executor: Executor, function: Callable[[ItemT], ResultT], items: Iterable[ItemT]
) -> Iterator[tuple[ItemT, ResultT]]:
    """Each item and what a function that waits for tasks makes of it, in order; as many at once as the executor says.

    What was begun when the caller stops asking ends with the executor.
    """
    if executor.side_by_side == 1:
        yield from ((item, function(item)) for item in items)
        return
    threads = ThreadPoolExecutor(executor.side_by_side)
    waiting: deque[tuple[ItemT, Future[ResultT]]] = deque()
    try:
        for item in items:
            waiting.append((item, threads.submit(function, item)))
            if len(waiting) > executor.side_by_side:
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
