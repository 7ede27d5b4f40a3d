# SPDX-License-Identifier: MIT
"""Cut a video into segments as its frames arrive: one intra period each, never across a scene cut."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .cuts import is_cut, shrink
from .frame import Frame
from .gop import Segment, schedule


@dataclass(frozen=True)
class SourceSegment:
    """A segment and its source frames in display order, those that lead its I included."""

    segment: Segment
    frames: tuple[Frame, ...]

    def at(self, poc: int) -> Frame:
        """The source frame at this POC."""
        return self.frames[poc - self.segment.first]


def segments(frames: Iterable[Frame], *, distance: int, intra_period: int) -> Iterator[SourceSegment]:
    """The segments of a video, in order, holding at most one intra period and one frame at a time.

    Anchors are `distance` apart. The frames after a segment's last anchor wait for the next one, whose I they refer to.
    """
    waiting: list[Frame] = []  # B-frames of the last segment that its last anchor left over
    held: list[Frame] = []
    first = 0  # POC of held[0]
    for frame, cut in _with_cuts(frames):
        if held and (cut or len(held) == intra_period):
            segment = schedule(first, len(held), distance, linked=not cut, leading=len(waiting))
            own = segment.stop - first
            yield SourceSegment(segment, (*waiting, *held[:own]))
            waiting, first, held = held[own:], first + len(held), []
        held.append(frame)
    if held:
        segment = schedule(first, len(held), distance, linked=False, leading=len(waiting))
        yield SourceSegment(segment, (*waiting, *held))


def _with_cuts(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether a scene cut lies just before it."""
    before = None
    for frame in frames:
        small = shrink(frame.picture)
        yield frame, before is not None and is_cut(before, small)
        before = small
