# SPDX-License-Identifier: MIT
"""Reading .ncm streams, whole or damaged, from files and pipes.

    with path.open("rb") as file:
        reader = StreamReader(file)
        for unit in reader.units():
            ...  # unit.damage says what it lacks
        reader.damage, reader.truncated

A reader never stops at damage: it goes on with the next good packet. The pictures of all units together increase.
Where they leave some out, `damage` says so: their segment is lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import BinaryIO

from ..errors import StreamError
from . import syntax
from .checks import missing
from .fields import unpack
from .framing import Lost, Packet, PacketSource, frame_trailer, read_header
from .index import Entry, catalogue, entries, unit_at
from .limits import MAX_PIXELS, Budget, format_problem, size_problem
from .syntax import Kind
from .units import Damage, Unit, add_anchors, add_bframes, add_hashes, read_segment

MAX_JUMP = 1 << 20  # pictures lost in one go; a larger step is not a gap but a wrong segment
MAX_NOTES = 1000  # of damage, for which a line each is kept
IDLE_PACKETS, BYTES_AN_IDLE_PACKET = 10_000, 128  # that bring nothing: some, and one more for so many bytes
ADD = {Kind.ANCHORS: add_anchors, Kind.BFRAMES: add_bframes, Kind.HASHES: add_hashes}


class StreamReader:
    """Reads a stream, from a pipe too; StreamError if it does not start with a good header, or asks for too much.

    `damage` is what is wrong with the file, at the picture that was being read or comes next, and `truncated` whether
    it ends too early; both are known once `units` is through. If `damage` is empty here and in each unit, units are
    what was written. `first` is the picture that it started with, `stop` is one past the last that the file tells of
    so far.
    """

    damage: list[Damage]
    truncated: bool
    first: int
    stop: int
    _ended: bool
    _until: int | None  # where to stop reading

    def __init__(self, file: BinaryIO, *, max_pixels: int = MAX_PIXELS) -> None:
        self.file = file
        source = PacketSource(file)
        self.header = header = read_header(source)
        if problem := size_problem(header.width, header.height, max_pixels) or format_problem(header.info):
            raise StreamError(f"file header: {problem}")
        self._start = source.offset
        self._restart(source, poc=0, anchor=0)

    def units(self) -> Iterator[Unit]:
        """The units from where the reader stands, each with what the stream still has of it.

        StreamError if the first segment cannot be right although its checksum is.
        """
        if self._ended:
            return
        lost: Lost | None = None
        for item in self._source.packets():
            lost = item if isinstance(item, Lost) else None
            self._budget.earn(item.stop - item.offset)
            if isinstance(item, Lost):
                self._note(f"bytes {item.offset}..{item.stop - 1} are damaged")
            elif item.kind == Kind.SEGMENT:
                yield from self._begin(item)
            elif item.kind == Kind.END:
                yield from self._end(item)
                return
            else:
                self._add(item)
            if self._until is not None and item.stop >= self._until:
                self._ended = True
                yield from self._close()
                return
            if self._idle > IDLE_PACKETS + item.stop // BYTES_AN_IDLE_PACKET:
                self._note(f"too many packets belong nowhere; what follows byte {item.stop} is not read")
                break
        self._ended = True
        yield from self._close()
        self.truncated = lost is None or not lost.tail.endswith(syntax.END_MAGIC)
        self._note("the stream is cut short" if self.truncated else "the index is damaged")

    @cached_property
    def _catalogue(self) -> tuple[list[Entry], int]:
        """The entries of the index and the number of pictures, by reading the whole file if need be. StreamError."""
        return catalogue(self.file, self.header, self._start)

    def index(self) -> list[Entry]:
        """(poc of the I, offset) of each segment, by reading the whole file if need be. StreamError on a pipe."""
        return self._catalogue[0]

    def picture_count(self) -> int | None:
        """The number of pictures as far as the file tells, None on a pipe."""
        try:
            return self._catalogue[1]
        except StreamError:
            return None

    def seek(self, poc: int, stop: int | None = None) -> None:
        """Make `units` start with the segment that has this picture, or with an earlier one if that is damaged.

        They end before the first segment whose pictures all come after `stop` - 1. StreamError if the file is a pipe or
        has no such picture.
        """
        listed, total = self._catalogue
        if not 0 <= poc < total:
            raise StreamError(f"there is no picture {poc}; the stream has {total}")
        # The picture may lead the first I after it.
        count = sum(intra <= poc for intra, _ in listed) + 1
        for _, offset in reversed(listed[:count]):
            unit = unit_at(self.file, self.header, offset)
            if unit and unit.segment.first <= poc:
                break
        else:
            unit, offset = None, self._start
        self.file.seek(offset)
        first, anchor = (unit.segment.first, unit.first_anchor) if unit else (0, 0)
        self._restart(PacketSource(self.file, offset), poc=first, anchor=anchor)
        if stop is not None:
            self._until = self._first_after(stop, listed)

    def unit_at(self, offset: int) -> Unit | None:
        """The segment at an offset that `index` gives, without what belongs to it; None if it is damaged."""
        position = self.file.tell()
        try:
            return unit_at(self.file, self.header, offset)
        finally:
            self.file.seek(position)

    def _first_after(self, stop: int, listed: list[Entry]) -> int | None:
        """Where the first segment starts that has only pictures from `stop` on; None if there is none."""
        for _, offset in listed[sum(intra < stop for intra, _ in listed) :]:
            unit = self.unit_at(offset)
            if unit is not None and unit.segment.first >= stop:
                return offset
        return None

    def _restart(self, source: PacketSource, *, poc: int, anchor: int) -> None:
        """Expect this picture and this anchor next."""
        self._source, self._poc, self._anchor = source, poc, anchor
        self._until = None
        self._pts: int | None = None  # of the picture before
        self._unit: Unit | None = None
        self._hashed = self._ended = False
        self._seen: set[tuple[int, int]] = set()
        self.damage, self.truncated = [], False
        self.first = self.stop = poc
        self._budget, self._idle = Budget(), 0

    def _note(self, what: str) -> None:
        if len(self.damage) == MAX_NOTES:
            what = "more is damaged than is listed"
        if len(self.damage) <= MAX_NOTES:
            self.damage.append(Damage(self._unit.segment.first if self._unit else self._poc, what))

    def _refuse(self, packet: Packet, error: StreamError) -> None:
        self._idle += 1
        self._note(f"at byte {packet.offset}: {error}")

    def _begin(self, packet: Packet) -> Iterator[Unit]:
        """Start a unit; gives the one before."""
        try:
            unit, hashed = read_segment(packet.body, self.header, self._budget)
            self._check_order(unit)
        except StreamError as error:
            if not self._seen:
                raise  # whoever made this stream meant it: damage leaves no good checksum
            self._refuse(packet, error)
            return
        yield from self._close()
        self._note_lost(unit.segment.first)
        unit.offset = packet.offset
        self._unit, self._hashed = unit, hashed
        self._seen.add((unit.segment.intra, packet.offset))
        self._poc, self._anchor, self._pts = unit.segment.stop, unit.stop_anchor, unit.pts[-1]
        self.stop = self._poc

    def _note_lost(self, stop: int) -> None:
        """Say which pictures before `stop` no segment has."""
        if self._poc < stop:
            self._note(f"pictures {self._poc}..{stop - 1} are lost with their segments")

    def _check_order(self, unit: Unit) -> None:
        """StreamError if the unit cannot come after what was read."""
        segment, gap = unit.segment, unit.segment.first - self._poc
        early = self._pts is not None and unit.pts[0] - self._pts <= gap
        anchor_fits = unit.first_anchor == self._anchor if gap == 0 else unit.first_anchor >= self._anchor
        if not 0 <= gap <= MAX_JUMP or early or not anchor_fits or (segment.leading and segment.first == 0):
            raise StreamError(f"SEGMENT packet: pictures {segment.first}..{segment.stop - 1} are out of order")

    def _add(self, packet: Packet) -> None:
        """Put a packet into the unit it belongs to."""
        try:
            if self._unit is None:
                raise StreamError(f"{packet.kind.name} packet: belongs to no segment")
            ADD[packet.kind](self._unit, packet.body, packet.offset, self._budget)
        except StreamError as error:
            self._refuse(packet, error)

    def _close(self) -> Iterator[Unit]:
        """The unit that was being read, if any."""
        if unit := self._unit:
            self._unit = None
            unit.damage += missing(unit, hashed=self._hashed)
            self._idle += not unit.anchor_packets
            yield unit

    def _end(self, packet: Packet) -> Iterator[Unit]:
        """The last units; checks that the index tells of the same stream."""
        self._ended = True
        yield from self._close()
        try:
            values = unpack(syntax.END, packet.body, "END packet", self._budget)
            if not 0 <= values["pictures"] - self._poc <= MAX_JUMP:
                raise StreamError(f"END packet: {values['pictures']} pictures, {self._poc} were found")
            self._note_lost(values["pictures"])
            self.stop = values["pictures"]
            if not self._seen.issubset(entries(values)):
                raise StreamError("END packet: the index does not match the segments")
        except StreamError as error:
            self._note(f"at byte {packet.offset}: {error}")
        trailer = frame_trailer(packet.stop - packet.offset)
        if self._source.take(len(trailer) + 1) != trailer:
            self._note(f"at byte {packet.stop}: the file should end with the length of the END packet, and does not")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Puts the name of the stream before what a StreamError says."""
    try:
        yield
    except StreamError as error:
        raise type(error)(f"{name}: {error}") from error
