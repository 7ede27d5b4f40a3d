# SPDX-License-Identifier: MIT
"""Streams by name, whatever they lie in: .ncm, .mp4 and .mkv. What a file holds tells, not its name."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ..arguments import checked
from ..bitstream.info import StreamInfo, read_info
from ..bitstream.limits import MAX_PIXELS
from ..bitstream.reader import StreamReader, named
from ..bitstream.syntax import MAGIC
from ..bitstream.writer import Output
from ..errors import InputError, OutputError, StreamError
from ..files import PathLike, Place, is_pipe, is_regular, leads_nowhere, name_of, replacing
from .formats import NO_STREAM, PLAIN, is_film_name

if TYPE_CHECKING:
    from ..video.companions import Companions
    from .film_reader import FilmReader


@contextmanager
def reading(path: PathLike, *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[str, StreamReader]]:
    """A stream's name for messages and its reader; '-' is standard input.

    InputError if the file cannot be opened, StreamError naming it if there is no stream in it, or has larger pictures.
    """
    name = name_of(path)
    with ExitStack() as stack:
        try:
            with named(name):
                reader = StreamReader(stack.enter_context(stream_bytes(path)), max_pixels=max_pixels)
        except OSError as err:
            raise InputError(f"{name}: cannot be read ({err.strerror}); check the path") from err
        yield name, reader


@contextmanager
def stream_bytes(path: PathLike) -> Iterator[BinaryIO]:
    """The .ncm stream in a file, as a file. OSError, or StreamError if it holds none."""
    with ExitStack() as stack:
        file = sys.stdin.buffer if str(path) == "-" else stack.enter_context(Path(path).open("rb"))
        yield file if is_plain(file) else cast(BinaryIO, stack.enter_context(closing(_film(file))))


def is_film(path: PathLike) -> bool:
    """Whether a path is of a file that is read as a film, if it can be read at all."""
    if str(path) == "-" or not is_regular(path):
        return False
    with Path(path).open("rb") as file:
        return not is_plain(file)


def holds_stream(path: PathLike) -> bool:
    """Whether there is a stream in a file, plain or in a film; '-' is standard input, if that is a file.

    What is on a pipe nobody knows before it is read.
    """
    try:
        if str(path) == "-":
            return sys.stdin.buffer.seekable() and _holds_stream(sys.stdin.buffer)
        if not is_regular(path):
            return False
        with Path(path).open("rb") as file:
            return _holds_stream(file)
    except (OSError, StreamError):
        return False


def _holds_stream(file: BinaryIO) -> bool:
    """Whether there is a stream in a file that can seek, which stays where it is. OSError or StreamError if not."""
    start = file.tell()
    try:
        if is_plain(file):
            return file.read(len(MAGIC)) == MAGIC
        _film(file).close()
        return True
    finally:
        file.seek(start)


def is_stream(path: Path) -> bool:
    """Whether a file is a stream by its name, or a film that holds one; of a link to nowhere nobody knows."""
    named = PLAIN in (part.lower() for part in path.suffixes[-2:])
    return named or (is_film_name(path) and (leads_nowhere(path) or holds_stream(path)))


@contextmanager
def beside(
    src: PathLike, dst: PathLike, file: BinaryIO, *, start: Fraction | None = None, stop: Fraction | None = None
) -> Iterator["Companions | None"]:
    """What goes beside the pictures of a stream, if that is a film, for another file from `start` to `stop` seconds on.

    None, and a line of it, if that has pictures only, or the film is on a pipe; `file` is what `stream_bytes` gave.
    InputError if the film cannot be read.
    """
    found: list[str] | None = getattr(file, "companions", None)
    if found is None:  # no film
        yield None
        return
    from ..video.companions import companions_of, tell_beside_pipe

    if is_pipe(src):
        tell_beside_pipe(name_of(src), found, dst)
        yield None
        return
    with companions_of(src, dst, origin=film_origin(src), start=start, stop=stop) as companions:
        yield companions


def film_origin(src: PathLike) -> Fraction:
    """The time, in seconds, that a film's container has for what is shown at 0. StreamError if it holds no stream."""
    with Path(src).open("rb") as file, closing(_film(file)) as film:
        return film.origin


def is_plain(file: BinaryIO) -> bool:
    """Whether a file that can be peeked into starts as an .ncm stream does, or is too short for a film."""
    head = file.peek(len(MAGIC)) if hasattr(file, "peek") else MAGIC
    return head[: len(MAGIC)] == MAGIC or len(head) < len(MAGIC)


def _film(file: BinaryIO) -> "FilmReader":
    """A film's stream. StreamError if there is none."""
    import av  # .ncm does without

    from .film_reader import FilmReader

    try:
        return FilmReader(file)
    except av.FFmpegError as error:
        raise StreamError(NO_STREAM) from error


@checked
def info(src: PathLike, *, max_pixels: int = MAX_PIXELS) -> StreamInfo:
    """The header and a record of each picture of the stream at a path, '-' = standard input; nothing is decoded.

    InputError if it cannot be opened, StreamError if it holds no stream, or one of larger pictures than max_pixels.
    """
    with reading(src, max_pixels=max_pixels) as (name, reader), named(name):
        return read_info(reader)


@contextmanager
def writing(path: PathLike, companions: "Companions | None" = None, *, force: bool = False) -> Iterator[Output]:
    """Where a StreamWriter writes to: an .ncm file, or a film if the name says so; '-' is standard output.

    A film gets the companions beside its pictures. The file takes its name only when the block ends well. OutputError
    if it cannot be written, or is read-only and `force` is not given.
    """
    if not is_film_name(path):
        with replacing(path, force=force) as file:
            yield file
        return
    import av

    from .film_writer import FilmWriter

    place = Place(path, force=force)
    try:
        place.reserve()
        writer = FilmWriter(place.path, str(path), companions)
        try:
            yield writer
            writer.finish()
        finally:
            writer.abort()
        place.commit()
    except (OSError, av.FFmpegError) as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{path}: cannot be written ({reason}); check the directory and its space") from error
    finally:
        place.abandon()
