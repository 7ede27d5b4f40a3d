# SPDX-License-Identifier: MIT
"""What the scripts share: whatever goes wrong is one line with status 2, and is said before hours of measuring."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import codec


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command that was chosen, its `action`, and return its exit status; an error is one line."""
    arguments = parser.parse_args(argv)
    return told(parser.prog, lambda: arguments.action(arguments))


def told(program: str, action: Callable[[], object]) -> int:
    """The exit status of what a script does: 0, or 2 after a line that says what went wrong."""
    try:
        action()
    except codec.CodecError as err:
        print(f"{program}: {err}", file=sys.stderr)
        return err.exit_status
    except subprocess.CalledProcessError as err:  # its own line is above
        print(f"{program}: {' '.join(map(str, err.cmd))} failed with status {err.returncode}", file=sys.stderr)
        return 2
    except OSError as err:
        where = err.filename or "standard output"
        print(f"{program}: {where}: {err.strerror or err}; check the disk and its permissions", file=sys.stderr)
        return 2
    return 0


def check_output(path: Path, what: str = "", suffixes: Collection[str] = ()) -> None:
    """OutputError if a file cannot be there: it is a folder, or its own folder is missing.

    If there are `suffixes` that files of this kind have, `what` in words, it must have one.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise codec.OutputError(
            f"{path}: unknown suffix {path.suffix!r} of a {what}; choose from {', '.join(suffixes)}"
        )
    if path.is_dir():
        raise codec.OutputError(f"{path}: is a directory; give a file name")
    if not path.absolute().parent.is_dir():
        raise codec.OutputError(f"{path}: there is no folder {path.parent}; make it first")


def make_folder(path: Path) -> None:
    """A folder for output, if it is not there. OutputError if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise codec.OutputError(f"{path}: no folder for output ({err.strerror or err}); give another") from err


def parse_count(text: str) -> int:
    """A whole number above 0, as an option's type."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_whole(text: str) -> int:
    """A whole number, 0 or more, as an option's type."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of '416x240', as an option's type."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 416x240")
    return int(match[1]), int(match[2])
