# SPDX-License-Identifier: MIT
"""Reading video through PyAV: anything FFmpeg can decode."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..errors import InputError
from ..files import leads_nowhere
from ..notes import tell
from .companions import kinds
from .joints import Packet, joined
from .libav_presentation import foreign_to, presentation_of
from .matroska import cropping, missing_bytes
from .picture import Frame, VideoInfo
from .pixel_formats import Reader, depth_of
from .raw import DEFAULT_RATE, check_size
from .source import VideoSource, reason

# Pictures beside a film: cover art, thumbnails on a time line, a still.
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
MATROSKA = "matroska,webm"
STREAMED = ("mpegts", "mpeg")  # containers whose time lines start anywhere
WEBP = "webp_pipe"  # a picture, which FFmpeg cannot decode if it is animated
COUNTED = "avi"  # a container without times: FFmpeg guesses those of pictures that are stored out of order
NUMBER = re.compile(r"%(?:0(\d+))?d")  # in the name of an image sequence, as in shot_%04d.png
BEFORE_JOINT = 8  # packets before a joint of recordings that may seem damaged, as counts of .ts begin anew there


def read_container(
    file: str | BinaryIO, name: str, resources: ExitStack, *, options: dict[str, str] | None = None
) -> VideoSource:
    """A source over the film in a file. InputError or FFmpegError."""
    # Titles and the like may be in any encoding; nothing here depends on them.
    container = resources.enter_context(av.open(file, "r", options=options or {}, metadata_errors="ignore"))
    stream, notes = film_of(container, name)
    stream.thread_type = "SLICE"  # threads for frames lose those around a damaged one without a word
    damage = _Damage(name)
    matroska = _path(file) if isinstance(file, str) and container.format.name == MATROSKA else None
    if matroska and (missing := missing_bytes(matroska)):
        damage.report(f"is cut short, {missing} bytes are missing; what is there is read")
    decoded = _decoded(container, stream, damage)
    first = next(decoded, None)
    if first is None:
        if container.format.name == WEBP:
            remedy = "make .gif or numbered .png files of it, as ImageMagick does"
            raise InputError(f"{name}: no WebP that can be read; animated ones cannot; {remedy}")
        why = f"not one picture can be decoded: {damage.problems[0]}" if damage.problems else "holds no pictures"
        raise InputError(f"{name}: {why}; give a video with at least one")
    damage.begin()
    check_size(first.width, first.height, name)
    reader = Reader(first)
    info = _stream_info(stream, first, reader)
    if foreign := foreign_to(first):
        notes.append(f"its {' and '.join(foreign)} cannot be carried")
    if matroska and (sides := cropping(matroska)):
        cut = ", ".join(f"{count} at the {side}" for side, count in sides.items())
        notes.append(f"its cropping ({cut}) is left out, so all of each picture is shown; crop it with ffmpeg before")
    if _has_alpha_apart(stream, first):
        notes.append("its transparency, which is kept apart from the pictures, is left out")
    return VideoSource(
        info,
        _converted(chain([first], decoded), info, reader, damage, counted=container.format.name == COUNTED),
        name=name,
        frame_count=_estimated_count(container, stream, info),
        notes=(*notes, *reader.notes),
        companions=kinds(container),
        first_time=_time(stream, first),
        problems=damage.problems,
    )


def _has_alpha_apart(stream: VideoStream, first: av.VideoFrame) -> bool:
    """Whether transparency lies beside the pictures, as that of VP8 and VP9 does, where FFmpeg's decoders are blind."""
    marked = any(key.lower() == "alpha_mode" and text == "1" for key, text in stream.metadata.items())
    return marked and not any(component.is_alpha for component in first.format.components)


def _path(url: str) -> Path:
    """The file that FFmpeg was told to open."""
    return Path(url.removeprefix("file:"))


def film_of(container: InputContainer, name: str) -> tuple[VideoStream, list[str]]:
    """The video track that a player would show, and what to say of the others.

    Of tracks that are no cover art it is the first marked as default, else the first. InputError if there is none.
    """
    tracks = container.streams.video
    films = [track for track in tracks if not track.disposition & NO_FILM]
    if not films:
        raise InputError(f"{name}: has no video stream{' but cover art' if tracks else ''}; give a video")
    chosen = next((track for track in films if track.disposition & Disposition.default), films[0])
    if chosen.codec_context is None:
        raise InputError(f"{name}: no decoder for its video; convert it with ffmpeg")
    notes = []
    if len(films) > 1:
        notes.append(f"has {len(films)} video tracks; track {chosen.index} is taken, the others are left out")
    return chosen, notes


def is_sequence(path: Path) -> bool:
    """Whether a path stands for numbered images, as shot_%04d.png does."""
    return NUMBER.search(path.name) is not None


def read_sequence(path: Path, name: str, resources: ExitStack, frame_rate: Fraction | None) -> VideoSource:
    """A source over numbered images. InputError if there are none or a number is missing; FFmpegError."""
    images = _images(path)
    if not images:
        raise InputError(f"{name}: no such images; check the path")
    start, count = min(images), len(images)
    if missing := set(range(start, start + count)).difference(images):
        raise InputError(f"{name}: image {min(missing)} is missing of {count} images; number them without gaps")
    for number, image in sorted(images.items()):  # FFmpeg would end there without a word
        if what := _fault(image):
            raise InputError(f"{name}: image {number} {what}; put it right, or number the others without gaps")
    rate = frame_rate or DEFAULT_RATE
    options = {"start_number": str(start), "framerate": f"{rate.numerator}/{rate.denominator}"}
    return read_container(f"file:{_pattern(path)}", name, resources, options=options)


def _pattern(path: Path) -> str:
    """A path for FFmpeg, which takes each percent sign for a number's but those that are written twice."""
    mark = NUMBER.search(path.name)
    assert mark is not None
    at = len(str(path)) - len(path.name) + mark.start()
    before, after = str(path)[:at], path.name[mark.end() :]
    return before.replace("%", "%%") + mark[0] + after.replace("%", "%%")


def _images(path: Path) -> dict[int, Path]:
    """The images that a path stands for, by number."""
    mark = NUMBER.search(path.name)
    assert mark is not None
    digits = rf"(\d{{{mark[1]},}})" if mark[1] else r"(0|[1-9]\d*)"
    pattern = re.compile(re.escape(path.name[: mark.start()]) + digits + re.escape(path.name[mark.end() :]))
    entries = path.parent.iterdir() if path.parent.is_dir() else ()
    return {int(found[1]): entry for entry in entries if (found := pattern.fullmatch(entry.name))}


def _fault(image: Path) -> str:
    """What keeps an image from being opened, in words; empty if nothing does."""
    if leads_nowhere(image):
        return "is a link to nowhere"
    if not image.is_file():
        return "is no file"
    if not image.stat().st_size:
        return "is empty"
    return "" if os.access(image, os.R_OK) else "may not be read"


def _stream_info(stream: VideoStream, first: av.VideoFrame, reader: Reader) -> VideoInfo:
    """What the first frame shows and its stream says."""
    # The picture itself is asked first: the stream's words are a guess, and where formats change, of the last one.
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or DEFAULT_RATE
    return VideoInfo(
        width=first.width,
        height=first.height,
        frame_rate=Fraction(rate),
        time_base=stream.time_base or 1 / Fraction(rate),
        bit_depth=reader.bit_depth,
        colour=reader.colour,
        presentation=presentation_of(stream, first, matrix=reader.colour.matrix, start=_start(stream, first)),
    )


def _time(stream: VideoStream, frame: av.VideoFrame) -> Fraction:
    """When a frame is shown, in seconds of the file's time line; 0 if that is unknown."""
    return Fraction(0) if frame.pts is None or stream.time_base is None else frame.pts * stream.time_base


def _start(stream: VideoStream, first: av.VideoFrame) -> Fraction:
    """When the first frame is shown, in seconds; time lines that start anywhere are taken to start at 0."""
    container = cast(InputContainer, stream.container)
    streamed = container.format.name in STREAMED and first.pts is not None and container.start_time is not None
    return _time(stream, first) - (Fraction(container.start_time, av.time_base) if streamed else 0)


def _estimated_count(container: InputContainer, stream: VideoStream, info: VideoInfo) -> int | None:
    """The number of frames that the container states, or its duration suggests; None if it has neither."""
    if stream.frames:
        return stream.frames
    if stream.duration:
        return round(stream.duration * info.time_base * info.frame_rate)
    return round(Fraction(container.duration, av.time_base) * info.frame_rate) if container.duration else None


class _Damage:
    """What of a video is damaged: a line each, said as it is found, once there is a picture."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self._begun = False

    def begin(self) -> None:
        """Say what was found before the first picture; without one, an error says it."""
        self._begun = True
        tell(self.name, self.problems)

    def report(self, problem: str) -> None:
        """Note a problem and say it."""
        self.problems.append(problem)
        if self._begun:
            tell(self.name, [problem])


def _decoded(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[av.VideoFrame]:
    """All frames that can be decoded; what cannot is reported, and the first packet that seems damaged is said."""
    suspects: list[tuple[int, str]] = []  # packets that seem damaged, by number
    try:
        for number, (packet, joint) in enumerate(joined(container, [stream])):
            if joint is not None:
                tell(damage.name, [f"its clock is set anew at {float(joint):.3f} s; what follows goes on from there"])
                suspects = [suspect for suspect in suspects if suspect[0] < number - BEFORE_JOINT]
            if packet.is_corrupt:
                suspects.append((number, _time_of(packet)))
            if not packet.size and packet.dts is not None:
                continue  # the last picture once more, as Theora and AVI say it: it just stays
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                damage.report(f"a picture{_time_of(packet)} cannot be decoded ({reason(error)}) and is left out")
                continue
            yield from frames
        if suspects:
            tell(damage.name, [f"a packet{suspects[0][1]} seems damaged; look at the pictures from there on"])
    except (OSError, av.FFmpegError) as error:
        damage.report(f"cannot be read to its end ({reason(error)}); what came before is kept")
        with suppress(av.FFmpegError):
            yield from stream.decode(None)


def _time_of(packet: Packet) -> str:
    """When a packet's picture is shown, as part of a sentence."""
    return "" if packet.pts is None else f" at {float(packet.pts * packet.time_base):.3f} s"


def _converted(
    decoded: Iterator[av.VideoFrame], info: VideoInfo, reader: Reader, damage: _Damage, *, counted: bool
) -> Iterator[Frame]:
    """FFmpeg's frames as ours, by the times of decoding if they are `counted`.

    What differs in size or depth from the first is converted, and a line says so; FFmpegError if unreadable.
    """
    clock = Clock(max(1, round(1 / (info.frame_rate * info.time_base))))
    whole = same = True
    for number, frame in enumerate(decoded):
        if frame.is_corrupt and whole:  # FFmpeg made up what it could not decode
            damage.report(f"is damaged from frame {number} on; FFmpeg conceals what is missing")
        whole = not frame.is_corrupt
        found, wanted = (frame.width, frame.height, depth_of(frame)), (info.width, info.height, info.bit_depth)
        if same and found != wanted:
            same = False
            tell(damage.name, [f"frame {number} is {_format(*found)}; such frames are made {_format(*wanted)}"])
        yield Frame(clock.tick(frame.dts if counted else frame.pts), reader.planes(frame))


def _format(width: int, height: int, bit_depth: int) -> str:
    return f"{width}x{height} {bit_depth} bit"


class Clock:
    """Turns a container's timestamps into ones that start at 0 and strictly increase, `step` apart where unknown."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._origin: int | None = None
        self._last: int | None = None

    def tick(self, pts: int | None) -> int:
        """The time of the next frame, whose own timestamp is missing, repeated or `pts`."""
        time = 0 if self._last is None else self._last + self._step
        if pts is not None:
            if self._origin is None:
                self._origin = pts - time
            if self._last is None or pts - self._origin > self._last:
                time = pts - self._origin
        self._last = time
        return time
