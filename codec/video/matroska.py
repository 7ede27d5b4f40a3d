# SPDX-License-Identifier: MIT
"""How much of a Matroska file is there: FFmpeg reads one that was cut short as if it were whole."""

from pathlib import Path
from typing import NamedTuple

EBML, SEGMENT = 0x1A45DFA3, 0x18538067  # the elements at the top of a file
HEAD = 4096  # bytes in which both begin


class _Element(NamedTuple):
    """An element of EBML: its number, and where its content begins and ends; `end` is None if that is not told."""

    number: int
    begin: int
    end: int | None


def missing_bytes(path: Path) -> int:
    """How many bytes a Matroska or WebM file lacks of what its segment announces; 0 if that is not told. OSError."""
    if not path.is_file():
        return 0  # a pipe cannot be opened twice: one would wait for ever
    with path.open("rb") as file:
        head = file.read(HEAD)
    try:
        header = _element(head, 0)
        segment = _element(head, header.end or len(head))
    except IndexError:
        return 0
    if (header.number, segment.number) != (EBML, SEGMENT) or segment.end is None:
        return 0
    return max(0, segment.end - path.stat().st_size)


def _element(data: bytes, at: int) -> _Element:
    """The element that begins there. IndexError if it does not."""
    number, length = _number(data, at)
    size, size_length = _number(data, at + length)
    marker = 1 << (7 * size_length)
    begin = at + length + size_length
    unknown = size == 2 * marker - 1  # all ones: it was written as a stream, whose end nobody knew
    return _Element(number, begin, None if unknown else begin + (size ^ marker))


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number with its marker bit, and its length in bytes: one more than zeros before the marker. IndexError."""
    length = 9 - data[at].bit_length()
    if length > 8 or at + length > len(data):
        raise IndexError("no number of EBML")
    return int.from_bytes(data[at : at + length]), length
