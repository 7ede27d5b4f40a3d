# SPDX-License-Identifier: MIT
"""Stand-ins for lost pictures: short holes between pictures that are there are filled, all else is left out.

A stream may claim any number of pictures in a few bytes. So no more stand-ins are shown than real pictures came before
them, and a few; and nothing is invented after the last real picture.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from ..bitstream.units import Header
from ..video.picture import Frame
from .under_way import Shown

FREE_STAND_INS = 256  # pictures that may be invented whatever came before
FREE_SAMPLES = 1 << 28  # of luma in these: 129 pictures of 1920x1080, four of 8192x8192


class Concealer:
    """Completes the pictures of a stream from `first` on; `missing` counts those that are left out."""

    def __init__(self, header: Header, first: int) -> None:
        self.missing = 0
        self._header = header
        self._next = first
        self._before: Shown | None = None
        self._allowed = min(FREE_STAND_INS, FREE_SAMPLES // header.info.pixels)
        self._waiting: dict[int, Shown] = {}  # in display order

    def completed(self, pictures: Iterable[Shown]) -> Iterator[Shown]:
        """The pictures in display order, with what lies between those that are not concealed, as far as it is known."""
        for picture in pictures:
            if picture.concealed:
                self._wait(picture)
                continue
            if self._next < picture.poc:
                yield from self._bridge(picture)
            yield picture
            self._allowed += 1
            self._before, self._next = picture, picture.poc + 1

    def finish(self, stop: int) -> None:
        """The stream has ended, and has pictures up to `stop`."""
        self.missing += max(0, stop - self._next)

    def _wait(self, picture: Shown) -> None:
        """Keep a concealed picture until a real one follows; none that would be left out anyway."""
        if picture.poc < self._next + self._allowed:
            self._waiting[picture.poc] = picture

    def _bridge(self, after: Shown) -> Iterator[Shown]:
        """What stands for the pictures between the last real one and this."""
        count, known = after.poc - self._next, list(self._waiting.values())
        self._waiting = {}
        if count > self._allowed:
            self.missing += count
            return
        self._allowed -= count
        before, stop = self._before, self._next
        for picture in (*known, after):
            yield from self._stand_ins(range(stop, picture.poc), before, picture)
            if picture is not after:
                yield picture
            before, stop = picture, picture.poc + 1

    def _stand_ins(self, lost: range, before: Shown | None, after: Shown) -> Iterator[Shown]:
        """Copies of the picture before, or after if there is none, for lost pictures."""
        copied = before or after
        times = guess_times(self._header, lost, before=before and before.frame.pts, after=after.frame.pts)
        for poc, pts in zip(lost, times, strict=True):
            yield Shown(poc, "P", Frame(pts, copied.frame.picture), True, copied.decoded)


def guess_times(header: Header, pocs: range, *, before: int | None, after: int) -> list[int]:
    """Times for lost pictures between the times `before` and `after`: nominal if they fit, else evenly spread."""
    *times, end = header.nominal_pts([*pocs, pocs.stop])
    times = [time + after - end for time in times]
    known = times if before is None else [before, *times]
    if all(a < b for a, b in pairwise([*known, after])):
        return times
    count = len(pocs) + 1
    low = after - count if before is None else before
    return [low + (after - low) * k // count for k in range(1, count)]
