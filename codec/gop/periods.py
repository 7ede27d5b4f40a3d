# SPDX-License-Identifier: MIT
"""Cut a video into intra periods as its frames arrive, never across a scene cut, and those into segments by a schedule.

frames --periods--> Period --arranged (with a schedule)--> SourceSegment
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from ..video.picture import Frame
from .scene_cuts import is_cut, shrink
from .structure import Segment, schedule

FLASH = 2  # frames that a flash lasts at most


class Period(NamedTuple):
    """The frames from one I on up to the next; `linked` if that comes and no cut lies before it."""

    intra: int
    frames: tuple[Frame, ...]
    linked: bool


@dataclass(frozen=True)
class SourceSegment:
    """A segment and its source frames in display order, those that lead its I included."""

    segment: Segment
    frames: tuple[Frame, ...]

    @property
    def pts(self) -> tuple[int, ...]:
        """Presentation time of each picture in display order, in units of the video's time base."""
        return tuple(frame.pts for frame in self.frames)

    def at(self, poc: int) -> Frame:
        """The source frame at this POC."""
        return self.frames[poc - self.segment.first]


Schedule = Callable[[Period], tuple[int, ...]]  # the distances between a period's anchors, from its I on


def periods(frames: Iterable[Frame], intra_period: int) -> Iterator[Period]:
    """The intra periods of a video, in order, holding at most one of them and a few frames at a time."""
    held: list[Frame] = []
    first = 0
    for frame, cut in _with_cuts(frames):
        if held and (cut or len(held) == intra_period):
            yield Period(first, tuple(held), not cut)
            first, held = first + len(held), []
        held.append(frame)
    if held:
        yield Period(first, tuple(held), False)


def arranged(source: Iterable[Period], plan: Schedule) -> Iterator[SourceSegment]:
    """The segments that a schedule makes of the periods.

    The frames after a period's last anchor wait for the next segment, whose I they refer to.
    """
    waiting: tuple[Frame, ...] = ()
    for period in source:
        segment = Segment(period.intra, plan(period), len(waiting))
        own = segment.stop - period.intra
        yield SourceSegment(segment, (*waiting, *period.frames[:own]))
        waiting = period.frames[own:]


def every(distance: int) -> Schedule:
    """The schedule with anchors `distance` apart."""
    return lambda period: schedule(len(period.frames), distance, linked=period.linked)


def _with_cuts(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether a scene cut lies just before it. A flash, after which the scene goes on, is none."""
    source, ahead = iter(frames), deque[Frame]()
    before = None
    while (frame := ahead.popleft() if ahead else next(source, None)) is not None:
        small = shrink(frame.picture)
        cut = before is not None and is_cut(before, small)
        if before is not None and cut:
            ahead.extend(islice(source, FLASH - len(ahead)))
            if any(not is_cut(before, shrink(later.picture)) for later in ahead):
                yield frame, False
                continue  # what follows is compared with the scene, not with the flash
        yield frame, cut
        before = small
