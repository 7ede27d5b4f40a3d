# SPDX-License-Identifier: MIT
"""What `codec encode --json` prints on standard output: an object a line."""

import json
from typing import TYPE_CHECKING

from ..batch import FAILED, SKIPPED, Outcome
from ..files import PathLike
from ..progress import Progress

if TYPE_CHECKING:  # torch takes seconds to import
    from .report import Summary


def progress_of(src: PathLike) -> Progress:
    """A progress function that prints how many frames of a video are done."""
    return lambda done, total: _put("progress", source=str(src), done=done, total=total)


def put_summary(src: PathLike, summary: "Summary") -> None:
    """Print what an encode amounted to."""
    _put("summary", source=str(src), **summary.values())


def put_outcome(outcome: Outcome) -> None:
    """Print that one of several files was skipped or refused; the others have a summary."""
    where = {"source": str(outcome.job.src), "output": str(outcome.job.dst)}
    if outcome.what == SKIPPED:
        _put(SKIPPED, **where)
    elif outcome.what == FAILED:
        _put(FAILED, **where, error=outcome.note)


def _put(event: str, **values: object) -> None:
    print(json.dumps({"event": event, **values}) + "\n", end="", flush=True)  # whole, whatever other threads print
