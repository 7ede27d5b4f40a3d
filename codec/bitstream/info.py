# SPDX-License-Identifier: MIT
"""What `codec info` prints: a stream's header and a table of its frames, without decoding a picture."""

import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from ..gop.structure import Segment, needed
from .frame_record import FrameRecord, records
from .reader import StreamReader
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

    def bframes_for(self, wanted: Container[int]) -> list[int]:
        """POCs of the B-frames that are decoded to show some pictures, in coding order."""
        anchors = [poc for poc, frame in enumerate(self.frames) if frame.kind != "B"]
        return needed(Segment(anchors[0], tuple(high - low for low, high in pairwise(anchors))), wanted)

    @property
    def plan(self) -> str:
        """Kinds of all pictures in display order, a line for each I: I, P, B, and b for B-frames without bits."""
        return plan_letters((frame.kind, frame.bits) for frame in self.frames)

    def text(self) -> str:
        """The header, a line an element, then the table, then any damage."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.items())
        head = [f"{name:15} {_show(value)}" for name, value in vars(self.header).items() if name != "options"]
        for name, values in self.header.options.items():
            head.append(f"{name:15} {', '.join(_show(value) for value in values.values())}")
        head.append(f"{'frames':15} {len(self.frames)} ({kinds})")
        table = [f"{'poc':>7} {'pts':>9}  kind  {'mode':8} {'bits':>9} {'offset':>10}"]
        table += [f"{a:>7} {b:>9}  {c:4}  {d:8} {e:>9} {f:>10}" for a, b, c, d, e, f in self._cells()]
        return "\n".join([*head, "", *table, *(f"damage: {line}" for line in self.damage)])

    def csv(self) -> str:
        """A line for each picture in display order, after a line of names: poc, pts, kind, mode, bits, offset."""
        lines = [",".join(map(str, cells)) for cells in self._cells()]
        return "\n".join(["poc,pts,kind,mode,bits,offset", *lines])

    def json(self) -> str:
        """One object: the header's elements, its options, a list of frames with the names of `csv`, and damage."""
        header = {name: value for name, value in vars(self.header).items() if name != "options"}
        names = ("poc", "pts", "kind", "mode", "bits", "offset")
        frames = [dict(zip(names, cells, strict=True)) for cells in self._cells()]
        options = {name: dict(values) for name, values in self.header.options.items()}
        whole = {"header": header, "options": options, "frames": frames, "damage": self.damage}
        return json.dumps(whole, default=_show)

    def _cells(self) -> Iterator[tuple[int, int, str, str, int, int]]:
        for frame, pts in zip(self.frames, self.pts, strict=True):
            yield frame.poc, pts, frame.kind, mode_name(frame), frame.bits, frame.offset


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
