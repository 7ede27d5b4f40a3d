# SPDX-License-Identifier: MIT
"""Writing .ncm streams, front to back, the index last.

    with path.open("wb") as file:
        writer = StreamWriter(file, header)
        for unit in units:
            writer.write(unit)
        writer.finish()

A unit that does not go on where the last one ended is refused, and nothing of it is written.
"""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

from . import syntax
from .checks import check_unit
from .fields import MAX_LIST, pack
from .frame_record import FrameRecord, records
from .framing import frame_packet, frame_trailer, write_header
from .syntax import Kind
from .units import Header, Unit, contents


class Output(Protocol):
    """What a stream is written to."""

    def write(self, item: bytes, /) -> object:
        """Take an item of the stream whole: the header, a packet, or the END packet with the bytes behind it."""
        ...


class StreamWriter:
    """Writes a stream front to back, to anything that takes bytes; ValueError for what does not fit together."""

    def __init__(self, file: Output, header: Header) -> None:
        self.header = header
        self.bytes_written = 0
        self.bytes_by_kind: Counter[str] = Counter()
        self._file = file
        self._index: list[tuple[int, int]] = []
        self._last: Unit | None = None
        self._finished = False
        self._put("header", write_header(header))

    def write(self, unit: Unit) -> list[FrameRecord]:
        """Append a unit; what each picture cost, in coding order. Nothing is written if it raises ValueError."""
        check_unit(unit, self.header)
        packets = [(packet, frame_packet(packet.kind, packet.body)) for packet in contents(unit, self.header)]
        self._check_order(unit)
        written = replace(unit, offset=self.bytes_written, offsets={})
        self._index.append((unit.segment.intra, self.bytes_written))
        self._last = unit
        for packet, data in packets:
            written.offsets |= dict.fromkeys(packet.pocs, self.bytes_written)
            self._put(packet.kind.name, data)
        return records(written)

    def finish(self) -> None:
        """Write the index. ValueError if there are no pictures. The file stays open."""
        if self._last is None or self._finished:
            raise ValueError("a stream needs pictures, and ends once")
        intras, offsets = zip(*self._index, strict=True)
        values = {
            "pictures": self._last.segment.stop,
            "segments": len(self._index),
            "offsets": [b - a for a, b in pairwise((0, *offsets))],
            "intras": [b - a for a, b in pairwise((0, *intras))],
        }
        end = frame_packet(Kind.END, pack(syntax.END, values))
        self._put(Kind.END.name, end + frame_trailer(len(end)))
        self._finished = True

    def _check_order(self, unit: Unit) -> None:
        """ValueError if the unit does not go on where the last one ended."""
        last, segment = self._last, unit.segment
        poc, anchor = (last.segment.stop, last.stop_anchor) if last else (0, 0)
        name = f"pictures {segment.first}..{segment.stop - 1}"
        if self._finished or len(self._index) == MAX_LIST:
            raise ValueError(f"{name}: the stream has ended or has too many segments")
        if (segment.first, unit.first_anchor) != (poc, anchor):
            raise ValueError(f"{name} from anchor {unit.first_anchor} on; {poc} and {anchor} come next")
        if segment.leading and not last:
            raise ValueError(f"{name}: the first segment cannot have leading B-frames")
        if last and unit.pts[0] <= last.pts[-1]:
            raise ValueError(f"{name}: pts {unit.pts[0]} does not follow {last.pts[-1]}")

    def _put(self, kind: str, data: bytes) -> None:
        self._file.write(data)
        self.bytes_written += len(data)
        self.bytes_by_kind[kind] += len(data)
