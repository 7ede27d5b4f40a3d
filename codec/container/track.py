# SPDX-License-Identifier: MIT
"""The pictures of a film as libavformat writes them: samples with their times of decoding and of presentation."""

import math
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream

from ..bitstream.units import AnchorPacket, Header
from ..errors import OutputError
from ..video.companions import Companions
from ..video.libav_presentation import describe_track
from ..video.libav_writer import Pauses, check_seekable
from .formats import SAMPLE_FORMATS

FINEST = 16_000  # ticks a second that a film has at least
OPTIONS = {"mp4": {"movflags": "+faststart"}, "mov": {"movflags": "+faststart"}}  # the index first
TAGS = {("hevc", "mp4"): "hvc1", ("hevc", "mov"): "hvc1"}  # the name that Apple's players ask for


class Track:
    """The video of a film that is being written to a file; OSError, FFmpegError, OutputError if it cannot be."""

    def __init__(self, path: Path, container: str, header: Header, first: bytes, companions: Companions | None) -> None:
        check_seekable(path, container)
        self._companions = companions
        self._form = SAMPLE_FORMATS[header.anchor_codec]
        self._ticks = max(1, round(header.time_base * FINEST))  # of ours in one of the stream's
        self._time_base = header.time_base / self._ticks
        self._step = max(1, round(1 / (header.frame_rate * self._time_base)))
        # Players drop what comes before 0.
        self._start = max(0, round(header.info.presentation.start / self._time_base))
        self._pauses, self._moment = Pauses(container, self._time_base), -1  # the last anchor's, in milliseconds
        self._shown: list[int] = []  # when the last anchors are shown, for the times of decoding
        # 'file:' keeps FFmpeg from taking the start of a name such as 'a:b.mkv' for a protocol.
        self._film = av.open(f"file:{path}", "w", format=container, options=OPTIONS.get(container, {}))
        try:
            self._stream = self._open(header, first, container)
            if companions is not None:
                companions.delay(self._start * self._time_base)
                companions.join(self._film)
        except BaseException:
            self.abort()
            raise

    def _open(self, header: Header, first: bytes, container: str) -> VideoStream:
        """The stream, described to players by what libavformat reads from the first sample."""
        with av.open(self._probe(header, first)) as probe:
            stream = self._film.add_stream_from_template(probe.streams.video[0], opaque=True)
        if tag := TAGS.get((self._form.codec, container)):
            stream.codec_context.codec_tag = tag
        stream.time_base = self._time_base
        describe_track(stream, header.info)
        return stream

    def _probe(self, header: Header, first: bytes) -> BytesIO:
        """A film of one sample, from which libavformat makes the decoder's configuration."""
        file = BytesIO()
        with av.open(file, "w", format="matroska") as film:
            size = {"width": header.width, "height": header.height}
            stream = film.add_mux_stream(self._form.codec, time_base=self._time_base, **size)
            packet = _packet(self._form.raw(first))
            packet.pts = packet.dts = 0
            packet.stream = stream
            film.mux(packet)
        file.seek(0)
        return file

    def write(self, anchors: Sequence[AnchorPacket], times: Sequence[int], content: bytes) -> None:
        """Add a closed group of anchors in coding order; the first carries our content."""
        shown = [self._start + time * self._ticks for time in times]
        self._check_times(shown)
        for number, (anchor, pts, dts) in enumerate(zip(anchors, shown, self._decoding_times(shown), strict=True)):
            packet = _packet(self._form.sample(anchor.data, b"" if number else content))
            packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, self._step, self._time_base
            packet.is_keyframe = anchor.key
            packet.stream = self._stream
            if self._companions is not None:
                self._companions.mux(until=dts * self._time_base)
            self._film.mux(packet)

    def _check_times(self, shown: Sequence[int]) -> None:
        """OutputError if the container cannot say when these anchors are shown."""
        for time in sorted(shown):
            seconds = time * self._time_base
            self._pauses.check(seconds)
            before, self._moment = self._moment, math.floor(seconds * 1000 + Fraction(1, 2))
            if self._moment == before and self._film.format.name == "matroska":
                raise OutputError("matroska cannot hold two anchors in a millisecond; write to .mp4 or .ncm")

    def _decoding_times(self, shown: list[int]) -> list[int]:
        """Times of decoding: those of the anchors shown a few before, which never come after an anchor's own."""
        delay = self._form.reordering
        before = self._shown or [min(shown) - self._step * count for count in range(delay, 0, -1)]
        order = [*before, *sorted(shown)]
        self._shown = order[len(order) - delay :]
        times = [min(late, own) for late, own in zip(order, shown, strict=False)]
        for place in range(len(times) - 2, -1, -1):
            times[place] = min(times[place], times[place + 1] - 1)
        return times

    def finish(self) -> None:
        """Write what is left beside the pictures, and the index; close the file."""
        if self._companions is not None:
            self._companions.mux()
        self._film.close()

    def abort(self) -> None:
        """Close the file, whose content no longer matters."""
        with suppress(OSError, av.FFmpegError):  # closing writes an index, which may fail
            self._film.close()


def _packet(data: bytes) -> "av.Packet[Any]":
    packet: av.Packet[Any] = av.Packet(data)
    return packet
