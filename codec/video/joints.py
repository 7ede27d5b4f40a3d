# SPDX-License-Identifier: MIT
"""Clocks that are set anew within a file: recordings put one after the other, as those of .ts often are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Stream

Packet: TypeAlias = "av.Packet[Any]"
LONGEST_PAUSE = 10  # seconds without a packet of any track, as FFmpeg allows; more is a clock that was set anew
LONGEST_STEP_BACK = Fraction(1, 10)  # of a track's times of decoding, as FFmpeg allows
STEADY = ("audio", "video")  # tracks that tell of clocks; others are silent for as long as they like


@dataclass
class _Clock:
    """A clock of the file: what has its times go on from those before, and the latest of them, in seconds."""

    shift: Fraction
    latest: Fraction


@dataclass
class _Track:
    """A track's clock, its last time by that, and the same as it was mended, in seconds."""

    clock: _Clock
    last: Fraction
    mended: Fraction


class Joints:
    """Has the times of a file's packets go on where a clock was set anew. Takes all packets in the file's order.

    Tracks change to a new clock one by one, as their packets come. All are shifted alike, so they stay in step.
    """

    def __init__(self) -> None:
        self._clocks: list[_Clock] = []
        self._tracks: dict[int, _Track] = {}
        self._start: Fraction | None = None
        self._end = Fraction(0)  # of all that came, as it was mended

    def mend(self, packet: Packet) -> Fraction | None:
        """Shift a packet's times; when it is decoded, in seconds from the start, if it is the first after a joint."""
        if packet.dts is None or packet.stream.type not in STEADY:
            if self._clocks:
                _shift(packet, self._clocks[-1].shift)
            return None
        time, known, before = packet.dts * packet.time_base, len(self._clocks), self._tracks.get(packet.stream.index)
        clock = self._clock(before, time)
        clock.latest = max(clock.latest, time)
        mended, length = time + clock.shift, (packet.duration or 0) * packet.time_base
        if before is not None and before.clock is clock:
            length = length or time - before.last
        if before is not None and clock is not self._clocks[0]:  # it may begin a little before the one before has ended
            mended = max(mended, before.mended + packet.time_base)
        self._tracks[packet.stream.index] = _Track(clock, time, mended)
        self._end = max(self._end, mended + length)
        _shift(packet, mended - time)
        self._start = mended if self._start is None else self._start
        return mended - self._start if 0 < known < len(self._clocks) else None

    def _clock(self, track: _Track | None, time: Fraction) -> _Clock:
        """The clock that a track's next time is of: still its own, the newest, or one that is newer still."""
        if track is not None and track.last - LONGEST_STEP_BACK <= time <= track.clock.latest + LONGEST_PAUSE:
            return track.clock
        newest = self._clocks[-1] if self._clocks else None
        if newest is None or (track and track.clock is newest) or abs(time - newest.latest) > LONGEST_PAUSE:
            self._clocks.append(_Clock(self._end - time if newest else Fraction(0), time))
        return self._clocks[-1]


def _shift(packet: Packet, seconds: Fraction) -> None:
    if ticks := round(seconds / packet.time_base):
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


def joined(container: InputContainer, wanted: Sequence[Stream]) -> Iterator[tuple[Packet, Fraction | None]]:
    """The packets of some streams, each with the time of a joint that lies before it; FFmpegError if unreadable.

    Only formats in which clocks may be set anew have joints.
    """
    if not Flags.ts_discont & Flags(container.format.flags):
        for packet in container.demux(wanted):
            yield packet, None
        return
    joints, joint = Joints(), None
    indices = {stream.index for stream in wanted}
    for packet in container.demux([s for s in container.streams if s.index in indices or s.type in STEADY]):
        joint = joints.mend(packet) or joint
        if packet.stream.index in indices:
            yield packet, joint
            joint = None
