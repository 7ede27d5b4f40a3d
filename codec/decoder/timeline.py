# SPDX-License-Identifier: MIT
"""Which frame of a stream is shown when, from the index and the heads of a few segments."""

import math
from bisect import bisect_right
from collections.abc import Callable
from fractions import Fraction

from ..bitstream.reader import StreamReader
from ..bitstream.units import Unit
from ..errors import StreamError
from ..values import Place, place_of


class Timeline:
    """The times of a stream of `count` frames, in seconds; `name` is for messages. StreamError on a pipe."""

    def __init__(self, reader: StreamReader, name: str, count: int) -> None:
        self._reader, self._name, self._count = reader, name, count
        self._info = reader.header.info

    def frame_at(self, place: Place) -> int:
        """The frame that is shown at a place. StreamError past the end."""
        number, time = place_of(place)
        if number is None:
            number, since = self._shown_at(time)
            end = since + 1 / self._info.frame_rate
            if number == self._count - 1 and time >= end:
                raise StreamError(f"{self._name}: there is nothing at {float(time):g} s; it ends at {float(end):g} s")
        if number >= self._count:
            raise StreamError(f"{self._name}: there is no frame {number}; it has {self._count}")
        return number

    def stop_at(self, place: Place) -> int:
        """How many frames are shown before a place."""
        number, time = place_of(place)
        if number is None:
            number, since = self._shown_at(time)
            number += since < time
        return min(number, self._count)

    def time_of(self, number: int) -> Fraction:
        """When a frame is shown."""
        unit = self._last(lambda unit: unit.segment.first <= number)
        place = 0 if unit is None else min(number - unit.segment.first, len(unit.pts) - 1)
        return self._info.time_base * (0 if unit is None else unit.pts[place])

    def _shown_at(self, time: Fraction) -> tuple[int, Fraction]:
        """The frame that is shown at a time, and since when; the first one before that is shown."""
        ticks = math.floor(time / self._info.time_base)
        unit = self._last(lambda unit: unit.pts[0] <= ticks)
        if unit is None:
            return 0, time
        place = bisect_right(unit.pts, ticks) - 1
        return unit.segment.first + place, unit.pts[place] * self._info.time_base

    def _last(self, fits: Callable[[Unit], bool]) -> Unit | None:
        """The head of the last segment that fits, where those that do come before those that do not."""
        listed = self._reader.index()
        low, high, found = 0, len(listed), None
        while low < high:
            middle = (low + high) // 2
            unit = self._reader.unit_at(listed[middle][1])
            if unit is not None and fits(unit):
                low, found = middle + 1, unit
            else:
                high = middle
        return found
