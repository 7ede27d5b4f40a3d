# SPDX-License-Identifier: MIT
"""The groups of a film's samples that belong to one segment each, from its start or from a time on."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO, cast

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from ..errors import StreamError
from ..video.companions import kinds
from .formats import BY_CODEC, NO_STREAM
from .packing import Group, header_in
from .sample import Sample

PROBED = 2000  # packets to look at before a file is no film of ours
Packets = Iterable["av.Packet[Any]"]


class FilmGroups:
    """The video of a film. StreamError if the file is a film without a stream of ours; FFmpegError if it is none.

    `start` is the stream's header as bytes, or a copy of it if the film was cut.
    """

    def __init__(self, file: BinaryIO) -> None:
        # Titles and the like may be in any encoding; nothing here depends on them.
        self._film = av.open(file, "r", metadata_errors="ignore")
        try:
            self.stream, self.start, self._first = _find(self._film)
            self.header, _ = header_in(self.start)
        except BaseException:
            self._film.close()
            raise
        self.form = BY_CODEC[_codec(self.stream)]
        self._configuration = bytes(self.stream.codec_context.extradata or b"")

    @property
    def companions(self) -> list[str]:
        """What goes beside the video, in words."""
        return kinds(self._film)

    def from_start(self) -> Iterator[Group]:
        """All groups, of a film that nothing was read of yet."""
        return self._groups(self._first)

    def at(self, time: int) -> Iterator[Group]:
        """The groups from about a time on, in the stream's units: a key frame that is decoded by then, or shown."""
        try:
            self._film.seek(time, stream=self.stream)
        except (OSError, av.FFmpegError):
            return iter(())
        return self._groups(_readable(self._film.demux(self.stream)))

    def between(self, first: int, poc: int) -> int:
        """When a picture is shown at a constant rate, counted from another, in the stream's units; rounded up."""
        start, stop = self.header.nominal_pts([first, poc])
        return math.ceil((stop - start) * self.header.time_base / (self.stream.time_base or 1))

    def close(self) -> None:
        """Close the film, but not the file it is read from."""
        self._film.close()

    def _groups(self, packets: Packets) -> Iterator[Group]:
        """Samples by the units of ours among them; those before the first are left out."""
        samples = _Samples(
            (packet, self.form.read(bytes(packet), self._configuration))
            for packet in packets
            if packet.stream.index == self.stream.index and packet.size
        )
        for packet, sample in samples:
            if sample.content:
                shown = packet.pts or 0
                decoded = shown if packet.dts is None else min(shown, packet.dts)
                yield Group(sample.content, shown, decoded, chain([sample.parts], samples.without_unit()))


class _Samples:
    """Samples one after the other."""

    def __init__(self, samples: Iterator[tuple["av.Packet[Any]", Sample]]) -> None:
        self._samples = samples
        self._returned: tuple[av.Packet[Any], Sample] | None = None

    def __iter__(self) -> Iterator[tuple["av.Packet[Any]", Sample]]:
        return self

    def __next__(self) -> tuple["av.Packet[Any]", Sample]:
        returned, self._returned = self._returned, None
        return next(self._samples) if returned is None else returned

    def without_unit(self) -> Iterator[list[bytes]]:
        """The parts of the next samples, up to one that has a unit of ours."""
        for item in self:
            if item[1].content:
                self._returned = item
                return
            yield item[1].parts


def _find(film: InputContainer) -> tuple[VideoStream, bytes, Packets]:
    """The stream whose first sample has a header of ours, that header, and all packets. StreamError if none has."""
    streams = [stream for stream in film.streams.video if _codec(stream) in BY_CODEC]
    packets = _readable(film.demux(streams) if streams else ())
    looked_at: list[av.Packet[Any]] = []
    waiting = {stream.index for stream in streams}
    while waiting and len(looked_at) < PROBED and (packet := next(packets, None)) is not None:
        looked_at.append(packet)
        stream = cast(VideoStream, packet.stream)
        if packet.size and stream.index in waiting:
            waiting.remove(stream.index)
            content = BY_CODEC[_codec(stream)].read(bytes(packet), bytes(stream.codec_context.extradata or b"")).content
            if content:
                return stream, content[: header_in(content)[1]], chain(looked_at, packets)
    raise StreamError(NO_STREAM)


def _codec(stream: VideoStream) -> str:
    """FFmpeg's name of a stream's codec; empty if there is no decoder for it."""
    return stream.codec_context.codec.canonical_name if stream.codec_context is not None else ""


def _readable(packets: Packets) -> Iterator["av.Packet[Any]"]:
    """Packets up to where the film cannot be read any further."""
    try:
        yield from packets
    except (OSError, av.FFmpegError):
        return
