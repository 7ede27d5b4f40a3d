# SPDX-License-Identifier: MIT
"""Some pictures of a stream without those before them: the segments that it takes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from ..bitstream.reader import StreamReader
from ..bitstream.units import Unit
from ..gop.structure import Segment


def passage(reader: StreamReader, first: int, stop: int) -> Iterator[Unit]:
    """The units that show the pictures from `first` to `stop` - 1, and no others.

    If the first ones lead their I, they refer to the segment before: that comes too, as its anchors alone.
    StreamError if the stream is on a pipe or has no such pictures.
    """
    reader.seek(first, stop)
    units = reader.units()
    unit = next(units, None)
    if unit is None:
        return iter(())
    if first >= unit.segment.intra or unit.segment.first == 0:
        return chain([unit], units)
    reader.seek(unit.segment.first - 1, stop)
    units = reader.units()
    before = anchors_alone(next(units))
    reader.first = before.segment.first
    return chain([before], units)


def anchors_alone(unit: Unit) -> Unit:
    """A segment without its B-frames, the anchors next to each other; only the last keeps its place in the video."""
    segment = unit.segment
    count = len(segment.anchor_pocs)
    alone = Segment(segment.stop - count, (1,) * (count - 1))
    pts = tuple(unit.pts[poc - segment.first] for poc in segment.anchor_pocs)
    return replace(unit, segment=alone, pts=pts, bframes={}, coded=frozenset(), hashes=())
