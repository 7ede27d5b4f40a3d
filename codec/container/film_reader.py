# SPDX-License-Identifier: MIT
"""Reading a film: an .mp4 or .mkv with an .ncm stream inside, as a file that holds that stream.

Bytes come a segment at a time, so memory is bounded by one. To seek, a reader first learns from the END packet where
segments start in the stream; the film's own index then tells where they lie in the film.
"""

from collections.abc import Iterator
from fractions import Fraction
from io import SEEK_CUR, SEEK_END, RawIOBase, UnsupportedOperation
from itertools import chain, dropwhile
from typing import BinaryIO

from .film_groups import FilmGroups
from .packing import End, Group, end_of, fitted

FAR = 1 << 60  # a time past the end of any film
TRIES = 8  # to find a segment by its time before all is read up to it
CHUNK = 1 << 16


class FilmReader(RawIOBase):
    """The .ncm stream of a film as a file, which can seek where the film's own file can.

    StreamError if there is none in the file; FFmpegError if it is no film at all.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._groups = FilmGroups(file)
        self._seekable = file.seekable()
        self._seen: dict[int, tuple[int, int]] = {}  # when groups are shown and decoded, by their places in the stream
        self._end: End | None = None
        self._ends = False  # whether the END packet was looked for
        self._begins = len(self._groups.start)  # where the first segment stands in the stream
        self._intra = 0  # its I
        self._pts = 0  # when that is shown, in the stream's time
        self._play(self._groups.from_start(), self._begins)
        self._add_header()

    @property
    def companions(self) -> list[str]:
        """What goes beside the pictures, in words."""
        return self._groups.companions

    @property
    def origin(self) -> Fraction:
        """At how many seconds of the film the time of the stream starts, which others may have moved."""
        self._see_first()
        shown = self._seen[self._begins][0] * (self._groups.stream.time_base or Fraction(1))
        return shown - self._pts * self._groups.header.time_base

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """Whether the film's own file can seek."""
        return self._seekable

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the stream; fewer at its end."""
        while size < 0 or len(self._buffer) < size:
            item = next(self._items, None)
            if item is None:
                break
            self._buffer += item
        data = bytes(self._buffer[: size if size >= 0 else None])
        del self._buffer[: len(data)]
        self._position += len(data)
        return data

    def tell(self) -> int:
        """The place of the next byte in the stream. UnsupportedOperation on a pipe."""
        if not self._seekable:
            raise UnsupportedOperation("a film on a pipe")
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the stream, by the film's own index if a segment starts there. As `tell`."""
        here = self.tell()
        offset += self._size() if whence == SEEK_END else here if whence == SEEK_CUR else 0
        end = self._found_end()
        if end is not None and offset >= end.offset:
            self._play(iter(()), end.offset)
            self._items = iter((end.data,))
        else:
            self._go(offset, end)
        while self._position < offset and self.read(min(CHUNK, offset - self._position)):
            pass
        return self._position

    def close(self) -> None:
        """Close the film, but not the file it is read from."""
        self._groups.close()
        super().close()

    def _play(self, groups: Iterator[Group], position: int) -> None:
        """Read on with these groups, the first of which starts at a place in the stream."""
        self._buffer, self._position = bytearray(), position
        self._items = self._stream(groups, position)

    def _add_header(self) -> None:
        """Put the header before the first segment."""
        self._items, self._position = chain((self._groups.start,), self._items), 0

    def _see_first(self) -> None:
        """Read up to the first segment, unless that was seen."""
        while not self._seen and (item := next(self._items, None)) is not None:
            self._buffer += item

    def _stream(self, groups: Iterator[Group], position: int) -> Iterator[bytes]:
        """The stream's bytes, item by item; notes where groups start."""
        for group in groups:
            if not self._seen and (unit := group.unit(self._groups.header)) is not None:
                self._intra, self._pts = unit.segment.intra, unit.pts[unit.segment.leading]
            self._seen[position] = group.shown, group.decoded
            for item in group.stream(self._groups.form):
                whole = fitted(item, (self._intra, self._begins))
                position += len(whole)
                yield whole

    def _size(self) -> int:
        """Bytes of the whole stream; reads all of it if there is no END packet."""
        if end := self._found_end():
            return end.offset + len(end.data)
        while self.read(CHUNK):
            pass
        return self._position

    def _found_end(self) -> End | None:
        """The END packet, looked for once, by the film's last group."""
        if not self._ends:
            self._ends = True
            self._see_first()
            for group in self._groups.at(FAR):  # one, or a few
                self._end = end_of(group, self._groups.form, self._groups.header, (self._intra, self._begins))
            self._play(iter(()), FAR)  # the film stands at its end now
        return self._end

    def _go(self, offset: int, end: End | None) -> None:
        """Go to the last group known to start at a place or before it, unless reading on is as near."""
        if offset < self._begins:
            if self._position > offset:
                self._resume(self._begins)
                self._add_header()
            return
        seen = max(place for place in self._seen if place <= offset)
        listed = max((place for place in end.intras if place <= offset), default=0) if end else 0
        if max(seen, listed) <= self._position <= offset:
            return
        if end is None or listed <= seen or not self._find(listed, end.intras[listed]):
            self._resume(seen)

    def _find(self, place: int, intra: int) -> bool:
        """Go to the group at a place whose I has this poc, by when it should be shown; whether it is there."""
        between, header = self._groups.between, self._groups.header
        time = self._seen[self._begins][0] + between(self._intra, intra)
        for _ in range(TRIES):
            groups = self._groups.at(time)
            group = next(groups, None)
            unit = None if group is None else group.unit(header)
            if group is None or unit is None:
                return False
            if unit.segment.intra == intra:
                self._play(chain([group], groups), place)
                return True
            time = group.shown + between(unit.segment.intra, intra)
            if unit.segment.intra > intra:
                time = min(time, group.decoded - 1)
        return False

    def _resume(self, place: int) -> None:
        """Go to a group that was seen."""
        shown, decoded = self._seen[place]
        for time in (decoded, -FAR):
            groups = dropwhile(lambda group: group.shown < shown, self._groups.at(time))
            first = next(groups, None)
            if first is not None and first.shown == shown:
                break
        self._play(groups if first is None else chain([first], groups), place)
