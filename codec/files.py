# SPDX-License-Identifier: MIT
"""Files that appear whole or not at all, and never in place of what is read."""

import atexit
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from .arguments import check
from .errors import InputError, OutputError

PathLike = str | Path
LONGEST_NAME = 255  # bytes of a file name
STDIN, STDOUT = 0, 1  # what '-' stands for

# Partial files of this process. A second signal may end it before all of them are removed.
_partial_files: set[Path] = set()


@atexit.register
def _remove_partial_files() -> None:
    for path in _partial_files:
        with suppress(OSError):
            path.unlink()


class Place:
    """Where a file is written until it is complete: `path`, hidden beside its target.

    A link is written through instead of being replaced; a device or a named pipe is written directly. OutputError if
    the target is a folder, or is read-only and not to be replaced by `force`.
    """

    def __init__(self, target: PathLike, *, force: bool = False) -> None:
        self.given, self.target = target, Path(target)
        try:
            mode = self.target.stat().st_mode
        except FileNotFoundError:
            mode = stat.S_IFREG | stat.S_IWUSR
        except (OSError, ValueError) as error:
            raise unwritable(target, error) from error
        if stat.S_ISDIR(mode):
            raise OutputError(f"{target}: is a directory; give a file name")
        if not force and is_read_only(self.target):
            raise OutputError(f"{target}: is read-only; make it writable, or write another file")
        self._direct = not stat.S_ISREG(mode)
        if not self._direct:
            self.target = Path(os.path.realpath(self.target))
        self.path = self.target if self._direct else _beside(self.target)

    def check(self) -> None:
        """OutputError if no file can be made there, which is tried; nothing is left."""
        try:
            self.reserve()
        except OSError as error:
            raise unwritable(self.given, error) from error
        finally:
            self.abandon()

    def open(self) -> BinaryIO:
        """The file, empty. OSError if it cannot be made, FileExistsError if there is one of its partial name."""
        if self._direct:
            return self.path.open("wb")
        _partial_files.add(self.path)
        try:
            return self.path.open("xb")
        except OSError:
            _partial_files.discard(self.path)  # whatever is there is not ours
            raise

    def reserve(self) -> None:
        """Make an empty file for somebody else to write; OSError if the folder forbids it. Does nothing for a pipe."""
        if not self._direct:
            self.open().close()

    def settle(self, file: BinaryIO) -> None:
        """Wait until the disk has the file; else a power cut could leave its new name on an empty one."""
        if not self._direct:
            file.flush()
            os.fsync(file.fileno())

    def commit(self) -> None:
        """Give the file its name, and the permissions of the one that it replaces. OSError if that fails."""
        if self._direct:
            return
        with suppress(FileNotFoundError):
            self.path.chmod(stat.S_IMODE(self.target.stat().st_mode))
        self.path.replace(self.target)
        _partial_files.discard(self.path)

    def abandon(self) -> None:
        """Remove what was written; harmless after a commit."""
        if self.path in _partial_files:
            with suppress(OSError):
                self.path.unlink()
            _partial_files.discard(self.path)


def _beside(target: Path) -> Path:
    """A hidden name beside a target that no other run has; of at most 255 bytes, as file systems ask for."""
    return target.with_name(_fitting(f".{target.name}", f".{token_hex(8)}.part"))


def _fitting(stem: str, end: str) -> str:
    """A file name of both, its stem cut if it would be too long."""
    most = LONGEST_NAME - len(os.fsencode(end))
    if len(data := os.fsencode(stem)) > most:
        stem = data[:most].decode(errors="ignore")
    return stem + end


def is_read_only(path: PathLike) -> bool:
    """Whether there is a regular file that may not be written; root too is refused if it has no write bit."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) and not (mode & 0o222 and os.access(path, os.W_OK))


def unwritable(name: PathLike, error: Exception) -> OutputError:
    """The error for a file that the system does not let us write."""
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"{name}: cannot be written ({reason}); check the directory and its space")


@contextmanager
def replacing(path: PathLike, *, force: bool = False) -> Iterator[BinaryIO]:
    """A binary file that takes its name only when the block ends well; '-' is standard output.

    OutputError if it cannot be written, or is read-only and `force` is not given; InputError for what is no path. On
    any exception, Ctrl-C too, nothing is left behind.
    """
    if not isinstance(path, str | Path):
        check("path", path, PathLike)
    if str(path) == "-":
        with _standard_output() as file:
            yield file
        return
    place = Place(path, force=force)
    try:
        with place.open() as file:
            yield file
            place.settle(file)
        place.commit()
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        place.abandon()


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    """Standard output. BrokenPipeError if its reader has gone; OutputError if it cannot be written."""
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable("standard output", error) from error


def is_regular(path: PathLike) -> bool:
    """Whether there is a regular file, of a name that the system takes."""
    return stat.S_ISREG(_mode(path))


def leads_nowhere(path: PathLike) -> bool:
    """Whether a path is of a link whose file is not there."""
    return Path(path).is_symlink() and not Path(path).exists()


def is_pipe(path: PathLike) -> bool:
    """Whether what a path stands for can be read only once: '-', a named pipe, a device."""
    mode = _mode(path)
    return str(path) == "-" or (mode != 0 and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)))


def _mode(path: PathLike) -> int:
    """What kind of file a path is of; 0 if there is none, or the system takes no such name."""
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0


def name_of(path: PathLike) -> str:
    """What messages call a path that is read; '-' is standard input."""
    return "standard input" if str(path) == "-" else str(path)


def target_of(src: PathLike, dst: PathLike | None, suffix: str) -> str:
    """Where the output goes: dst, or src with another suffix, and as many letters before it as a name may have.

    InputError if there is no name to derive it from.
    """
    if dst is not None:
        return str(dst)
    if str(src) == "-":
        raise InputError("standard input has no name to derive the output's from; give one with -o")
    try:
        return str(Path(src).with_name(_fitting(Path(src).stem, suffix)))
    except ValueError as error:  # such as '.'
        raise InputError(f"{str(src)!r} is not the name of a file; give one") from error


def check_outputs(
    inputs: Mapping[str, PathLike | None], outputs: Mapping[str, PathLike | None], *, force: bool | None = None
) -> None:
    """InputError if an output is an input or another output, whatever they are called and linked to; both by label.

    OutputError if no file can be made there, or one is read-only and `force` is not given; None is for commands that
    have no such option. Nothing is left.
    """
    seen: dict[object, str] = {}
    for named, pipe in ((inputs, STDIN), (outputs, STDOUT)):
        for label, path in named.items():
            file = None if path is None else _file_of(path, pipe)
            if file in seen and pipe == STDOUT:
                raise InputError(f"{path}: {seen[file]} and {label} are the same file; give another name")
            if file is not None:
                seen.setdefault(file, label)
    for path in (path for path in outputs.values() if path is not None and str(path) != "-"):
        if not force and is_read_only(path):
            remedy = "make it writable" if force is None else "replace it with --force"
            raise OutputError(f"{path}: is read-only; write another file, or {remedy}")
        Place(path, force=True).check()


def _file_of(path: PathLike, pipe: int) -> object:
    """What tells one file from another, whatever it is called; None for devices, which may be used twice.

    A path of '-' is the pipe of this number.
    """
    try:
        found = os.fstat(pipe) if str(path) == "-" else Path(path).stat()
    except (OSError, ValueError):  # it is not there yet
        return os.path.realpath(path)
    if stat.S_ISREG(found.st_mode) or stat.S_ISFIFO(found.st_mode):
        return found.st_dev, found.st_ino
    return pipe if str(path) == "-" else None
