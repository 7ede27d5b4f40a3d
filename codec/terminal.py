# SPDX-License-Identifier: MIT
"""What all commands share: options that are parsed by our own functions, and progress on a terminal."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from .errors import InputError
from .progress import Progress, quiet


def typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of a value whose InputError argparse prints as one of its own."""

    def parsed(text: str) -> Any:  # noqa: ANN401
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    parsed.__name__ = "number" if parse in (int, float) else parse.__name__
    return parsed


@contextmanager
def progress_on_terminal(what: str) -> Iterator[Progress]:
    """A bar with finished frames, frames a second and the time left on a terminal's standard error; else nothing."""
    with bars_on_terminal() as bar, bar(what) as progress:
        yield progress


def bars_on_terminal() -> AbstractContextManager[Callable[[str], AbstractContextManager[Progress]]]:
    """What shows such bars, of several threads too."""
    if not sys.stderr.isatty():
        return nullcontext(no_bar)
    from .progress_bar import progress_bars

    return progress_bars()


def no_bar(what: str) -> AbstractContextManager[Progress]:
    """Where no progress is shown."""
    return nullcontext(quiet)
