# SPDX-License-Identifier: MIT
"""What `codec info` prints: a stream's header and a table of its frames, without decoding a picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .frame_record import FrameRecord, records
from .reader import StreamReader, reading
from .units import Header


@dataclass(frozen=True)
class StreamInfo:
    """A stream as it lies in its file: header, a record a frame in display order, and what is damaged, a line each."""

    header: Header
    frames: tuple[FrameRecord, ...]
    pts: tuple[int, ...]
    damage: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of pictures of each kind."""
        return {kind: sum(frame.kind == kind for frame in self.frames) for kind in "IPB"}

    @property
    def plan(self) -> str:
        """Kinds of all pictures in display order, a line for each I: I, P, B, and b for B-frames without bits."""
        return plan_letters((frame.kind, frame.bits) for frame in self.frames)

    def text(self) -> str:
        """The header, a line an element, then the table, then any damage."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        head = [f"{name:16}{_show(value)}" for name, value in vars(self.header).items()]
        head.append(f"{'frames':16}{len(self.frames)} ({kinds})")
        table = [f"{'poc':>7} {'pts':>9}  kind  {'mode':8} {'bits':>9} {'offset':>10}"]
        table += [f"{a:>7} {b:>9}  {c:4}  {d:8} {e:>9} {f:>10}" for a, b, c, d, e, f in self._cells()]
        return "\n".join([*head, "", *table, *(f"damage: {line}" for line in self.damage)])

    def csv(self) -> str:
        """A line for each picture in display order, after a line of names: poc, pts, kind, mode, bits, offset."""
        lines = [",".join(map(str, cells)) for cells in self._cells()]
        return "\n".join(["poc,pts,kind,mode,bits,offset", *lines])

    def _cells(self) -> Iterator[tuple[int, int, str, str, int, int]]:
        for frame, pts in zip(self.frames, self.pts, strict=True):
            yield frame.poc, pts, frame.kind, mode_name(frame), frame.bits, frame.offset


def info(src: str | Path) -> StreamInfo:
    """The header and a record of each picture of the stream at a path, '-' = standard input; nothing is decoded.

    InputError if it cannot be opened, StreamError if it is not an .ncm stream.
    """
    with reading(src) as (_, reader):
        return read_info(reader)


def read_info(reader: StreamReader) -> StreamInfo:
    """The header and a record of each picture from a reader, which is read to its end."""
    frames: list[FrameRecord] = []
    pts: list[int] = []
    damage: list[str] = []
    for unit in reader.units():
        frames += sorted(records(unit), key=lambda record: record.poc)
        pts += unit.pts
        damage += [f"frame {item.poc}: {item.what}" for item in unit.damage]
    damage += [f"frame {item.poc}: {item.what}" for item in reader.damage]
    return StreamInfo(reader.header, tuple(frames), tuple(pts), tuple(damage))


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def mode_name(record: FrameRecord) -> str:
    """How a picture was coded: 'anchor', 'filtered' for one shown filtered, or the mode of a B-frame."""
    if record.kind != "B":
        return "filtered" if record.filtered else "anchor"
    return "bitfree" if record.mode is None else "bitneed"


def plan_letters(pictures: Iterable[tuple[str, int]]) -> str:
    """Kinds and bits of pictures in display order as letters, a line for each I: I, P, B, and b for B without bits."""
    letters = "".join("b" if kind == "B" and not bits else kind for kind, bits in pictures)
    return letters.replace("I", "\nI").strip()
