# SPDX-License-Identifier: MIT
"""AV1: anchors as the units (OBUs) of a sample, and a metadata unit of ours among them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from ..bitstream.fields import Cursor, put_uint
from ..errors import StreamError
from .sample import Sample

SEQUENCE_HEADER, METADATA = 1, 5
LEFT_OUT = (2, 7, 8, 15)  # by muxers: temporal delimiters, copies of headers, lists of tiles, padding
HAS_EXTENSION, HAS_SIZE = 4, 2
PRIVATE = 31  # the last type of metadata that is free for private use
STOP = b"\x80"


class Obu(NamedTuple):
    """One unit: its type, its first byte or two, and its body."""

    kind: int
    head: bytes
    body: bytes

    @property
    def data(self) -> bytes:
        """The unit with its size in it."""
        return bytes([self.head[0] | HAS_SIZE]) + self.head[1:] + put_uint(len(self.body)) + self.body


class Obus:
    """AV1. A sample is a temporal unit without its delimiter, as .mp4 and .mkv want it, and as we store an anchor."""

    codec = "av1"
    reordering = 0  # one sample for each picture that is shown, in that order

    def holds(self, anchor: bytes) -> bool:
        """Whether a film keeps an anchor to the byte."""
        return self.read(anchor, b"") == Sample([anchor], b"")

    def starts(self, anchor: bytes) -> list[int]:
        """Nothing needs to be known to restore an anchor."""
        return []

    def sample(self, anchor: bytes, content: bytes) -> bytes:
        """An anchor as a sample, with a unit of ours if there is content: first, or behind the sequence header."""
        if not content:
            return anchor
        units = list(obus(anchor))
        first = int(bool(units) and units[0].kind == SEQUENCE_HEADER)
        ours = Obu(METADATA, bytes([METADATA << 3]), bytes([PRIVATE]) + content + STOP)
        return b"".join(unit.data for unit in [*units[:first], ours, *units[first:]])

    def read(self, data: bytes, configuration: bytes) -> Sample:
        """A sample's own units, and the content of ours."""
        own, content = b"", b""
        for unit in obus(data):
            if unit.kind == METADATA and unit.body[:1] == bytes([PRIVATE]):
                content += unit.body[1:].rstrip(b"\0").removesuffix(STOP)
            elif unit.kind not in LEFT_OUT:
                own += unit.data
        return Sample([own], content)

    def raw(self, anchor: bytes) -> bytes:
        """An anchor as a stream of its codec alone: with a temporal delimiter."""
        return b"\x12\0" + anchor

    def anchor(self, parts: Sequence[bytes], starts: Sequence[int]) -> bytes:
        """An anchor of its units."""
        return b"".join(parts)


def obus(data: bytes) -> Iterator[Obu]:
    """The units of a sample; the last may lack its size. Stops where a damaged sample is no more of units."""
    cursor = Cursor(data, "sample")
    with suppress(StreamError):
        while cursor.left:
            head = cursor.take(1)
            head += cursor.take(1) if head[0] & HAS_EXTENSION else b""
            yield Obu(head[0] >> 3 & 15, head, cursor.take(cursor.uint() if head[0] & HAS_SIZE else cursor.left))


AV1 = Obus()
