# SPDX-License-Identifier: MIT
"""A progress bar on a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

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
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar on standard error with finished frames, frames a second, time taken and time left."""
    columns = (
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        _Rate(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
