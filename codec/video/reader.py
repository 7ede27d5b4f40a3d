# SPDX-License-Identifier: MIT
"""Reading video: raw .yuv, .y4m, standard input, and through PyAV anything FFmpeg can decode."""

import io
import sys
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import av

from ..arguments import checked
from ..errors import InputError
from ..files import leads_nowhere, name_of
from .libav_reader import is_sequence, read_container, read_sequence
from .raw import (
    MAX_LINE,
    Y4M_MAGIC,
    RawParameters,
    frame_bytes,
    is_plain_y4m,
    probe_parameters,
    raw_frame_count,
    raw_frames,
    raw_info,
    y4m_frames,
    y4m_info,
)
from .source import VideoSource, reason

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@checked
def open_source(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    frame_rate: Fraction | None = None,
    pixel_format: str | None = None,
) -> VideoSource:
    """A video file, numbered images such as shot_%04d.png, or '-' for standard input; times start at 0 and increase.

    The options describe raw video and win over what a .yuv file's name says; the rate is also that of images. What is
    not 4:2:0 of 8 or 10 bit is converted. InputError, here or while iterating, if the video is missing, damaged or
    empty, or if options are given that it does not need.
    """
    options = RawParameters(size, frame_rate, pixel_format)
    name = name_of(path)
    with ExitStack() as resources:
        try:
            if str(path) == "-":
                source = _open_pipe(sys.stdin.buffer, name, options=options, resources=resources)
            else:
                source = _open_file(Path(path), name, options=options, resources=resources)
        except (OSError, av.FFmpegError) as error:
            raise InputError(f"{name}: cannot be read as video ({reason(error)}); check the file") from error
        if source.info.presentation.interlaced:
            first = source.info.presentation.field_order
            source.notes += (f"is interlaced, {first} field first; frames are coded whole, and keep the flag",)
        return source.owning(resources)


def _open_file(path: Path, name: str, *, options: RawParameters, resources: ExitStack) -> VideoSource:
    """A source over a file, by its suffix. InputError or OSError."""
    if not path.exists():
        if is_sequence(path):
            _refuse(options._replace(frame_rate=None), name)
            return read_sequence(path, name, resources, options.frame_rate)
        what = "is a link to nowhere" if leads_nowhere(path) else "no such file"
        raise InputError(f"{name}: {what}; check the path")
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
        return _y4m(resources.enter_context(path.open("rb")), name, resources, length=length)
    # 'file:' keeps FFmpeg from taking the start of a name such as 'a:b.mkv' for a protocol.
    return read_container(f"file:{path}", name, resources)


def _open_pipe(pipe: BinaryIO, name: str, *, options: RawParameters, resources: ExitStack) -> VideoSource:
    """A source over standard input, by its first bytes and the options. InputError."""
    head = pipe.read(len(Y4M_MAGIC))
    if not head:
        raise InputError(f"{name}: is empty; pipe a video into it")
    rejoined = resources.enter_context(io.BufferedReader(_Rejoined(head, pipe)))
    if head == Y4M_MAGIC:
        _refuse(options, name)
        return _y4m(rejoined, name, resources, length=None)
    if options.size is not None:
        return _raw(rejoined, name, options=options, length=None)
    _refuse(options, name)
    if pipe.seekable():  # redirected from a file; .mp4 needs to seek
        pipe.seek(0)
        return read_container(pipe, name, resources)
    return read_container(rejoined, name, resources)


class _Rejoined(io.RawIOBase):
    """A pipe whose first bytes were already read: those bytes, then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a buffer as far as bytes are at hand; their number, 0 at the end. OSError."""
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


def _y4m(file: BinaryIO, name: str, resources: ExitStack, *, length: int | None) -> VideoSource:
    """A source over a .y4m stream. InputError if its header is damaged; FFmpegError."""
    line = file.readline(MAX_LINE)
    if not is_plain_y4m(line):
        rejoined = resources.enter_context(io.BufferedReader(_Rejoined(line, file)))
        return read_container(rejoined, name, resources)
    info = y4m_info(line, name)
    count = None if length is None else length // (frame_bytes(info) + len(b"FRAME\n"))
    return VideoSource(info, y4m_frames(file, info, name), name=name, frame_count=count)
