# SPDX-License-Identifier: MIT
"""What goes beside the pictures of a film: sound, subtitles, fonts, cover art, chapters, titles; copied as it is."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from ..errors import InputError
from ..notes import tell
from .joints import joined
from .source import reason
from .subtitles import converter, is_text

Packet: TypeAlias = "av.Packet[Any]"
Copy = Callable[[Packet], Sequence[Packet]]  # a packet of the source as packets of the film
# What tells of the file that a title was in, not of the film.
TECHNICAL = {"encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id", "duration"}
LONGEST_SUBTITLE = 10  # seconds before a part of a film in which subtitles of it are looked for
NO_WORDS = b"\0\0"  # of mov_text: a text of no bytes
CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv")  # files that can have more than pictures
CHAPTERS, TITLE = "chapters", "title"  # of the whole film, in words
IMAGES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
WORDS = {
    "audio": "sound",
    "subtitle": "subtitles",
    "data": "data track",
    "attachment": "attachment",
    "video": "cover art",
}


class Companions:
    """All of a file but its pictures, to be put into a film; what is shown at 0 is at `origin` seconds in the file.

    Only what comes from `start` to `stop` seconds, counted from there, is taken, and then starts at 0. If `stop` is
    `estimated`, it cuts chapters alone, until `end` tells it. FFmpegError if the file cannot be read. What cannot be
    copied is said, a line each.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        origin: Fraction = Fraction(0),
        start: Fraction | None = None,
        stop: Fraction | None = None,
        estimated: bool = False,
    ) -> None:
        self._estimated = estimated
        self._name, self._start, self._stop = str(path), start or Fraction(0), stop
        self._shift = origin + self._start
        self._missing = max(-origin, Fraction(0))  # seconds that others have cut off the start
        self._begin = Fraction(0)
        self._cut = start is not None
        # 'file:' keeps FFmpeg from taking the start of a name such as 'a:b.mkv' for a protocol.
        self._source: InputContainer = av.open(f"file:{path}", "r", metadata_errors="ignore")
        self._film: OutputContainer | None = None
        self._copies: dict[int, Copy] = {}
        self._packets: Iterator[Packet] = iter(())
        self._waiting: Packet | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def delay(self, seconds: Fraction) -> None:
        """Have the film begin at `seconds` instead of 0; only before `join`."""
        self._begin = seconds

    def end(self, seconds: Fraction) -> None:
        """Have the film end at `seconds`, counted as `stop` is."""
        self._stop, self._estimated = seconds, False

    @property
    def kinds(self) -> list[str]:
        """What there is, in words."""
        return kinds(self._source)

    def join(self, film: OutputContainer) -> None:
        """Add all to a film, whose pictures have their track already and whose header is not written yet."""
        self._film = film
        film.metadata.update(titles(self._source.metadata))
        film.set_chapters(list(self._chapters()))
        left_out: list[str] = []
        for stream in filter(lambda stream: _is_companion(stream, self._source), self._source.streams):
            try:
                self._add(stream, film)
            except ValueError:
                left_out.append(in_words(stream))
        tell_left_out(self._name, left_out, f"{film.format.name} cannot hold it")
        streams = [stream for stream in self._source.streams if stream.index in self._copies]
        if streams and self._cut:
            early = LONGEST_SUBTITLE if any(stream.type == "subtitle" for stream in streams) else 0
            self._source.seek(int((self._shift - early) * av.time_base))
        self._packets = (packet for packet, _ in joined(self._source, streams)) if streams else iter(())

    def mux(self, until: Fraction | None = None) -> None:
        """Write what comes before a time of the film, in seconds; all that is left if none is given."""
        assert self._film is not None, "join comes first"
        while (packet := self._upcoming()) is not None:
            time = (packet.dts or 0) * packet.time_base
            if until is not None and time >= until:
                return
            self._waiting = None
            if self._is_late(time) or (self._cut and time < self._begin and not self._lasts(packet)):
                continue
            self._write(packet)

    def _is_late(self, time: Fraction) -> bool:
        """Whether what comes at a time of the film comes after its end."""
        known = self._stop is not None and not self._estimated
        return known and time >= self._begin + cast(Fraction, self._stop) - self._start

    def _lasts(self, packet: Packet) -> bool:
        """Whether a subtitle that came before a part of a film is still shown in it; if so, it starts with the part."""
        begin = math.ceil(self._begin / packet.time_base)
        end = (packet.pts or 0) + (packet.duration or 0)
        if packet.stream.type != "subtitle" or end <= begin:
            return False
        packet.pts = packet.dts = begin
        packet.duration = end - begin
        return True

    def _write(self, packet: Packet) -> None:
        """Write a packet; what the film does not take, such as a track whose times go back, is left out and said."""
        assert self._film is not None
        try:
            self._film.mux(list(self._copies[packet.stream.index](packet)))
        except (av.ArgumentError, av.InvalidDataError):
            tell_damaged(self._name, packet.stream)

    def _upcoming(self) -> "Packet | None":
        """The next packet, in the film's time; None after the last one, or where the source cannot be read on."""
        while self._waiting is None:
            try:
                packet = next(self._packets, None)
            except (OSError, av.FFmpegError) as error:
                tell(self._name, [f"what goes with the pictures is damaged and ends early ({reason(error)})"])
                self._packets, packet = iter(()), None
            if packet is None:
                return None
            shift = round((self._shift - self._begin) / packet.time_base)
            if packet.pts is None and packet.stream.type == "video":  # cover art has no time
                packet.pts = shift
            if packet.pts is None or not packet.size:
                continue
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            self._waiting = packet
        return self._waiting

    def _add(self, stream: Stream, film: OutputContainer) -> None:
        """Add a stream to the film. ValueError if the film cannot hold it."""
        if stream.type == "video" and film.format.name == "matroska":
            if (image := IMAGES.get(_codec_name(stream))) is None:
                raise ValueError("no cover art")
            name = stream.metadata.get("filename", image[0])
            added = film.add_attachment(name, image[1], self._image(stream))
            added.metadata.update({key: text for key, text in stream.metadata.items() if key == "title"})
            return
        if _is_held(stream, film.format.name):
            copied = film.add_stream_from_template(stream, opaque=True)
            self._copies[stream.index] = partial(_copied, copied)
        elif is_text(stream):
            copied, self._copies[stream.index] = converter(stream, film)
        else:
            raise ValueError("not held as it is")
        copied.metadata.update(titles(stream.metadata))
        copied.disposition = stream.disposition

    def _image(self, stream: Stream) -> bytes:
        """The cover art of a stream."""
        with av.open(self._source.name, "r", metadata_errors="ignore") as source:
            return next((bytes(packet) for packet in source.demux(source.streams[stream.index]) if packet.size), b"")

    def _chapters(self) -> Iterator[Any]:
        """The chapters that lie in the part that is copied; muxers that move all else leave them where they are."""
        for chapter in self._source.chapters():
            unit = chapter["time_base"]
            if unit is None:
                continue
            cut, missing = round(self._start / unit), round(self._missing / unit)
            start = max(chapter["start"] + missing, round((self._begin + self._start) / unit) if self._cut else 0)
            stop = math.inf if self._stop is None else round((self._begin + self._stop) / unit)
            end = min(chapter["end"] + missing, stop)
            if end > start:
                yield {**chapter, "start": start - cut, "end": end - cut}


@contextmanager
def companions_of(
    src: str | Path,
    dst: str | Path,
    *,
    origin: Fraction = Fraction(0),
    start: Fraction | None = None,
    stop: Fraction | None = None,
    estimated: bool = False,
) -> Iterator[Companions | None]:
    """What goes beside the pictures of a film, for another file; None, and a line of it, if that has pictures only.

    InputError if the film cannot be read.
    """
    try:
        companions = Companions(src, origin=origin, start=start, stop=stop, estimated=estimated)
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{src}: cannot be read ({reason(error)}); check the path") from error
    with companions:
        if Path(dst).suffix.lower() in CONTAINERS:
            yield companions
            return
        tell_left_out(src, companions.kinds, _holds_pictures(dst))
        yield None


def tell_left_out(name: str | Path, left_out: Sequence[str], why: str) -> None:
    """Say that something is not copied, if there is anything."""
    if left_out:
        tell(str(name), [f"{', '.join(left_out)} left out: {why}"])


def tell_damaged(name: str, stream: Stream) -> None:
    """Say that packets of a stream are left out, as they are damaged."""
    tell(name, [f"parts of its {in_words(stream)} are damaged and left out"])


def tell_beside_pipe(name: str, left_out: Sequence[str], dst: str | Path) -> None:
    """Say what a pipe has beside its pictures that does not get into another file: it would have to be read again."""
    can_hold = Path(dst).suffix.lower() in CONTAINERS
    remedy = "give a file instead of a pipe to have it copied"
    tell_left_out(name, left_out, remedy if can_hold else _holds_pictures(dst))


def _holds_pictures(dst: str | Path) -> str:
    return f"{'this output' if str(dst) == '-' else dst} holds pictures only"


def kinds(source: InputContainer) -> list[str]:
    """What goes beside the pictures of a file, in words: its tracks, then what it has as a whole."""
    tracks = [in_words(stream) for stream in source.streams if _is_companion(stream, source)]
    there = {CHAPTERS: source.chapters(), TITLE: source.metadata.get("title")}
    return [*tracks, *(what for what, found in there.items() if found)]


def _is_held(stream: Stream, container: str) -> bool:
    """Whether a container takes a stream as it is. In the film itself one that it refuses would spoil all others."""
    with av.open(BytesIO(), "w", format=container) as trial:
        try:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
        except (ValueError, av.FFmpegError):
            return False
    return True


def _copied(stream: Stream, packet: Packet) -> Sequence[Packet]:
    """A packet as one of a stream of the film; none for a pause between subtitles, which muxers add by themselves."""
    if stream.type == "subtitle" and bytes(packet) == NO_WORDS:
        return []
    packet.stream = stream
    return [packet]


def _is_companion(stream: Stream, source: InputContainer) -> bool:
    """Whether a stream goes beside the pictures: cover art, and all but video; not chapters' titles, nor hints."""
    if stream.type == "video":
        return bool(stream.disposition & Disposition.attached_pic)
    if stream.type == "data":
        return not source.chapters() and "hint" not in stream.metadata.get("handler_name", "").lower()
    return True


def in_words(stream: Stream) -> str:
    """A stream for people, as in 'sound (aac)'."""
    codec = _codec_name(stream)
    return WORDS.get(stream.type, "a track") + (f" ({codec})" if codec else "")


def _codec_name(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec; nothing if it knows none."""
    context = getattr(stream, "codec_context", None)
    return "" if context is None else context.name


def titles(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what is not the film's own."""
    return {key: value for key, value in metadata.items() if key.lower() not in TECHNICAL and not key.startswith("_")}
