# SPDX-License-Identifier: MIT
"""What of a film stays beside new pictures: one track of sound, kept or stretched, chapters and titles."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from ..errors import InputError, OutputError
from ..files import PathLike, Place, is_pipe
from ..video.companions import in_words, tell_damaged, titles
from ..video.joints import joined
from ..video.libav_writer import CONTAINERS
from ..video.source import reason

Track: TypeAlias = Any  # PyAV's streams and packets, whose stubs know less than they do
Packet: TypeAlias = Any
CHOICES = ("stretch", "keep", "drop")
SLOWEST, FASTEST = Fraction(1, 2), Fraction(100)  # of one `atempo`; slower takes several
ENCODER, BITRATE = "aac", 160_000
RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # that AAC has
RATE = 48_000  # of sound of another one
LEAST_LEAD = Fraction(1, 100)  # seconds that sound begins before the pictures, for those to wait


@dataclass(frozen=True)
class Beside:
    """What of the film at `path` goes beside pictures that take `factor` times as long.

    `track` is the index of its sound, None without, and `words` name that. A second of it takes `scale` seconds; at 1
    it is copied without a loss. `origin` is when the first picture is shown, in seconds of the film.
    """

    path: str
    origin: Fraction
    track: int | None = None
    words: str = ""
    factor: Fraction = Fraction(1)
    scale: Fraction = Fraction(1)


def beside_of(src: PathLike, choice: str, factor: Fraction, *, origin: Fraction) -> Beside | None:
    """What goes beside a video that is `factor` times as long; None if there is nothing, or nothing can be read.

    The sound is the track that is marked as default, else the first. InputError if the choice is unknown.
    """
    if choice not in CHOICES:
        raise InputError(f"--sound {choice}: choose from {', '.join(CHOICES)}")
    if is_pipe(src) or Path(src).suffix.lower() in (".yuv", ".y4m"):
        return None
    try:
        with av.open(f"file:{src}", metadata_errors="ignore") as film:
            tracks = [track for track in film.streams.audio if track.codec_context is not None and choice != "drop"]
            taken = min(tracks, key=lambda track: not track.disposition & Disposition.default, default=None)
            if taken is None and not film.chapters() and not titles(film.metadata):
                return None
            index, words = (None, "") if taken is None else (taken.index, in_words(taken))
    except (OSError, av.FFmpegError):
        return None  # who reads the pictures says what is wrong
    return Beside(str(src), origin, index, words, factor, factor if choice == "stretch" else Fraction(1))


def add_beside(video: Path, beside: Beside, target: PathLike) -> None:
    """Write the pictures of `video`, and what goes beside them, into `target`, whole or not at all. OutputError."""
    place = Place(target)
    try:
        place.reserve()
        with (
            av.open(f"file:{video}") as pictures,
            av.open(f"file:{beside.path}", metadata_errors="ignore") as source,
            av.open(f"file:{place.path}", "w", format=CONTAINERS[Path(target).suffix.lower()].name) as made,
        ):
            heard = _first_heard(beside)
            lead = max(beside.origin - heard, Fraction(0)) * beside.scale
            lead = lead if lead > LEAST_LEAD else Fraction(0)
            tracks = [_copied(pictures.streams.video[0], made, lead)[0]]
            if beside.track is not None:
                tracks.append(_sound(source.streams[beside.track], made, beside, lead, heard=heard))
            made.metadata.update(titles(source.metadata))
            made.set_chapters(list(_chapters(source, beside, lead)))
            _mux(made, tracks)
        place.commit()
    except (OSError, ValueError, av.FFmpegError) as error:
        why = reason(error) if isinstance(error, OSError | av.FFmpegError) else str(error)
        raise OutputError(f"{target}: the sound cannot be written ({why}); try --sound drop") from error
    finally:
        place.abandon()


def _first_heard(beside: Beside) -> Fraction:
    """When the sound begins, in seconds of the film; with the pictures if there is none or it cannot be decoded."""
    if beside.track is None:
        return beside.origin
    with av.open(f"file:{beside.path}", metadata_errors="ignore") as film:
        stream: Track = film.streams[beside.track]
        first = next(_frames(stream), None)
    return beside.origin if first is None or first.pts is None else first.pts * Fraction(stream.time_base)


def _sound(
    stream: Track, made: OutputContainer, beside: Beside, lead: Fraction, *, heard: Fraction
) -> Iterator[Packet]:
    """The packets of the sound beside pictures that start at `lead` seconds, for a new stream of the output."""
    if beside.scale == 1:
        packets, copy = _copied(stream, made, _start(stream) - beside.origin + lead)
    else:
        delay = max((heard - beside.origin) * beside.scale + lead, Fraction(0))
        packets, copy = _stretched(stream, made, delay, tempo=1 / beside.scale)
    copy.metadata.update(titles(stream.metadata))
    copy.disposition = stream.disposition
    return packets


def _chapters(source: InputContainer, beside: Beside, lead: Fraction) -> Iterator[Any]:
    """The chapters of a film at the times of the output, in milliseconds."""
    for chapter in source.chapters():
        if (unit := chapter["time_base"]) is None:
            continue
        times = [(chapter[key] * unit - beside.origin) * beside.factor + lead for key in ("start", "end")]
        start, end = (max(0, round(time * 1000)) for time in times)
        if end > start:
            yield {**chapter, "start": start, "end": end, "time_base": Fraction(1, 1000)}


def _start(stream: Track) -> Fraction:
    return Fraction(stream.start_time or 0) * (stream.time_base or 1)


def _mux(made: OutputContainer, tracks: Iterable[Iterator[Packet]]) -> None:
    """Write the packets of all tracks in the order of their times."""
    for packet in merge(*tracks, key=lambda packet: (packet.dts or 0) * Fraction(packet.time_base)):
        made.mux(packet)


def _copied(stream: Track, made: OutputContainer, start: Fraction) -> tuple[Iterator[Packet], Track]:
    """The packets of a stream as they are, starting at `start` seconds, and the new stream that they are for."""
    copy = made.add_stream_from_template(stream)
    shift = round((start - _start(stream)) / Fraction(stream.time_base or 1))

    def packets() -> Iterator[Packet]:
        for packet in _timed(packet for packet, _ in joined(stream.container, [stream]) if packet.size):
            packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, copy
            yield packet

    return packets(), copy


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


def _stretched(
    stream: Track, made: OutputContainer, start: Fraction, *, tempo: Fraction
) -> tuple[Iterator[Packet], Track]:
    """A stream played at `tempo` times its speed with its pitch kept and encoded again, and the new stream."""
    rate = stream.rate if stream.rate in RATES else RATE
    # What has no names for its channels, such as much PCM, has those of its number of channels.
    layout = f"{stream.channels}c" if stream.layout.name.endswith("channels") else stream.layout.name
    coded: Track = made.add_stream(ENCODER, rate=rate, bit_rate=BITRATE, layout=layout)

    def packets() -> Iterator[Packet]:
        count = round(start * rate)
        for frame in _at_tempo(stream, tempo, f"sample_rates={rate}:channel_layouts={layout}"):
            frame.pts, frame.time_base = count, Fraction(1, rate)
            count += frame.samples
            yield from coded.encode(frame)
        yield from coded.encode(None)

    return packets(), coded


def _at_tempo(stream: Track, tempo: Fraction, form: str) -> Iterator[AudioFrame]:
    """The decoded sound, silent where it pauses, through FFmpeg's `atempo`, several in a row where one is too few."""
    frames = _frames(stream)
    if (first := next(frames, None)) is None:
        return
    graph = av.filter.Graph()
    # By the first frame, not the stream: MPEG layer 2 is announced as floats and decoded as integers.
    source = graph.add_abuffer(
        sample_rate=first.sample_rate, format=first.format, layout=first.layout, time_base=stream.time_base
    )
    steps = [graph.add("atempo", f"{float(part):.9f}") for part in tempos(tempo)]
    sink = graph.add("abuffersink")
    graph.link_nodes(source, graph.add("aresample", "async=1"), *steps, graph.add("aformat", form), sink).configure()
    for frame in chain([first], frames, [None]):
        graph.push(frame)
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield cast(AudioFrame, graph.pull())


def _frames(stream: Track) -> Iterator[AudioFrame]:
    """The decoded sound; what is damaged is left out, and a line says so."""
    for packet, _ in joined(stream.container, [stream]):
        try:
            yield from cast(list[AudioFrame], packet.decode())
        except av.FFmpegError:
            tell_damaged(stream.container.name.removeprefix("file:"), stream)


def tempos(tempo: Fraction) -> list[Fraction]:
    """Factors that `atempo` takes, whose product is the tempo."""
    parts = []
    while not SLOWEST <= tempo <= FASTEST:
        parts.append(SLOWEST if tempo < SLOWEST else FASTEST)
        tempo /= parts[-1]
    return [*parts, tempo]
