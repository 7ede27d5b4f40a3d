# SPDX-License-Identifier: MIT
"""The file header, and packets as bytes: kind, length, body, checksum; finding the next good one after damage."""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple
from zlib import crc32

from ..errors import StreamError, VersionError
from .fields import Cursor, pack, put_uint, unpack
from .syntax import CRC_BYTES, END_MAGIC, HEADER, MAGIC, MARK, MAX_BODY, VERSION, Kind
from .units import Header

TRAILER_BYTES = 4 + len(END_MAGIC)
MARKS = re.compile(b"[" + b"".join(re.escape(bytes([MARK | kind])) for kind in Kind) + b"]")
HEAD_BYTES = 5  # a kind and a length up to MAX_BODY
MAX_HEADER = 4096
CHUNK = 4096  # bytes to scan at a time
SHORT = 4096  # bytes of a packet whose checksum may always be computed
PATIENCE = 64  # bytes of other checksums computed in vain, for each byte read


class Packet(NamedTuple):
    """A packet whose checksum is right; `stop` is the offset of the byte after it."""

    kind: Kind
    body: bytes
    offset: int
    stop: int


class Lost(NamedTuple):
    """Bytes offset..stop that are part of no good packet, and the last few of them."""

    offset: int
    stop: int
    tail: bytes


def checksum(data: bytes | memoryview) -> bytes:
    """The CRC-32 of some bytes, as zlib computes it: four bytes, the lowest first."""
    return crc32(data).to_bytes(CRC_BYTES, "little")


def frame_packet(kind: Kind, body: bytes) -> bytes:
    """The bytes of a packet. ValueError if the body is longer than 64 MiB."""
    if len(body) > MAX_BODY:
        raise ValueError(f"a packet of {len(body)} bytes; {MAX_BODY} is the most")
    data = bytes([MARK | kind]) + put_uint(len(body)) + body
    return data + checksum(data)


def frame_trailer(size: int) -> bytes:
    """The last bytes of a stream, from which the END packet of `size` bytes can be found."""
    return size.to_bytes(4, "little") + END_MAGIC


class PacketSource:
    """The packets of a file that is read from front to back, with the longest packet as the bound on memory."""

    def __init__(self, file: BinaryIO, offset: int = 0) -> None:
        self.offset = offset
        self._file, self._buffer, self._wasted = file, bytearray(), 0

    def take(self, size: int) -> bytes:
        """The next bytes as they are; fewer at the end of the file."""
        self._fill(size)
        return self._drop(size)

    def packets(self) -> Iterator[Packet | Lost]:
        """Good packets, and what lies between them."""
        lost: Lost | None = None
        while self._fill(1):
            packet = self.packet(scanning=lost is not None)
            if packet is None:
                lost = self._skip(lost)
                continue
            if lost:
                yield lost
                lost = None
            self._drop(packet.stop - packet.offset)
            yield packet
        if lost:
            yield lost

    def _skip(self, lost: Lost | None) -> Lost:
        """Drop bytes up to the next that could start a packet; the lost bytes with these."""
        self._fill(CHUNK)
        mark = MARKS.search(self._buffer, 1)
        start, tail = (lost.offset, lost.tail) if lost else (self.offset, b"")
        tail += self._drop(mark.start() if mark else len(self._buffer))
        return Lost(start, self.offset, tail[-TRAILER_BYTES:])

    def packet(self, *, scanning: bool = False) -> Packet | None:
        """The packet at the front of the buffer, if its kind, length and checksum are right."""
        self._fill(HEAD_BYTES)
        cursor = Cursor(bytes(self._buffer[:HEAD_BYTES]), "packet")
        try:
            kind, length = Kind(cursor.take(1)[0] ^ MARK), cursor.uint()
        except (StreamError, ValueError):
            return None
        stop = cursor.position + length + CRC_BYTES
        if length > MAX_BODY or not self._worth_a_look(stop, scanning=scanning):
            return None
        with memoryview(self._buffer) as view:
            if checksum(view[: stop - CRC_BYTES]) == view[stop - CRC_BYTES : stop]:
                body = bytes(view[cursor.position : stop - CRC_BYTES])
                return Packet(kind, body, self.offset, self.offset + stop)
        self._wasted += stop
        return None

    def _worth_a_look(self, stop: int, *, scanning: bool) -> bool:
        """Whether to compute the checksum of the `stop` bytes that may be a packet.

        Random bytes look like the head of a long packet often enough to make scanning slow, so a long one must be
        followed by another packet, and work that led to nothing is bounded by the bytes read.
        """
        if stop > SHORT and self._wasted > MAX_BODY + PATIENCE * self.offset:
            return False
        if not self._fill(stop):
            return False
        if not scanning or stop <= SHORT or not self._fill(stop + 1):
            return True
        return MARKS.match(self._buffer, stop) is not None

    def _fill(self, size: int) -> bool:
        """Read until the buffer holds `size` bytes, no further; whether it does."""
        while len(self._buffer) < size:
            data = self._file.read(min(size - len(self._buffer), 1 << 20))
            if not data:
                return False
            self._buffer += data
        return True

    def _drop(self, size: int) -> bytes:
        """Take bytes off the front of the buffer."""
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.offset += len(data)
        return data


def write_header(header: Header) -> bytes:
    """The file header. ValueError naming the field that cannot be written."""
    fields = pack(HEADER, vars(header))
    data = MAGIC + bytes([VERSION]) + put_uint(len(fields)) + fields
    return data + checksum(data)


def read_header(source: PacketSource) -> Header:
    """The header of the file that the source stands at the start of. StreamError; VersionError if it is too new."""
    data = source.take(len(MAGIC) + 1)
    if not data.startswith(MAGIC):
        raise StreamError("not an .ncm stream" if data else "not an .ncm stream: the file is empty")
    version = Cursor(data[len(MAGIC) :], "file header").take(1)[0]
    if version > VERSION:
        raise VersionError(f"a stream of version {version}; this program reads up to version {VERSION}")
    if version < VERSION:
        raise StreamError(f"file header: version {version} does not exist")
    size = source.take(1)
    while size and size[-1] > 127 and len(size) < 10:
        size += source.take(1) or b"\0"
    length = Cursor(size, "file header").uint()
    if length > MAX_HEADER:
        raise StreamError(f"file header: {length} bytes long; {MAX_HEADER} is the most")
    fields, check = source.take(length), source.take(CRC_BYTES)
    if checksum(data + size + fields) != check:
        raise StreamError("file header: damaged or cut short")
    return Header(**unpack(HEADER, fields, "file header"))
