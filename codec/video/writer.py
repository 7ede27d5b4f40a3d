# SPDX-License-Identifier: MIT
"""Writing video: raw .yuv, .y4m, standard output, and through PyAV .mkv, .mp4 and .mov, lossless by default."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import av

from ..arguments import check, checked
from ..errors import OutputError
from ..files import Place
from ..notes import tell
from .companions import Companions
from .libav_writer import CONTAINERS, ContainerWriter
from .picture import Frame, VideoInfo, check_picture
from .presentation import left_out
from .raw import y4m_carries, y4m_header
from .source import reason

RAW_SUFFIXES = (".yuv", ".y4m")
STANDARD_OUTPUT = "standard output"  # what messages call it
MOST_REPEATS = 10_000  # of a picture: some minutes; a few bytes of a stream can claim years


class _Writer(Protocol):
    """Turns frames into bytes. All but `abort` raise OSError or FFmpegError."""

    lost: list[str]  # what the file cannot say of the video, in words
    timed: bool  # whether it keeps the times of frames

    def write(self, frame: Frame) -> None:
        """Add a frame, in display order."""

    def finish(self) -> None:
        """Write what is still held back and close the file."""

    def abort(self) -> None:
        """Close the file, whose content no longer matters."""


class VideoSink:
    """Takes frames in display order; the file appears under its own name only after a clean exit.

    `notes` say what the file cannot carry of what the video's info says, in at most one line. Where a file keeps no
    times and is to be `steady`, pictures are repeated and left out, so that each is there when it is shown.
    """

    def __init__(
        self, info: VideoInfo, writer: _Writer, *, name: str, place: Place | None, steady: bool = False
    ) -> None:
        self.info = info
        self.name = name
        self.notes = (f"cannot carry the video's {_and(writer.lost)}",) if writer.lost else ()
        self._writer, self._place = writer, place
        self._count = 0
        self._origin: int | None = None  # the time of the first frame
        self._varies = False
        self._steady = steady and not writer.timed
        self._last: Frame | None = None
        self._closed = False

    def write(self, frame: Frame) -> None:
        """Add a frame. OutputError if it cannot be written; InputError if it does not fit the video."""
        if self._closed:
            raise OutputError(f"{self.name}: is closed; open it again")
        check("frame", frame, Frame)
        check_picture("frame.picture", frame.picture, self.info)
        check("frame.pts", frame.pts, int)
        self._origin = frame.pts if self._origin is None else self._origin
        late = (frame.pts - self._origin) * self.info.time_base * self.info.frame_rate - self._count
        if self._steady:
            self._write_steadily(frame, late)
        else:
            self._put(frame)
            self._watch_rate(late)

    def _put(self, frame: Frame) -> None:
        with _reporting(self.name):
            self._writer.write(frame)
        self._count += 1

    def _write_steadily(self, frame: Frame, late: Fraction) -> None:
        """Write a frame that is shown so many places later than it would be written now; OutputError if too many."""
        if late > MOST_REPEATS:
            seconds = float(late / self.info.frame_rate)
            raise OutputError(f"{self.name}: a picture is shown for {seconds:.0f} s; write to .mkv, which keeps times")
        before, self._last = self._last, frame
        for _ in range(round(late)):
            assert before is not None, "the first frame is never late"
            self._put(before)
        if late >= -Fraction(1, 2):  # else its place is taken
            self._put(frame)

    def _watch_rate(self, late: Fraction) -> None:
        """Say once if frames come at a rate that varies and the file cannot keep it."""
        if self._writer.timed or self._varies:
            return
        self._varies = abs(late) > Fraction(1, 2)
        if self._varies:
            tell(self.name, ["keeps no times: the rate varies, and frames just follow each other; .mkv keeps them"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._closed = True
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


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@checked
def open_sink(
    path: str | Path,
    info: VideoInfo,
    *,
    video_codec: str | None = None,
    options: Mapping[str, str] | None = None,
    companions: Companions | None = None,
    force: bool = False,
    steady: bool = False,
    name: str | None = None,
) -> VideoSink:
    """A video file to be written, by its suffix, or '-' for .y4m on standard output.

    `video_codec` is an FFmpeg encoder for .mkv, .mp4 and .mov, and `options` are its own; lossless if absent.
    Timestamps survive there up to the container's resolution; .yuv and .y4m have none. `companions` are put beside the
    pictures there. With `steady`, frames are repeated in .yuv and .y4m where the rate varies. OutputError if the
    format, the encoder or the place is not usable; a read-only file is one that is only if `force` is given. Messages
    call it by its path, or by `name`. Writing raises BrokenPipeError if the reader of standard output has gone.
    """
    place = None if str(path) == "-" else Place(path, force=force)
    check_name(path, video_codec)
    if place is None:
        return _stdout_sink(info, steady=steady)
    name, suffix = name or str(path), Path(path).suffix.lower()
    try:
        with _reporting(name):
            place.reserve()  # FFmpeg opens its file only at the first frame, too late to complain of the directory
            writer = _writer(place.path, info, suffix, video_codec, options=options, companions=companions)
        return VideoSink(info, writer, name=name, place=place, steady=steady)
    except BaseException:
        place.abandon()
        raise


def check_name(path: str | Path, video_codec: str | None = None, crf: float | None = None) -> None:
    """OutputError if a file of this name can hold no video, none by this encoder of FFmpeg, or none of any quality."""
    suffix, known = Path(path).suffix.lower(), (*RAW_SUFFIXES, *CONTAINERS)
    if str(path) != "-" and suffix not in known:
        raise OutputError(f"{path}: unknown suffix {suffix!r}; choose from {', '.join(known)}")
    if suffix in CONTAINERS:
        return
    name = STANDARD_OUTPUT if str(path) == "-" else path
    if video_codec is not None:
        raise OutputError(f"{name}: holds raw video, not {video_codec}; write to {', '.join(CONTAINERS)} instead")
    if crf is not None:
        raise OutputError(f"{name}: holds raw video; leave out --crf, or write to {', '.join(CONTAINERS)}")


def _stdout_sink(info: VideoInfo, *, steady: bool) -> VideoSink:
    """A .y4m stream on standard output."""
    name = STANDARD_OUTPUT
    with _reporting(name):
        # A writer of its own: what a closed pipe leaves in sys.stdout's would complain again when Python exits.
        file = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115
        return y4m_sink(file, info, name=name, steady=steady)


def y4m_sink(file: BinaryIO, info: VideoInfo, *, name: str, steady: bool = False) -> VideoSink:
    """A .y4m stream on an open file, such as a program's standard input, which is closed in the end."""
    return VideoSink(info, _PlaneWriter(file, info, y4m=True), name=name, place=None, steady=steady)


@contextmanager
def _reporting(name: str) -> Iterator[None]:
    """Turns errors of the system and of FFmpeg into OutputError, but for a reader of standard output that has gone."""
    try:
        yield
    except BrokenPipeError as error:
        if name == STANDARD_OUTPUT:
            raise
        raise OutputError(f"{name}: was closed before the video was complete; check the program it feeds") from error
    except (OSError, av.FFmpegError) as error:
        raise OutputError(f"{name}: cannot be written ({reason(error)}); check the directory and its space") from error
    except OverflowError as error:
        raise OutputError(f"{name}: cannot hold such times ({error}); write to .yuv instead") from error


def _writer(
    path: Path,
    info: VideoInfo,
    suffix: str,
    video_codec: str | None,
    *,
    options: Mapping[str, str] | None,
    companions: Companions | None,
) -> _Writer:
    """The writer for a suffix. OSError, FFmpegError or OutputError."""
    if suffix in CONTAINERS:
        kind = CONTAINERS[suffix]
        return ContainerWriter(path, info, kind, video_codec, options=options, companions=companions)
    return _PlaneWriter(path.open("wb"), info, y4m=suffix == ".y4m")


class _PlaneWriter:
    """Planes one after the other, with the headers of .y4m or without."""

    timed = False

    def __init__(self, file: BinaryIO, info: VideoInfo, *, y4m: bool) -> None:
        self._file = file
        self._header = y4m_header(info) if y4m else b""
        self._frame_header = b"FRAME\n" if y4m else b""
        self.lost = left_out(info.presentation, y4m_carries(info) if y4m else ())
        if info.colour.matrix != "unspecified":
            self.lost.insert(0, "colour matrix")
        if info.colour.full_range and not y4m:
            self.lost.insert(0, "colour range")

    def write(self, frame: Frame) -> None:
        """Add the planes of a frame. OSError."""
        self._file.write(self._header + self._frame_header)
        self._file.write(frame.picture.tobytes())
        self._file.flush()  # who reads a pipe may wait for this frame
        self._header = b""

    def finish(self) -> None:
        """Write what is still buffered and close the file. OSError."""
        self._file.close()

    def abort(self) -> None:
        """Close the file, whose content no longer matters."""
        with suppress(OSError):  # closing flushes, which may fail again
            self._file.close()
