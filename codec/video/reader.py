# SPDX-License-Identifier: MIT
"""Reading video: raw .yuv, .y4m, standard input, and through PyAV anything FFmpeg can decode."""

import io
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple, Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from ..errors import InputError
from .picture import MATRIX_CODES, Colour, Frame, Plane, VideoInfo, Yuv420, chroma_size, dtype_of
from .raw import (
    DEFAULT_RATE,
    Y4M_MAGIC,
    RawParameters,
    check_size,
    frame_bytes,
    probe_parameters,
    raw_frame_count,
    raw_frames,
    raw_info,
    y4m_frames,
    y4m_info,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Layout(NamedTuple):
    """How a 4:2:0 pixel format keeps its samples; `shift` is how far they sit above the lowest bit."""

    bit_depth: int = 8
    interleaved: bool = False
    byte_order: Literal["<", ">"] = "<"
    shift: int = 0


LAYOUTS = {
    "yuv420p": _Layout(),
    "yuvj420p": _Layout(),
    "nv12": _Layout(interleaved=True),
    "yuv420p10le": _Layout(10),
    "yuv420p10be": _Layout(10, byte_order=">"),
    "p010le": _Layout(10, interleaved=True, shift=6),
    "p010be": _Layout(10, interleaved=True, byte_order=">", shift=6),
}

# Rec. ITU-T H.273, MatrixCoefficients and VideoFullRangeFlag as FFmpeg numbers them.
MATRICES = {code: name for name, code in MATRIX_CODES.items()} | {5: "bt601", 10: "bt2020"}
FULL_RANGE = 2


class VideoSource:
    """The frames of one video, read once and one at a time; `frame_count` is an estimate, None if unknown."""

    def __init__(self, info: VideoInfo, frames: Iterator[Frame], *, name: str, frame_count: int | None) -> None:
        self.info = info
        self.name = name
        self.frame_count = frame_count
        self._frames = _guarded(frames, name)
        self._resources = ExitStack()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; no frame can be read afterwards."""
        self._frames.close()
        self._resources.close()

    def owning(self, resources: ExitStack) -> Self:
        """This source, which now closes `resources` when it is closed."""
        self._resources = resources.pop_all()
        return self


def open_source(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    frame_rate: Fraction | None = None,
    pixel_format: str | None = None,
) -> VideoSource:
    """A video file or '-' for standard input, ready to iterate; times start at 0 and strictly increase.

    The options describe raw video and win over what a .yuv file's name says. InputError, here or while iterating, if
    the video is missing, damaged, empty or not 4:2:0 with 8 or 10 bit, or if it is not raw and options are given.
    """
    options = RawParameters(size, frame_rate, pixel_format)
    name = "standard input" if str(path) == "-" else str(path)
    with ExitStack() as resources:
        try:
            if str(path) == "-":
                source = _open_pipe(sys.stdin.buffer, name, options=options, resources=resources)
            else:
                source = _open_file(Path(path), name, options=options, resources=resources)
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"{name}: cannot be read as video ({reason(error)}); check the file") from error
        return source.owning(resources)


def reason(error: OSError | av.FFmpegError) -> str:
    """The system's or FFmpeg's own words for an error."""
    return error.strerror or type(error).__name__


def _guarded(frames: Iterator[Frame], name: str) -> Generator[Frame, None, None]:
    """The frames. InputError if there is none, or in place of an error while reading, with the frame's number."""
    count = 0
    try:
        for count, frame in enumerate(frames, 1):  # noqa: B007
            yield frame
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{name}: frame {count} cannot be decoded ({reason(error)}); the file is damaged") from error
    if not count:
        raise InputError(f"{name}: holds no pictures; give a video with at least one")


def _open_file(path: Path, name: str, *, options: RawParameters, resources: ExitStack) -> VideoSource:
    """A source over a file, by its suffix. InputError or OSError."""
    if not path.exists():
        raise InputError(f"{name}: no such file; check the path")
    if path.is_dir():
        raise InputError(f"{name}: is a directory; give a video file")
    regular = path.is_file()  # the size of a named pipe is not known
    if regular and path.stat().st_size == 0:
        raise InputError(f"{name}: is empty; give a video with at least one picture")
    suffix, length = path.suffix.lower(), path.stat().st_size if regular else None
    if suffix == ".yuv":
        options = options.or_else(probe_parameters(path.name))
        return _raw(resources.enter_context(path.open("rb")), name, options=options, length=length)
    _refuse(options, name)
    if suffix == ".y4m":
        return _y4m(resources.enter_context(path.open("rb")), name, length=length)
    # 'file:' keeps FFmpeg from taking the start of a name such as 'a:b.mkv' for a protocol.
    return _container(f"file:{path}", name, resources)


def _open_pipe(pipe: BinaryIO, name: str, *, options: RawParameters, resources: ExitStack) -> VideoSource:
    """A source over standard input, by its first bytes and the options. InputError."""
    head = pipe.read(len(Y4M_MAGIC))
    if not head:
        raise InputError(f"{name}: is empty; pipe a video into it")
    rejoined = resources.enter_context(io.BufferedReader(_Rejoined(head, pipe)))
    if head == Y4M_MAGIC:
        _refuse(options, name)
        return _y4m(rejoined, name, length=None)
    if options.size is not None:
        return _raw(rejoined, name, options=options, length=None)
    _refuse(options, name)
    if pipe.seekable():  # redirected from a file; .mp4 needs to seek
        pipe.seek(0)
        return _container(pipe, name, resources)
    return _container(rejoined, name, resources)


class _Rejoined(io.RawIOBase):
    """A pipe whose first bytes were already read: those bytes, then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        if not self._head:
            return cast(io.BufferedReader, self._rest).readinto1(buffer)
        view = memoryview(buffer)
        count = min(len(view), len(self._head))
        view[:count], self._head = self._head[:count], self._head[count:]
        return count


def _refuse(options: RawParameters, name: str) -> None:
    """InputError if options for raw video are given; to ignore them would hide a mistake."""
    if options != RawParameters():
        raise InputError(f"{name}: not raw video, it knows its own format; leave out --size, --fps and --pix-fmt")


def _raw(file: BinaryIO, name: str, *, options: RawParameters, length: int | None) -> VideoSource:
    """A source over raw planes. InputError if the size is unknown or does not fit the length in bytes."""
    info = raw_info(options, name)
    count = None if length is None else raw_frame_count(length, info, name)
    return VideoSource(info, raw_frames(file, info, name), name=name, frame_count=count)


def _y4m(file: BinaryIO, name: str, *, length: int | None) -> VideoSource:
    """A source over a .y4m stream. InputError if its header is damaged."""
    info = y4m_info(file, name)
    count = None if length is None else length // (frame_bytes(info) + len(b"FRAME\n"))
    return VideoSource(info, y4m_frames(file, info, name), name=name, frame_count=count)


def _container(file: str | BinaryIO, name: str, resources: ExitStack) -> VideoSource:
    """A source over the first video stream that FFmpeg finds. InputError or FFmpegError."""
    # Titles and the like may be in any encoding; nothing here depends on them.
    container = resources.enter_context(av.open(file, "r", metadata_errors="ignore"))
    if not container.streams.video:
        raise InputError(f"{name}: has no video stream; give a video")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise InputError(f"{name}: no decoder for its video; convert it with ffmpeg")
    stream.thread_type = "AUTO"
    decoded = container.decode(stream)
    first = next(decoded, None)
    if first is None:
        raise InputError(f"{name}: holds no pictures; give a video with at least one")
    info = _stream_info(stream, first, name)
    frames = _converted(chain([first], decoded), info, name)
    return VideoSource(info, frames, name=name, frame_count=_estimated_count(container, stream, info))


def _stream_info(stream: VideoStream, first: av.VideoFrame, name: str) -> VideoInfo:
    """What the first frame shows and its stream says. InputError if it is not 4:2:0 with 8 or 10 bit."""
    # The picture itself is asked first: the stream's words are a guess, and where formats change, of the last one.
    pixel_format = first.format.name
    check_size(first.width, first.height, name)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or DEFAULT_RATE
    return VideoInfo(
        width=first.width,
        height=first.height,
        frame_rate=Fraction(rate),
        time_base=stream.time_base or 1 / Fraction(rate),
        bit_depth=_layout(pixel_format, name).bit_depth,
        colour=Colour(
            matrix=MATRICES.get(first.colorspace, "unspecified"),
            full_range=first.color_range == FULL_RANGE or pixel_format == "yuvj420p",
        ),
    )


def _layout(pixel_format: str, name: str) -> _Layout:
    """Where a pixel format keeps its samples. InputError if it is not 4:2:0 with 8 or 10 bit."""
    if pixel_format not in LAYOUTS:
        raise InputError(
            f"{name}: holds {pixel_format}, only 4:2:0 with 8 or 10 bit can be read; "
            "convert with ffmpeg -pix_fmt yuv420p"
        )
    return LAYOUTS[pixel_format]


def _estimated_count(container: InputContainer, stream: VideoStream, info: VideoInfo) -> int | None:
    """The number of frames that the container states, or its duration suggests; None if it has neither."""
    if stream.frames:
        return stream.frames
    if stream.duration:
        return round(stream.duration * info.time_base * info.frame_rate)
    return round(Fraction(container.duration, av.time_base) * info.frame_rate) if container.duration else None


def _converted(decoded: Iterator[av.VideoFrame], info: VideoInfo, name: str) -> Iterator[Frame]:
    """FFmpeg's frames as ours. InputError if one is damaged or differs in size or depth; FFmpegError if unreadable."""
    clock = _Clock(max(1, round(1 / (info.frame_rate * info.time_base))))
    for number, frame in enumerate(decoded):
        if frame.is_corrupt:  # FFmpeg made up what it could not decode
            raise InputError(f"{name}: frame {number} is damaged; repair the file, for example with ffmpeg -i")
        layout = _layout(frame.format.name, f"{name}: frame {number}")
        if (frame.width, frame.height, layout.bit_depth) != (info.width, info.height, info.bit_depth):
            raise InputError(
                f"{name}: frame {number} is {frame.width}x{frame.height} {layout.bit_depth} bit, those before it are "
                f"{info.width}x{info.height} {info.bit_depth} bit; cut the video there"
            )
        yield Frame(clock.tick(frame.pts), planes_of(frame, layout))


class _Clock:
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


def planes_of(frame: av.VideoFrame, layout: _Layout) -> Yuv420:
    """A copy of the frame's samples as three planes."""
    cw, ch = chroma_size(frame.width, frame.height)
    y = _samples(frame.planes[0], frame.width, height=frame.height, layout=layout)
    if layout.interleaved:
        both = _samples(frame.planes[1], 2 * cw, height=ch, layout=layout)
        u, v = np.ascontiguousarray(both[:, 0::2]), np.ascontiguousarray(both[:, 1::2])
    else:
        u, v = (_samples(p, cw, height=ch, layout=layout) for p in frame.planes[1:3])
    return Yuv420(y, u, v, layout.bit_depth)


def _samples(plane: av.video.plane.VideoPlane, width: int, *, height: int, layout: _Layout) -> Plane:
    """A copy of one plane (height,width) without the bytes that pad its rows."""
    rows: NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(-1, abs(plane.line_size))  # type: ignore[call-overload]
    if plane.line_size < 0:  # stored bottom row first
        rows = rows[::-1]
    dtype = dtype_of(layout.bit_depth)
    stored = np.dtype(dtype).newbyteorder(layout.byte_order)
    samples = rows[:height, : width * stored.itemsize].view(stored)
    return (samples >> layout.shift).astype(dtype)
