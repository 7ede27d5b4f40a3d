# SPDX-License-Identifier: MIT
"""The sound of a video: kept as it is, or stretched with its pitch kept, beside new pictures."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer

from ..errors import InputError, OutputError
from ..files import PathLike, Place, is_pipe
from ..video.companions import tell_left_out
from ..video.joints import joined
from ..video.libav_writer import CONTAINERS
from ..video.source import reason

Track: TypeAlias = Any  # PyAV's streams and packets, whose stubs know less than they do
Packet: TypeAlias = Any
CHOICES = ("stretch", "keep", "drop")
SLOWEST, FASTEST = Fraction(1, 2), Fraction(100)  # of one `atempo`; slower takes several
ENCODER, BITRATE = "aac", 160_000


@dataclass(frozen=True)
class Sound:
    """The first sound track of a file, at `tempo` times its speed; 1 is copied without a loss."""

    path: str
    tempo: Fraction = Fraction(1)


def sound_of(src: PathLike, choice: str, factor: Fraction) -> Sound | None:
    """The sound for a video that is `factor` times as long; None if it has none, or none is wanted or can be read.

    InputError if the choice is unknown.
    """
    if choice not in CHOICES:
        raise InputError(f"--sound {choice}: choose from {', '.join(CHOICES)}")
    if choice == "drop" or is_pipe(src) or Path(src).suffix.lower() in (".yuv", ".y4m"):
        return None
    try:
        with av.open(f"file:{src}", metadata_errors="ignore") as container:
            if not container.streams.audio:
                return None
            if container.streams.audio[0].codec_context is None:
                tell_left_out(src, ["sound"], "its codec is not known here")
                return None
    except (OSError, av.FFmpegError):
        return None  # who reads the pictures says what is wrong
    return Sound(str(src), 1 / factor if choice == "stretch" else Fraction(1))


def add_sound(video: Path, sound: Sound, target: PathLike) -> None:
    """Write the pictures of `video` and a sound into `target`, whole or not at all. OutputError."""
    place = Place(target)
    try:
        place.reserve()
        with (
            av.open(f"file:{video}") as pictures,
            av.open(f"file:{sound.path}", metadata_errors="ignore") as source,
            av.open(f"file:{place.path}", "w", format=CONTAINERS[Path(target).suffix.lower()].name) as made,
        ):
            tracks = [_copied(pictures.streams.video[0], made, Fraction(0))]
            delay = _start(source.streams.audio[0]) - _start(source.streams.video[0])
            track = _copied if sound.tempo == 1 else partial(_stretched, tempo=sound.tempo)
            tracks.append(track(source.streams.audio[0], made, delay))
            _mux(made, tracks)
        place.commit()
    except (OSError, ValueError, av.FFmpegError) as error:
        why = reason(error) if isinstance(error, OSError | av.FFmpegError) else str(error)
        raise OutputError(f"{target}: the sound cannot be written ({why}); try --sound drop") from error
    finally:
        place.abandon()


def _start(stream: Track) -> Fraction:
    return Fraction(stream.start_time or 0) * (stream.time_base or 1)


def _mux(made: OutputContainer, tracks: Iterable[Iterator[Packet]]) -> None:
    """Write the packets of all tracks in the order of their times."""
    for packet in merge(*tracks, key=lambda packet: (packet.dts or 0) * Fraction(packet.time_base)):
        made.mux(packet)


def _copied(stream: Track, made: OutputContainer, delay: Fraction) -> Iterator[Packet]:
    """The packets of a stream as they are, starting at `delay` seconds, for a new stream of the output."""
    copy = made.add_stream_from_template(stream)
    shift = round((delay - _start(stream)) / Fraction(stream.time_base or 1))

    def packets() -> Iterator[Packet]:
        for packet in _timed(packet for packet, _ in joined(stream.container, [stream]) if packet.size):
            packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, copy
            yield packet

    return packets()


def _timed(packets: Iterable[Packet]) -> Iterator[Any]:
    """Packets with decoding times. Matroska has none, and FFmpeg guesses none for the first few."""
    waiting: list[Any] = []
    for packet in packets:
        waiting.append(packet)
        if packet.dts is not None:
            yield from _counted_down(waiting, packet.dts)
            waiting = []
    yield from _counted_down(waiting, 0)


def _counted_down(packets: list[Any], last: int) -> list[Any]:
    """Packets, the last of which is decoded at `last`, and those before a tick earlier each."""
    for ahead, packet in enumerate(reversed(packets)):
        packet.dts = last - ahead
    return packets


def _stretched(stream: Track, made: OutputContainer, delay: Fraction, *, tempo: Fraction) -> Iterator[Packet]:
    """A stream decoded, played at `tempo` times its speed with its pitch kept, and encoded again."""
    coded: Track = made.add_stream(ENCODER, rate=stream.rate, bit_rate=BITRATE, layout=stream.layout)
    first = round(max(delay / tempo, 0) * stream.rate)

    def packets() -> Iterator[Packet]:
        count = first
        for frame in _at_tempo(stream, tempo):
            frame.pts, frame.time_base = count, Fraction(1, stream.rate)
            count += frame.samples
            yield from coded.encode(frame)
        yield from coded.encode(None)

    return packets()


def _at_tempo(stream: Track, tempo: Fraction) -> Iterator[AudioFrame]:
    """The decoded sound through FFmpeg's `atempo`, several in a row where one does not reach."""
    graph = av.filter.Graph()
    source, sink = graph.add_abuffer(template=stream), graph.add("abuffersink")
    steps = [graph.add("atempo", f"{float(part):.9f}") for part in tempos(tempo)]
    graph.link_nodes(source, *steps, sink).configure()
    for frame in chain(stream.container.decode(stream), [None]):
        graph.push(frame)
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield cast(AudioFrame, graph.pull())


def tempos(tempo: Fraction) -> list[Fraction]:
    """Factors that `atempo` takes, whose product is the tempo."""
    parts = []
    while not SLOWEST <= tempo <= FASTEST:
        parts.append(SLOWEST if tempo < SLOWEST else FASTEST)
        tempo /= parts[-1]
    return [*parts, tempo]
