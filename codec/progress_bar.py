# SPDX-License-Identifier: MIT
"""Progress bars on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich import progress
from rich.console import Console
from rich.text import Text

from .progress import Progress


class _Rate(progress.ProgressColumn):
    """Frames a second, over all that is finished."""

    def render(self, task: progress.Task) -> Text:
        """Empty before the first frame."""
        seconds = task.elapsed or 0.0
        return Text(f"{task.completed / seconds:.2f} fps" if task.completed and seconds else "")


@contextmanager
def progress_bars() -> Iterator[Callable[[str], AbstractContextManager[Progress]]]:
    """What shows bars on standard error, each until its block ends; threads may show theirs side by side.

    A bar has finished frames, frames a second, time taken and time left.
    """
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        _Rate(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        @contextmanager
        def bar(what: str) -> Iterator[Progress]:
            task = bars.add_task(what, total=None)
            try:
                yield lambda done, total: bars.update(task, completed=done, total=total)
            finally:
                bars.remove_task(task)

        yield bar


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A single bar."""
    with progress_bars() as bar, bar(what) as shown:
        yield shown
