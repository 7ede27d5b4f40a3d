# SPDX-License-Identifier: MIT
"""Reading .ncm streams, whole or damaged, from files and pipes.

    with path.open("rb") as file:
        reader = StreamReader(file)
        for unit in reader.units():
            ...  # unit.damage says what it lacks
        reader.damage, reader.truncated

A reader never stops at damage: it goes on with the next good packet, and the pictures of all units together are
0, 1, 2, ... without a gap or a repeat. Pictures whose segment is lost come in a unit without anchors.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from ..bitstream import syntax
from ..errors import InputError, StreamError
from ..gop.structure import Segment
from .fields import unpack
from .framing import Lost, Packet, PacketSource, frame_trailer, read_header
from .index import catalogue, entries, unit_at
from .syntax import Kind
from .units import (
    Damage,
    Header,
    Unit,
    add_anchors,
    add_bframes,
    add_hashes,
    missing,
    read_segment,
)

MAX_JUMP = 1 << 20  # pictures lost in one go; a larger step is not a gap but a wrong segment
ADD = {Kind.ANCHORS: add_anchors, Kind.BFRAMES: add_bframes, Kind.HASHES: add_hashes}


class StreamReader:
    """Reads a stream, from a pipe too; StreamError if it does not start with a good header.

    `damage` is what is wrong with the file, at the picture that was being read or comes next, and `truncated` whether
    it ends too early; both are known once `units` is through. Units are what was written if `damage` is empty here
    and in each of them.
    """

    damage: list[Damage]
    truncated: bool
    _ended: bool

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        source = PacketSource(file)
        self.header = read_header(source)
        self._start = source.offset
        self._restart(source, poc=0, anchor=0)

    def units(self) -> Iterator[Unit]:
        """The units from where the reader stands, each with what the stream still has of it."""
        if self._ended:
            return
        lost: Lost | None = None
        for item in self._source.packets():
            lost = item if isinstance(item, Lost) else None
            if isinstance(item, Lost):
                self._note(f"bytes {item.offset}..{item.stop - 1} are damaged")
            elif item.kind == Kind.SEGMENT:
                yield from self._begin(item)
            elif item.kind == Kind.END:
                yield from self._end(item)
                return
            else:
                self._add(item)
        self._ended = True
        yield from self._close()
        self.truncated = lost is None or not lost.tail.endswith(syntax.END_MAGIC)
        self._note("the stream is cut short" if self.truncated else "the index is damaged")

    def index(self) -> list[tuple[int, int]]:
        """(poc of the I, offset) of each segment, by reading the whole file if need be. StreamError on a pipe."""
        return catalogue(self._file, self.header, self._start)[0]

    def picture_count(self) -> int | None:
        """The number of pictures as far as the file tells, None on a pipe."""
        try:
            return catalogue(self._file, self.header, self._start)[1]
        except StreamError:
            return None

    def seek(self, poc: int) -> None:
        """Make `units` start with the segment that has this picture, or with an earlier one if that is damaged.

        StreamError if the file is a pipe or has no such picture.
        """
        listed, total = catalogue(self._file, self.header, self._start)
        if not 0 <= poc < total:
            raise StreamError(f"there is no picture {poc}; the stream has {total}")
        # The picture may lead the first I after it.
        stop = sum(intra <= poc for intra, _ in listed) + 1
        for _, offset in reversed(listed[:stop]):
            unit = unit_at(self._file, self.header, offset)
            if unit and unit.segment.first <= poc:
                break
        else:
            unit, offset = None, self._start
        self._file.seek(offset)
        first, anchor = (unit.segment.first, unit.first_anchor) if unit else (0, 0)
        self._restart(PacketSource(self._file, offset), poc=first, anchor=anchor)

    def _restart(self, source: PacketSource, *, poc: int, anchor: int) -> None:
        """Expect this picture and this anchor next."""
        self._source, self._poc, self._anchor = source, poc, anchor
        self._pts: int | None = None  # of the picture before
        self._unit: Unit | None = None
        self._hashed = self._ended = False
        self._seen: set[tuple[int, int]] = set()
        self.damage, self.truncated = [], False

    def _note(self, what: str) -> None:
        self.damage.append(Damage(self._unit.segment.first if self._unit else self._poc, what))

    def _begin(self, packet: Packet) -> Iterator[Unit]:
        """Start a unit; the one before, and stand-ins for what is missing between."""
        try:
            unit, hashed = read_segment(packet.body, self.header)
            self._check_order(unit)
        except StreamError as error:
            self._note(f"at byte {packet.offset}: {error}")
            return
        yield from self._close()
        yield from self._stand_ins(unit.segment.first, unit.pts[0])
        unit.offset = packet.offset
        self._unit, self._hashed = unit, hashed
        self._seen.add((unit.segment.intra, packet.offset))
        self._poc, self._anchor, self._pts = unit.segment.stop, unit.stop_anchor, unit.pts[-1]

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
            known = self._unit.sizes.keys()
            ADD[packet.kind](self._unit, packet.body)
            self._unit.offsets |= dict.fromkeys(self._unit.sizes.keys() - known, packet.offset)
        except StreamError as error:
            self._note(f"at byte {packet.offset}: {error}")

    def _close(self) -> Iterator[Unit]:
        """The unit that was being read, if any."""
        if unit := self._unit:
            self._unit = None
            unit.damage += missing(unit, hashed=self._hashed)
            yield unit

    def _stand_ins(self, stop: int, pts: int | None) -> Iterator[Unit]:
        """Units for the pictures up to `stop`, which is shown at `pts`, none longer than the intra period."""
        first = self._poc
        times = guess_times(self.header, range(first, stop), before=self._pts, after=pts)
        for start in range(first, stop, self.header.intra_period):
            end = min(start + self.header.intra_period, stop)
            segment = Segment(start, (1,) * (end - start - 1))
            damage = [Damage(start, f"the segment of pictures {start}..{end - 1} is lost")]
            yield Unit(segment, self._anchor, tuple(times[start - first : end - first]), damage=damage)

    def _end(self, packet: Packet) -> Iterator[Unit]:
        """The last units; checks that the index tells of the same stream."""
        self._ended = True
        yield from self._close()
        try:
            values = unpack(syntax.END, packet.body, "END packet")
            if not 0 <= values["pictures"] - self._poc <= MAX_JUMP:
                raise StreamError(f"END packet: {values['pictures']} pictures, {self._poc} were found")
            yield from self._stand_ins(values["pictures"], None)
            if not self._seen.issubset(entries(values)):
                raise StreamError("END packet: the index does not match the segments")
        except StreamError as error:
            self._note(f"at byte {packet.offset}: {error}")
        trailer = frame_trailer(packet.stop - packet.offset)
        if self._source.take(len(trailer) + 1) != trailer:
            self._note(f"at byte {packet.stop}: the file should end with the length of the END packet, and does not")


def guess_times(header: Header, pocs: range, *, before: int | None, after: int | None) -> list[int]:
    """Times for lost pictures between the times `before` and `after`: nominal if they fit, else evenly spread."""
    if after is not None:
        shift = after - header.nominal_pts(pocs.stop)
    else:
        shift = 0 if before is None else before - header.nominal_pts(pocs.start - 1)
    times = [header.nominal_pts(poc) + shift for poc in pocs]
    known = [time for time in (before, *times, after) if time is not None]
    if all(a < b for a, b in pairwise(known)):
        return times
    count = len(pocs) + 1
    low = before if before is not None else after - count if after is not None else -1
    high = after if after is not None else low + count
    return [low + (high - low) * k // count for k in range(1, count)]


@contextmanager
def reading(path: str | Path) -> Iterator[tuple[str, StreamReader]]:
    """An .ncm stream's name for messages and its reader; '-' is standard input.

    InputError if the file cannot be opened, StreamError naming it if it is not such a stream.
    """
    name = "standard input" if str(path) == "-" else str(path)
    with ExitStack() as stack:
        try:
            file = sys.stdin.buffer if str(path) == "-" else stack.enter_context(Path(path).open("rb"))
            reader = StreamReader(file)
        except OSError as err:
            raise InputError(f"{name}: cannot be read ({err.strerror}); check the path") from err
        except StreamError as err:
            raise type(err)(f"{name}: {err}") from err
        yield name, reader
