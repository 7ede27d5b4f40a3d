# SPDX-License-Identifier: MIT
"""Files that appear whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from .errors import InputError, OutputError

PathLike = str | Path
LONGEST_NAME = 255  # bytes of a file name


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
        self.path = self.target if self._direct else _partial(self.target)

    def open(self) -> BinaryIO:
        """The file, empty. OSError if it cannot be made, FileExistsError if there is one of its partial name."""
        return self.path.open("wb" if self._direct else "xb")

    def reserve(self) -> None:
        """Make an empty file for somebody else to write; OSError if the folder forbids it. Does nothing for a pipe."""
        if not self._direct:
            self.open().close()

    def settle(self, file: BinaryIO) -> None:
        """Wait until the disk has the file; else a power cut could leave its new name on an empty one."""
        if not self._direct:
            os.fsync(file.fileno())

    def commit(self) -> None:
        """Give the file its name. OSError if that fails."""
        if not self._direct:
            self.path.replace(self.target)

    def abandon(self) -> None:
        """Remove what was written; harmless after a commit."""
        if not self._direct:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def _partial(target: Path) -> Path:
    """A hidden name beside a target that no other run has; of at most 255 bytes, as file systems ask for."""
    mark = f".{token_hex(4)}.part"
    stem = target.name.encode()[: LONGEST_NAME - len(mark) - 1].decode(errors="ignore")
    return target.with_name(f".{stem}{mark}")


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
        with place.open() as file:
            yield file
            file.flush()
            place.settle(file)
        place.commit()
    except OSError as err:
        raise OutputError(
            f"{path}: cannot be written ({err.strerror or err}); check the directory and its space"
        ) from err
    finally:
        place.abandon()


def target_of(src: str | Path, dst: str | Path | None, suffix: str) -> str:
    """Where the output goes: dst, or src with another suffix. InputError if there is no name, or both are one file."""
    if dst is None:
        if str(src) == "-":
            raise InputError("standard input has no name to derive the output's from; give one with -o")
        return str(Path(src).with_suffix(suffix))
    if str(dst) != "-" and Path(dst).exists() and Path(src).exists() and Path(dst).samefile(src):
        raise InputError(f"{dst}: input and output are the same file; give another one with -o")
    return str(dst)
