# SPDX-License-Identifier: MIT
"""Whole files as tasks of a Ray cluster, for the commands that work on several.

A machine needs a file's source and the folder of all outputs, at the same paths as here. In that folder is a hidden one
for the length of the command: a machine that does not find it shares no file system with this one. Each task writes
there how far it is.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from ..batch import Job
from ..progress import Progress

ResultT = TypeVar("ResultT")
Doing = Callable[[Job, Progress], ResultT]  # does a job, and returns what there is to say of it
# Options of a file that is a task: the bytes are those of any number of workers.
ALONE: dict[str, Any] = {"ray": None, "workers": 1, "device": "cpu"}


@contextmanager
def placed(doing: Doing[ResultT], arguments: argparse.Namespace) -> Iterator[tuple[Doing[ResultT], int]]:
    """What does a job where a command's options have it done, and how many jobs there may be at once.

    That is here, one at a time; or on the cluster at `--ray`, as many as it has free processors, or `--workers`.
    InputError if there is no such cluster, or this machine uses another device than its processor.
    """
    if arguments.ray is None:
        yield doing, 1
        return
    from ..device import choose_device  # with torch, which takes seconds that a folder of finished files need not
    from .cluster import open_cluster
    from .open import check_workers

    check_workers(choose_device(arguments.device), arguments.workers, arguments.ray)
    folder = Path(arguments.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=".codec-", dir=folder, ignore_cleanup_errors=True) as board,
        open_cluster(arguments.ray, arguments.workers) as cluster,
    ):

        def there(job: Job, progress: Progress) -> ResultT:
            noted = Path(board) / token_hex(8)
            return cluster.call(
                _noting,
                doing,
                job,
                noted,
                paths=(job.src, Path(board)),
                meanwhile=lambda: _show(noted, progress),
            )

        yield there, cluster.size


def _noting(doing: Doing[ResultT], job: Job, noted: Path) -> ResultT:
    """Do a job, on whatever machine this is, and note in a file how far it is."""

    def progress(done: int, total: int | None) -> None:
        with suppress(OSError):  # no progress is no reason to fail
            noted.write_text(json.dumps([done, total]))

    return doing(job, progress)


def _show(noted: Path, progress: Progress) -> None:
    """Show what was noted, unless it is being written just now."""
    with suppress(OSError, ValueError):
        done, total = json.loads(noted.read_text())
        progress(done, total)
