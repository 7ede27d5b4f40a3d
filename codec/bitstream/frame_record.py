# SPDX-License-Identifier: MIT
"""What each picture of a stream cost, from a unit that was written or read."""

from typing import NamedTuple

from .units import Unit


class FrameRecord(NamedTuple):
    """What a picture cost: the bits of its own bytes, without framing; `offset` is that of the packet they are in.

    `mode` is its coder's if it is a B-frame with a payload. One without has 0 bits and its SEGMENT packet's offset.
    `filtered` says of an anchor that it is shown filtered.
    """

    poc: int
    kind: str
    mode: int | None
    bits: int
    offset: int
    filtered: bool = False


def records(unit: Unit) -> list[FrameRecord]:
    """What each picture of a unit that was written or read cost, in coding order."""
    sizes = unit.sizes
    modes = {poc: bframe.mode for poc, bframe in unit.bframes.items()}

    def record(poc: int, kind: str) -> FrameRecord:
        bits, offset = 8 * sizes.get(poc, 0), unit.offsets.get(poc, unit.offset)
        return FrameRecord(poc, kind, modes.get(poc), bits, offset, kind != "B" and any(unit.strengths))

    return [record(picture.poc, picture.kind) for picture in unit.segment.pictures()]
