# SPDX-License-Identifier: MIT
"""Opening .ncm files for reading, with errors that name the file."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .errors import InputError, StreamError
from .stream import StreamReader


@contextmanager
def reading(path: str | Path) -> Iterator[tuple[str, StreamReader]]:
    """An .ncm stream's name for messages and its reader; '-' is standard input.

    InputError if the file cannot be opened, StreamError naming it if it is not such a stream.
    """
    name = "standard input" if str(path) == "-" else str(path)
    with ExitStack() as stack:
        try:
            file = sys.stdin.buffer if str(path) == "-" else stack.enter_context(Path(path).open("rb"))
            reader = StreamReader(file)
        except OSError as err:
            raise InputError(f"{name}: cannot be read ({err.strerror}); check the path") from err
        except StreamError as err:
            raise type(err)(f"{name}: {err}") from err
        yield name, reader
