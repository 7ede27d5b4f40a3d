# SPDX-License-Identifier: MIT
"""Run a program from one file into another."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import AnchorError

LONGEST_REASON = 200


def run(
    program: str,
    arguments: Sequence[str],
    fields: Mapping[str, object],
    *,
    source: Path,
    target: Path,
    params: list[str],
) -> str:
    """Run a program and return what it says. AnchorError if it cannot be run or fails.

    `arguments` are templates for `fields`, {input}, and {output}; `{params}` alone stands for all of `params`. A
    program whose arguments do not name {input} reads it on standard input, and so for {output}.
    """
    fields = {**fields, "input": source, "output": target}
    words = [word for argument in arguments for word in _fill(argument, fields, params)]
    reads, writes = (any(field in argument for argument in arguments) for field in ("{input}", "{output}"))
    with _opened(None if reads else source, "rb") as stdin, _opened(None if writes else target, "wb") as stdout:
        try:
            ran = subprocess.run(
                [program, *words],
                stdin=stdin or subprocess.DEVNULL,
                stdout=stdout or subprocess.PIPE,
                stderr=subprocess.PIPE if stdout else subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise AnchorError(
                f"{program}: cannot be run ({error.strerror}); is it a program for this machine?"
            ) from error
    log = ((ran.stderr if stdout else ran.stdout) or b"").decode(errors="replace")
    if ran.returncode:
        raise AnchorError(f"{program} failed: {_reason(ran.returncode, log)}")
    return log


def _fill(argument: str, fields: Mapping[str, object], params: list[str]) -> list[str]:
    """The words that an argument stands for. AnchorError if it names a field that there is not."""
    if argument == "{params}":
        return params
    try:
        return [argument.format_map(fields)]
    except (KeyError, ValueError, IndexError) as error:
        known = ", ".join(f"{{{name}}}" for name in fields)
        raise AnchorError(f"a command's {argument!r} names the field {error}; there are {known}, {{params}}") from error


@contextmanager
def _opened(path: Path | None, mode: str) -> Iterator[IO[bytes] | None]:
    if path is None:
        yield None
    else:
        with path.open(mode) as file:
            yield file


def _reason(status: int, log: str) -> str:
    """Why a program failed: its first line that speaks of an error, else its last, and how it ended."""
    ended = f"signal {-status}" if status < 0 else f"exit status {status}"
    lines = [line.strip() for line in log.splitlines() if any(map(str.isalpha, line))]
    told = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it says nothing")
    return f"{told[:LONGEST_REASON]} ({ended})"
