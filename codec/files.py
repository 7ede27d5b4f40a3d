# SPDX-License-Identifier: MIT
"""Files that appear whole or not at all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError


class Place:
    """Where a file is written until it is complete: `path`, hidden beside its target.

    A link is written through instead of being replaced; a device or a named pipe is written directly. OutputError if
    the target is a folder.
    """

    def __init__(self, target: str | Path) -> None:
        self.target = Path(target)
        if self.target.is_dir():
            raise OutputError(f"{target}: is a directory; give a file name")
        self._direct = self.target.exists() and not self.target.is_file()
        if not self._direct:
            self.target = self.target.resolve()
        self.path = self.target if self._direct else self.target.with_name(f".{self.target.name}.part")

    def commit(self) -> None:
        """Give the file its name. OSError if that fails."""
        if not self._direct:
            self.path.replace(self.target)

    def abandon(self) -> None:
        """Remove what was written; harmless after a commit."""
        if not self._direct:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes its name only when the block ends well; '-' is standard output.

    OutputError if it cannot be written. On any exception, Ctrl-C too, nothing is left behind.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    place = Place(path)
    try:
        with place.path.open("wb") as file:
            yield file
        place.commit()
    except OSError as err:
        raise OutputError(
            f"{path}: cannot be written ({err.strerror or err}); check the directory and its space"
        ) from err
    finally:
        place.abandon()
