# SPDX-License-Identifier: MIT
"""Files that appear whole or not at all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError


def part_of(path: Path) -> Path:
    """Where a file is written until it is complete: beside its final place, hidden."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes its name only when the block ends well; '-' is standard output.

    OutputError if it cannot be written. On any exception, Ctrl-C too, nothing is left behind.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(path)
    part = part_of(path)
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as err:
        raise OutputError(f"{path}: cannot be written ({err.strerror or err})") from err
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
