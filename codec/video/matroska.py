# SPDX-License-Identifier: MIT
"""What FFmpeg does not tell of a Matroska file: that it was cut short, and that its pictures are to be cropped."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

EBML, SEGMENT = 0x1A45DFA3, 0x18538067  # the elements at the top of a file
TRACKS, TRACK, VIDEO = 0x1654AE6B, 0xAE, 0xE0  # within a segment, each within the one before
CROPPING = {0x54BB: "top", 0x54AA: "bottom", 0x54CC: "left", 0x54DD: "right"}  # within VIDEO
HEAD = 4096  # bytes in which both begin
TRACKS_WITHIN = 1 << 20  # bytes in which the tracks are looked for; they come before the pictures


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


def cropping(path: Path) -> dict[str, int]:
    """How many samples players are to cut off, by side, of the first track that says so; empty if none does. OSError.

    Source: RFC 9559, section 5.1.4.1.28, elements PixelCropTop and so on.
    """
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        data = file.read(TRACKS_WITHIN)
    places = [(0, len(data))]
    for number in (SEGMENT, TRACKS, TRACK, VIDEO):
        inner = chain.from_iterable(_elements(data, *place) for place in places)
        places = [(element.begin, element.end or len(data)) for element in inner if element.number == number]
    for place in places:
        sides = [element for element in _elements(data, *place) if element.number in CROPPING]
        counts = {CROPPING[side.number]: int.from_bytes(data[side.begin : side.end]) for side in sides}
        if any(counts.values()):
            return {side: count for side, count in counts.items() if count}
    return {}


def _elements(data: bytes, begin: int, end: int) -> Iterator[_Element]:
    """The elements that lie one after another there, up to the first that is not whole."""
    while begin < min(end, len(data)):
        try:
            element = _element(data, begin)
        except IndexError:
            return
        yield element
        if element.end is None:
            return
        begin = element.end


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
