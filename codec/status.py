# SPDX-License-Identifier: MIT
"""Exit statuses of the command line, and one line on standard error for whatever goes wrong."""

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from .errors import CodecError
from .notes import LOGGER

REFUSED = 2
INTERRUPTED, CLOSED_PIPE = 130, 141  # what a shell expects after SIGINT and SIGPIPE
# How the system, torch and the linker say that there is no memory left.
NO_MEMORY = ("out of memory", "not enough memory", "allocate memory", "failed to map segment")
# What to install for a module that is not called as its package.
PACKAGES = {"PIL": "pillow", "pytorch_msssim": "pytorch-msssim"}

_heard: set[int] = set()  # signals that have come to this command


class Stopped(SystemExit):
    """The end by a signal."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(128 + number)
        self.name = number.name


class Parser(argparse.ArgumentParser):
    """A parser of the words of a command or a script, whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 after a line that says what is wrong and where to look."""
        self.exit(REFUSED, f"{self.prog.partition(' ')[0]}: {plain(message)}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        """As argparse does it, but what a command does not know is an error of its own, not of the whole program."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def run(command: Callable[[], int], *, debug: bool = False) -> int:
    """The exit status of a command. What stops it becomes one line, after a traceback if `debug`.

    0 is success, 1 "decoded, with damage" and nothing else; 2 any other failure, 130 Ctrl-C, 141 a reader that left.
    """
    _open_standard_streams()
    try:
        with _signals_heeded(), _notes():
            status = _flushed(command)
    except SystemExit as end:  # argparse's, or that of a signal
        if isinstance(end, Stopped):
            _say(f"stopped by {end.name}; no output was written")
        raise
    except BaseException as error:
        if debug:
            traceback.print_exc()
        # Compiled code may turn the exception of a signal into one of its own.
        status, line = told(KeyboardInterrupt() if signal.SIGINT in _heard else error)
        if line:
            _say(line)
    finally:
        _leave_standard_output()
    return status


def _flushed(command: Callable[[], int]) -> int:
    """The exit status of a command whose output has been written, its help too. OSError if it cannot be."""
    try:
        status = command()
    except Stopped:
        raise
    except SystemExit:  # argparse has printed its help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return status


def told(error: BaseException) -> tuple[int, str]:
    """The exit status for an error, and the line that tells of it."""
    if isinstance(error, CodecError):
        return error.exit_status, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted; no output was written"
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE, ""  # whoever read our output has seen enough
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY):
        return REFUSED, "out of memory; end other programs, or take a smaller picture"
    if isinstance(error, ImportError):
        name = (error.name or "?").partition(".")[0]
        remedy = f"reinstall {PACKAGES.get(name, name)} with pip"
        return REFUSED, f"the installation is broken: {error}; {remedy}"
    if isinstance(error, OSError) and error.strerror:
        where = error.filename or "standard output"  # what is open is written through `files`, all but that
        return REFUSED, f"{where}: {error.strerror}; check the disk and its permissions"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return REFUSED, f"unexpected {what}; this is a bug: please report it with the command and what --debug prints"


def plain(text: str) -> str:
    """A text as one line that cannot steer a terminal and that every terminal can show."""
    line = " ".join(text.split("\n"))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _say(message: str) -> None:
    """Print a message as one line."""
    print(f"codec: {plain(message)}", file=sys.stderr)


class _Notes(logging.Handler):
    """Writes what the library has to say to standard error, each line once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line of the library's own logger, unless it was written before."""
        line = record.getMessage()
        if record.name == LOGGER.name and line not in self._said:  # training has a log of its own
            self._said.add(line)
            _say(line)


@contextmanager
def _notes() -> Iterator[None]:
    handler = _Notes()
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


def _open_standard_streams() -> None:
    """Have closed ones fail when they are used; else the next files that are opened would get their numbers."""
    wrong_way = {"stdin": os.O_WRONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
    for number, (name, way) in enumerate(wrong_way.items()):
        if getattr(sys, name) is None:
            made = os.open(os.devnull, way)
            if made != number:
                os.dup2(made, number)
                os.close(made)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def is_stopping() -> bool:
    """Whether a signal has asked this command to end, whatever has become of its exception."""
    return bool(_heard)


@contextmanager
def _signals_heeded() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as an exception does: files that are not complete are removed.

    What is ignored stays so: that is how `nohup` asks to run on. A program that calls the command has its own handlers
    back afterwards.
    """
    _heard.clear()

    def stop(number: int, _: object) -> None:
        _heard.add(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(signal.Signals(number))

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        known = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))  # not everywhere
        before = {number: signal.getsignal(number) for number in known if number is not None}
    heeded = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in heeded:
            signal.signal(number, stop)
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def _leave_standard_output() -> None:
    """Give Python somewhere to flush what could not be written; it would complain when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
