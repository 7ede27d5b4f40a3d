# SPDX-License-Identifier: MIT
"""Writing video through PyAV: .mkv, .mp4 and .mov, lossless unless another encoder is asked for."""

import re
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.video.stream import VideoStream

from ..arguments import check_range
from ..errors import InputError, OutputError
from ..files import is_pipe
from . import hdr10
from .companions import Companions
from .guard import process_unchanged
from .libav_presentation import FieldMarker, describe, describe_track
from .picture import Frame, Plane, VideoInfo, Yuv420
from .presentation import WORDS, left_out
from .source import reason


class Format(NamedTuple):
    """FFmpeg's name of a container and the encoders that are lossless in it, by preference."""

    name: str
    encoders: tuple[str, ...]


# x264 refuses odd sizes and FFV1 does not; but players of .mp4 and .mov know nothing of FFV1.
CONTAINERS = {
    ".mkv": Format("matroska", ("ffv1", "libx264")),
    ".mp4": Format("mp4", ("libx264",)),
    ".mov": Format("mov", ("libx264",)),
}

# What makes an encoder lossless that is not so anyway; the others run with their own defaults.
LOSSLESS_OPTIONS = {
    "libx264": {"qp": "0"},
    # Without B-frames, since x265 leaves the decoding times of videos shorter than its delay undefined.
    "libx265": {"x265-params": "lossless=1:bframes=0:log-level=none"},
    "libsvtav1": {"svtav1-params": "lossless=1"},
}
LOSSY = "libx264"  # where a quality is asked for and no encoder
HIGHEST_CRF = {"libx264": 51, "libx265": 51, "libsvtav1": 63, "libaom-av1": 63, "libvpx-vp9": 63, "libvpx": 63}
SHAPED = ("libx264", "libx265")  # encoders that write the sample aspect ratio, which PyAV cannot give to a muxer
LANGUAGES = {"mp4": "[a-z]{3}", "mov": "eng"}  # those that come back as they are; .mov has codes of its own
TICKS = 10_000  # a second that .mp4 and .mov have at least
NARROW = 8  # samples a side: FFV1 cannot cut less into slices
FIELDS = ("libx264", "ffv1")  # encoders that keep the field order


def check_crf(video_codec: str | None, crf: float | None) -> None:
    """InputError if a quality is asked of an encoder of FFmpeg that has no constant rate factor, or none so high."""
    if crf is None:
        return
    if video_codec not in HIGHEST_CRF:
        raise InputError(f"{video_codec} has no --crf; leave it out, or choose from {', '.join(HIGHEST_CRF)}")
    check_range("crf", crf, 0, HIGHEST_CRF[video_codec])


class ContainerWriter:
    """A single video stream, encoded by one of FFmpeg's encoders."""

    timed = True

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        container: Format,
        encoder: str | None,
        *,
        options: Mapping[str, str] | None,
        companions: Companions | None,
    ) -> None:
        check_seekable(path, container.name)
        self._info, self._companions = info, companions
        # Players drop what comes before 0.
        self._start = max(0, round(info.presentation.start / info.time_base))
        encoder = encoder or _lossless(container, info)
        self._pixel_format = _pixel_format(encoder, info)
        self.lost = left_out(info.presentation, WORDS.keys() - _not_carried(encoder, container, info))
        marked = encoder in FIELDS and info.presentation.interlaced
        self._marker = FieldMarker(info, self._pixel_format) if marked else None
        # 'file:' keeps FFmpeg from taking the start of a name such as 'a:b.mkv' for a protocol.
        self._container = av.open(f"file:{path}", "w", format=container.name)
        self._pauses = Pauses(container.name, info.time_base)
        try:
            self._open_stream(encoder, container.name, _options(encoder, info, options))
            if companions is not None:
                companions.delay(self._start * info.time_base)
                companions.join(self._container)
        except BaseException:
            self.abort()
            raise

    def _open_stream(self, encoder: str, container: str, options: dict[str, str]) -> None:
        """Open the encoder. OutputError if it does not fit the container or the size."""
        info = self._info
        try:
            stream = self._container.add_stream(encoder, rate=info.frame_rate, options=options)
        except ValueError:
            raise OutputError(f"{container} cannot hold {encoder}; choose another --video-codec or .mkv") from None
        self._stream = cast(VideoStream, stream)  # the encoder is one for video
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, self._pixel_format
        describe(context, info)
        context.sample_aspect_ratio = info.presentation.sample_aspect_ratio
        context.time_base = self._stream.time_base = info.time_base
        if self._marker:
            context.field_order = self._marker.code
        describe_track(self._stream, info)
        try:
            with process_unchanged():
                context.open()
        except av.FFmpegError as error:
            size = f"{info.width}x{info.height} {info.bit_depth} bit"
            remedy = "write to .y4m" if encoder == "ffv1" else "write to .mkv without --video-codec, or to .y4m"
            raise OutputError(f"{encoder} refuses {size} ({reason(error)}); {remedy}") from error

    def write(self, frame: Frame) -> None:
        """Encode a frame. OSError or FFmpegError."""
        encoded = video_frame(frame.picture, self._pixel_format)
        encoded.pts, encoded.time_base = self._start + frame.pts, self._info.time_base
        self._pauses.check(encoded.pts * self._info.time_base)
        describe(encoded, self._info)
        self._mux(self._stream.encode(self._marker.marked(encoded) if self._marker else encoded))

    def finish(self) -> None:
        """Write what the encoder holds back and close the file. OSError or FFmpegError."""
        self._mux(self._stream.encode(None))
        if self._companions is not None:
            self._companions.mux()
        self._container.close()

    def _mux(self, packets: "list[av.Packet[VideoStream]]") -> None:
        """Write coded pictures, and before each what else comes before it."""
        for packet in packets:
            if self._companions is not None and packet.dts is not None:
                self._companions.mux(until=packet.dts * packet.time_base)
            self._container.mux(packet)

    def abort(self) -> None:
        """Close the file, whose content no longer matters."""
        with suppress(OSError, av.FFmpegError):  # closing writes an index, which may fail again
            self._container.close()


def check_seekable(path: Path, container: str) -> None:
    """OutputError if a container that is not written from front to back is to go into a pipe."""
    if container in ("mp4", "mov") and is_pipe(path):
        raise OutputError(f"{path}: a pipe cannot take .{container}; write to .mkv or .y4m")


class Pauses:
    """How long pictures are shown that are put into a container; `check` is given when each of them is, in seconds."""

    def __init__(self, container: str, time_base: Fraction) -> None:
        self._container = container
        scale = time_base.denominator << max(0, (TICKS // time_base.denominator).bit_length())
        self._longest = Fraction(1 << 31, scale) if container in ("mp4", "mov") else None
        self._last: Fraction | None = None

    def check(self, time: Fraction) -> None:
        """OutputError if the picture before is shown for longer than the container can say; FFmpeg would cut it."""
        last, self._last = self._last, time
        if self._longest is not None and last is not None and time - last >= self._longest:
            pause = f"{self._container} cannot hold a picture that is shown for {float(time - last):.0f} s"
            raise OutputError(f"{pause}; write to .mkv, or cut the video there")


def _lossless(container: Format, info: VideoInfo) -> str:
    """The lossless encoder that carries all, or else the first one."""
    first = container.encoders[0]
    if info.width % 2 or info.height % 2:
        return first
    said = set(info.presentation.said)
    return next((name for name in container.encoders if not said & _not_carried(name, container, info)), first)


def _not_carried(encoder: str, container: Format, info: VideoInfo) -> set[str]:
    """Fields of a presentation that do not get into a file."""
    lost = set() if encoder in hdr10.ENCODERS else {"mastering_display", "content_light"}
    if container.name == "matroska" and encoder not in SHAPED:
        lost.add("sample_aspect_ratio")
    if encoder not in FIELDS:
        lost.add("field_order")
    if not re.fullmatch(LANGUAGES.get(container.name, ".*"), info.presentation.language):
        lost.add("language")
    return lost


def _options(encoder: str, info: VideoInfo, given: Mapping[str, str] | None) -> dict[str, str]:
    """Options for FFmpeg's encoder: those given, else what makes it lossless, and what the video says of itself."""
    presentation = info.presentation
    options = dict(LOSSLESS_OPTIONS.get(encoder, {}) if given is None else given)
    if encoder == "ffv1" and min(info.width, info.height) < NARROW:
        options = {"level": "1"} | options  # the version without slices
    if presentation.chroma_location != "left":
        options["chroma_sample_location"] = presentation.chroma_location
    if presentation.interlaced and encoder == "libx264":
        options["flags"] = "+ildct"
    if told := hdr10.parameters(encoder, presentation):
        name = hdr10.ENCODERS[encoder].option
        options |= {name: ":".join([*([options[name]] if name in options else []), *told])}
    return options


def _pixel_format(encoder: str, info: VideoInfo) -> str:
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
