# SPDX-License-Identifier: MIT
"""Finding segments in an .ncm file without reading it from the start."""

from io import SEEK_END
from itertools import accumulate
from typing import BinaryIO

from ..errors import StreamError
from . import syntax
from .fields import Values, unpack
from .framing import TRAILER_BYTES, Packet, PacketSource, frame_trailer
from .limits import Budget
from .syntax import Kind
from .units import Header, Unit, read_segment

Entry = tuple[int, int]


def entries(values: Values) -> list[Entry]:
    """(poc of the I, offset) of each segment, from the fields of an END packet."""
    return list(zip(accumulate(values["intras"]), accumulate(values["offsets"]), strict=True))


def catalogue(file: BinaryIO, header: Header, start: int) -> tuple[list[Entry], int]:
    """The entries and the number of pictures of a file whose packets start at `start`; leaves it where it stands.

    If the index at the end is not good, reads the whole file. StreamError on a pipe.
    """
    try:
        position = file.tell()
        size = file.seek(0, SEEK_END)
    except (OSError, AttributeError) as error:
        raise StreamError("only a file has an index, not a pipe") from error
    try:
        values = _read_end(file, size)
        return (entries(values), values["pictures"]) if values else _scan(file, header, start)
    finally:
        file.seek(position)


def unit_at(file: BinaryIO, header: Header, offset: int) -> Unit | None:
    """The segment whose packet is at `offset`, without what belongs to it; None if there is none. Moves the file."""
    packet = _packet_at(file, offset)
    try:
        return read_segment(packet.body, header, Budget())[0] if packet and packet.kind == Kind.SEGMENT else None
    except StreamError:
        return None


def _packet_at(file: BinaryIO, offset: int) -> Packet | None:
    file.seek(offset)
    return PacketSource(file, offset).packet()


def _read_end(file: BinaryIO, size: int) -> Values | None:
    """The END packet of a file of `size` bytes, found by the last bytes; None unless all is well with it."""
    stop = size - TRAILER_BYTES
    file.seek(max(stop, 0))
    trailer = file.read(TRAILER_BYTES)
    offset = stop - int.from_bytes(trailer[:4], "little")
    if offset < 0 or trailer != frame_trailer(stop - offset):
        return None
    packet = _packet_at(file, offset)
    if packet is None or packet.kind != Kind.END or packet.stop != stop:
        return None
    try:
        values = unpack(syntax.END, packet.body, "END packet", Budget())
    except StreamError:
        return None
    return values if sum(values["offsets"]) < offset else None


def _scan(file: BinaryIO, header: Header, start: int) -> tuple[list[Entry], int]:
    """The entries and the number of pictures as far as the packets tell."""
    found, stop, budget = list[Entry](), 0, Budget()
    file.seek(start)
    for packet in PacketSource(file, start).packets():
        if not isinstance(packet, Packet) or packet.kind not in (Kind.SEGMENT, Kind.END):
            continue
        budget.earn(packet.stop - packet.offset)
        try:
            if packet.kind == Kind.END:
                return found, max(stop, unpack(syntax.END, packet.body, "END packet", budget)["pictures"])
            unit, _ = read_segment(packet.body, header, budget)
        except StreamError:
            continue
        if unit.segment.first >= stop:
            found.append((unit.segment.intra, packet.offset))
            stop = unit.segment.stop
    return found, stop
