# SPDX-License-Identifier: MIT
"""Writing video: raw .yuv, .y4m, standard output, and through PyAV .mkv, .mp4 and .mov, lossless by default."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol, Self, cast

import av
import numpy as np
from av.video.stream import VideoStream

from ..errors import OutputError
from ..files import Place
from .picture import MATRIX_CODES, Frame, Plane, VideoInfo, Yuv420
from .raw import Y4M_MAGIC
from .reader import FULL_RANGE, reason

RAW_SUFFIXES = (".yuv", ".y4m")


class _Format(NamedTuple):
    """FFmpeg's name of a container and the encoder that is lossless in it."""

    name: str
    encoder: str


# x264 refuses odd sizes and FFV1 does not; but players of .mp4 and .mov know nothing of FFV1.
CONTAINERS = {".mkv": _Format("matroska", "ffv1"), ".mp4": _Format("mp4", "libx264"), ".mov": _Format("mov", "libx264")}

# What makes an encoder lossless that is not so anyway; the others run with their own defaults.
LOSSLESS_OPTIONS = {
    "libx264": {"qp": "0"},
    # Without B-frames, since x265 leaves the decoding times of videos shorter than its delay undefined.
    "libx265": {"x265-params": "lossless=1:bframes=0:log-level=none"},
    "libsvtav1": {"svtav1-params": "lossless=1"},
}

LIMITED_RANGE = 1


class _Writer(Protocol):
    """Turns frames into bytes. All but `abort` raise OSError or FFmpegError."""

    def write(self, frame: Frame) -> None: ...

    def finish(self) -> None:
        """Write what is still held back and close the file."""

    def abort(self) -> None:
        """Close the file, whose content no longer matters."""


class VideoSink:
    """Takes frames in display order; the file appears under its own name only after a clean exit."""

    def __init__(self, info: VideoInfo, writer: _Writer, *, name: str, place: Place | None) -> None:
        self.info = info
        self.name = name
        self._writer, self._place = writer, place
        self._count = 0

    def write(self, frame: Frame) -> None:
        """Add a frame. OutputError if it cannot be written; ValueError if it does not fit the video."""
        found, wanted = frame.picture, self.info
        if (found.width, found.height, found.bit_depth) != (wanted.width, wanted.height, wanted.bit_depth):
            raise ValueError(
                f"picture of {found.width}x{found.height} {found.bit_depth} bit "
                f"in a video of {wanted.width}x{wanted.height} {wanted.bit_depth} bit"
            )
        with _reporting(self.name):
            self._writer.write(frame)
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._writer.abort()  # harmless after a commit
            if self._place is not None:
                self._place.abandon()

    def _commit(self) -> None:
        """Finish the file and give it its name. OutputError if that fails or it has no pictures."""
        if not self._count:
            raise OutputError(f"{self.name}: no pictures to write; check the input")
        with _reporting(self.name):
            self._writer.finish()
            if self._place is not None:
                self._place.commit()


def open_sink(path: str | Path, info: VideoInfo, *, video_codec: str | None = None) -> VideoSink:
    """A video file to be written, by its suffix, or '-' for .y4m on standard output.

    `video_codec` is an FFmpeg encoder for .mkv, .mp4 and .mov. Timestamps survive there up to the container's
    resolution; .yuv and .y4m have none. OutputError if the format, the encoder or the place is not usable.
    """
    if str(path) == "-":
        return _stdout_sink(info, video_codec)
    name, suffix = str(path), Path(path).suffix.lower()
    place = Place(path)
    if suffix not in (*RAW_SUFFIXES, *CONTAINERS):
        known = ", ".join((*RAW_SUFFIXES, *CONTAINERS))
        raise OutputError(f"{name}: unknown suffix {suffix!r}; choose from {known}")
    if suffix in RAW_SUFFIXES:
        _refuse(video_codec, name)
    try:
        with _reporting(name):
            place.reserve()  # FFmpeg opens its file only at the first frame, too late to complain of the directory
            writer = _writer(place.path, info, suffix, video_codec)
        return VideoSink(info, writer, name=name, place=place)
    except BaseException:
        place.abandon()
        raise


def _stdout_sink(info: VideoInfo, video_codec: str | None) -> VideoSink:
    """A .y4m stream on standard output."""
    name = "standard output"
    _refuse(video_codec, name)
    with _reporting(name):
        # A writer of its own: what a closed pipe leaves in sys.stdout's would complain again when Python exits.
        file = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115
        return VideoSink(info, _PlaneWriter(file, info, y4m=True), name=name, place=None)


def _refuse(video_codec: str | None, name: str) -> None:
    """OutputError if an encoder is asked for where only raw video can be written."""
    if video_codec is not None:
        raise OutputError(f"{name}: holds raw video, not {video_codec}; write to {', '.join(CONTAINERS)} instead")


@contextmanager
def _reporting(name: str) -> Iterator[None]:
    """Turns errors of the system and of FFmpeg into OutputError."""
    try:
        yield
    except BrokenPipeError as error:
        raise OutputError(f"{name}: was closed before the video was complete; check the program it feeds") from error
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"{name}: cannot be written ({reason(error)}); check the directory and its space") from error


def _writer(path: Path, info: VideoInfo, suffix: str, video_codec: str | None) -> _Writer:
    """The writer for a suffix. OSError, FFmpegError or OutputError."""
    if suffix in CONTAINERS:
        kind = CONTAINERS[suffix]
        return _ContainerWriter(path, info, kind.name, video_codec or kind.encoder)
    return _PlaneWriter(path.open("wb"), info, y4m=suffix == ".y4m")


class _PlaneWriter:
    """Planes one after the other, with the headers of .y4m or without."""

    def __init__(self, file: BinaryIO, info: VideoInfo, *, y4m: bool) -> None:
        self._file = file
        self._header = y4m_header(info) if y4m else b""
        self._frame_header = b"FRAME\n" if y4m else b""

    def write(self, frame: Frame) -> None:
        self._file.write(self._header + self._frame_header)
        self._file.write(frame.picture.tobytes())
        self._header = b""

    def finish(self) -> None:
        self._file.close()

    def abort(self) -> None:
        with suppress(OSError):  # closing flushes, which may fail again
            self._file.close()


def y4m_header(info: VideoInfo) -> bytes:
    """The first line of a .y4m stream."""
    rate = f"{info.frame_rate.numerator}:{info.frame_rate.denominator}"
    chroma = "420jpeg" if info.bit_depth == 8 else f"420p{info.bit_depth}"
    full = " XCOLORRANGE=FULL" if info.colour.full_range else ""
    return Y4M_MAGIC + f" W{info.width} H{info.height} F{rate} Ip A1:1 C{chroma}{full}\n".encode()


class _ContainerWriter:
    """A single video stream, encoded by one of FFmpeg's encoders."""

    def __init__(self, path: Path, info: VideoInfo, container: str, encoder: str) -> None:
        self._info = info
        self._pixel_format = _pixel_format(encoder, info, path)
        # 'file:' keeps FFmpeg from taking the start of a name such as 'a:b.mkv' for a protocol.
        self._container = av.open(f"file:{path}", "w", format=container)
        try:
            self._open_stream(encoder, container)
        except BaseException:
            self.abort()
            raise

    def _open_stream(self, encoder: str, container: str) -> None:
        """Open the encoder. OutputError if it does not fit the container or the size."""
        info = self._info
        try:
            options = LOSSLESS_OPTIONS.get(encoder, {})
            stream = self._container.add_stream(encoder, rate=info.frame_rate, options=options)
        except ValueError:
            raise OutputError(f"{container} cannot hold {encoder}; choose another --video-codec or .mkv") from None
        self._stream = cast(VideoStream, stream)  # the encoder is one for video
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, self._pixel_format
        context.colorspace = MATRIX_CODES[info.colour.matrix]
        context.color_range = self._range
        context.time_base = self._stream.time_base = info.time_base
        try:
            context.open()
        except av.FFmpegError as error:
            size = f"{info.width}x{info.height} {info.bit_depth} bit"
            raise OutputError(
                f"{encoder} refuses {size} ({reason(error)}); write to .mkv without --video-codec"
            ) from error

    @property
    def _range(self) -> int:
        return FULL_RANGE if self._info.colour.full_range else LIMITED_RANGE

    def write(self, frame: Frame) -> None:
        encoded = video_frame(frame.picture, self._pixel_format)
        encoded.pts, encoded.time_base = frame.pts, self._info.time_base
        encoded.colorspace, encoded.color_range = MATRIX_CODES[self._info.colour.matrix], self._range
        self._container.mux(self._stream.encode(encoded))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abort(self) -> None:
        with suppress(OSError, av.FFmpegError):  # closing writes an index, which may fail again
            self._container.close()


def _pixel_format(encoder: str, info: VideoInfo, path: Path) -> str:
    """FFmpeg's name for 4:2:0 at the video's depth. OutputError if there is no such encoder or it cannot take it."""
    pixel_format = "yuv420p" if info.bit_depth == 8 else f"yuv420p{info.bit_depth}le"
    try:
        codec = av.Codec(encoder, "w")
    except ValueError:
        codec = None
    if codec is None or codec.type != "video":
        raise OutputError(f"{encoder!r} is not a video encoder; choose ffv1, libx264, libx265 or libsvtav1")
    formats = [f.name for f in codec.video_formats or []]
    if formats and pixel_format not in formats:
        raise OutputError(f"{encoder} cannot take {pixel_format}; choose ffv1, libx264, libx265 or libsvtav1")
    return pixel_format


def video_frame(picture: Yuv420, pixel_format: str) -> av.VideoFrame:
    """A copy of a picture for FFmpeg's encoders."""
    frame = av.VideoFrame(picture.width, picture.height, pixel_format)
    for plane, samples in zip(frame.planes, picture.planes, strict=True):
        _fill(plane, samples)
    return frame


def _fill(plane: av.video.plane.VideoPlane, samples: Plane) -> None:
    """Copy samples (H,W) into FFmpeg's plane, whose rows are padded."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
    data = np.ascontiguousarray(samples, dtype=samples.dtype.newbyteorder("<")).view(np.uint8)
    rows[: data.shape[0], : data.shape[1]] = data
