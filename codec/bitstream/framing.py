# SPDX-License-Identifier: MIT
"""The file header, and packets as bytes: kind, length, body, checksum; finding the next good one after damage."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple
from zlib import crc32

from ..errors import StreamError, VersionError
from .fields import Cursor, Field, pack, put_uint, unpack
from .options import pack_options, read_options
from .syntax import CRC_BYTES, END_MAGIC, HEADER, MAGIC, MARK, MAX_BODY, PLAIN, VERSION, Kind
from .units import Header

TRAILER_BYTES = 4 + len(END_MAGIC)
MARKS = tuple(bytes([MARK | kind]) for kind in Kind)
HEADS = re.compile(rb"[" + b"".join(MARKS) + rb"](?=([\x80-\xff]{0,3}[\x00-\x7f]))")  # a mark, then a body's length
HEAD_BYTES = 5  # a mark and a length up to MAX_BODY
MAX_HEADER = 4096
OPTION_BYTES = Field("options", "rest", "tags, lengths and fields of options")
CHUNK = 1 << 16  # bytes to look through at a time
SHORT = 4096  # bytes of a packet that is believed by its checksum alone, whatever follows
TRIES, BYTES_A_TRY = 4096, 48  # places where a packet is sought after damage: some, and one more for so many bytes
PATIENCE = 32  # bytes summed in vain, for each byte of the stream, beyond one longest body


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
        self._file, self._buffer = file, bytearray()
        self._tries, self._wasted = 0, 0  # places where a packet was sought after damage; bytes summed in vain

    def take(self, size: int) -> bytes:
        """The next bytes as they are; fewer at the end of the file."""
        self._fill(size)
        return self._drop(size)

    def packets(self) -> Iterator[Packet | Lost]:
        """Good packets, and what lies between them."""
        while self._fill(1):
            packet = self.packet()
            if packet is None:
                yield self._skip()
                continue
            self._drop(packet.stop - packet.offset)
            yield packet

    def packet(self) -> Packet | None:
        """The packet at the front of the buffer, if its kind, length and checksum are right."""
        self._fill(HEAD_BYTES)
        cursor = Cursor(bytes(self._buffer[:HEAD_BYTES]), "packet")
        try:
            kind, length = Kind(cursor.take(1)[0] ^ MARK), cursor.uint()
        except (StreamError, ValueError):
            return None
        stop = cursor.position + length + CRC_BYTES
        if length > MAX_BODY or not self._fill(stop) or not self._sums_up(0, stop):
            return None
        return Packet(kind, bytes(self._buffer[cursor.position : stop - CRC_BYTES]), self.offset, self.offset + stop)

    def _skip(self) -> Lost:
        """Drop bytes up to the next good packet, or to the end of the file; what was lost."""
        start, tail, place = self.offset, b"", 1
        while True:
            more = self._fill(CHUNK)
            window = bytes(self._buffer[:CHUNK])
            found = self._next(window, place)
            passed = found if found is not None else len(window) - (HEAD_BYTES - 1) * more
            tail = (tail + self._drop(passed)[-TRAILER_BYTES:])[-TRAILER_BYTES:]
            self._forget(start)
            if found is not None or not more:
                return Lost(start, self.offset, tail)
            place = 0

    def _forget(self, start: int) -> None:
        """Let the system use the memory of all bytes since `start` again: fresh memory takes thrice the time.

        All of them are named every time, as the system lets go of whole runs of pages alone.
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError, AttributeError):  # a pipe, or a stream that lies in a film
                os.posix_fadvise(self._file.fileno(), start, self.offset - start, os.POSIX_FADV_DONTNEED)

    def _next(self, window: bytes, place: int) -> int | None:
        """Where in a window, which the buffer begins with, the next good packet starts; None if in no place looked at.

        Of random bytes, one place in sixty looks like a packet's head. About as many places are tried, and no more.
        """
        if not any(mark in window for mark in MARKS):  # far faster than what follows
            return None
        while head := HEADS.search(window, place):
            start, digits = head.start(), head[1]
            if self._tries > TRIES + (self.offset + start) // BYTES_A_TRY:
                place = start + BYTES_A_TRY
                continue
            self._tries += 1
            place = start + 1
            length = 0
            for byte in reversed(digits):  # a Cursor would take a quarter of the time of all this
                length = length << 7 | byte & 127
            stop = place + len(digits) + length + CRC_BYTES
            if length <= MAX_BODY and self._followed(start, stop) and self._sums_up(start, stop):
                return start
        return None

    def _followed(self, start: int, stop: int) -> bool:
        """Whether the bytes start..stop are there and, if they are many, followed by what could be a packet."""
        if stop > len(self._buffer) and not self._fill(stop):
            return False
        return stop - start <= SHORT or not self._fill(stop + 1) or self._buffer[stop : stop + 1] in MARKS

    def _sums_up(self, start: int, stop: int) -> bool:
        """Whether the bytes start..stop end with their checksum.

        False without a look if too many bytes were summed in vain already: packets may claim to overlap.
        """
        size = stop - start
        if self._wasted + size > MAX_BODY + PATIENCE * (self.offset + stop):
            return False
        with memoryview(self._buffer)[start:stop] as view:
            good = checksum(view[:-CRC_BYTES]) == view[-CRC_BYTES:]
        self._wasted += 0 if good else size
        return good

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
    fields = pack(HEADER, vars(header)) + pack_options(header.options)
    data = MAGIC + bytes([VERSION if header.options else PLAIN]) + put_uint(len(fields)) + fields
    return data + checksum(data)


def read_header(source: PacketSource) -> Header:
    """The header of the file that the source stands at the start of. StreamError; VersionError if it is too new."""
    data = source.take(len(MAGIC) + 1)
    if not data.startswith(MAGIC):
        raise StreamError("not an .ncm stream" if data else "not an .ncm stream: the file is empty")
    version = Cursor(data[len(MAGIC) :], "file header").take(1)[0]
    if version > VERSION:
        raise VersionError(f"a stream of version {version}; this program reads up to version {VERSION}")
    if version < PLAIN:
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
    if version == PLAIN:
        return Header(**unpack(HEADER, fields, "file header"))
    values = unpack((*HEADER, OPTION_BYTES), fields, "file header")
    return Header(**values | {"options": read_options(values["options"])})
