# SPDX-License-Identifier: MIT
"""Show a stream in a player that is installed: mpv with sound and subtitles, or ffplay with pictures alone.

The player gets .y4m of a constant rate on its standard input. mpv takes the sound from the film itself.
"""

import io
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from shutil import which
from typing import BinaryIO, NamedTuple, Unpack

import av

from ..arguments import checked
from ..container.opening import film_origin, is_film
from ..decoder.video import Reading, Video, raise_if_damaged
from ..errors import InputError, OutputError
from ..files import PathLike
from ..notes import tell
from ..values import Place
from ..video.companions import tell_left_out
from ..video.source import reason
from ..video.writer import y4m_sink

CLOSED = (0, 4)  # statuses of a player that was closed; 4 is mpv's after Ctrl-C in its window


class Tracks(NamedTuple):
    """What a film has beside its pictures, and by how many seconds a player that starts it at 0 shows it too early."""

    sound: bool = False
    subtitles: bool = False
    delay: Fraction = Fraction(0)


@checked
def play(src: PathLike, *, start: Place | None = None, **reading: Unpack[Reading]) -> None:
    """Show a stream, or a film with its sound, in mpv or else ffplay, until its end or until the player is closed.

    `start` is a time in seconds, or text such as '1:10.5' or '300f' for a frame; the rest is as for `decode`.
    Raises a CodecError: OutputError if there is no player or it fails, DamageError after damaged pictures were shown.
    """
    name, program, options = _player()
    with Video(src, **reading) as video:
        begin = Fraction(0) if start is None else video.cut(start, None)[0]
        command = [program, *options(src, video.name, _tracks(src, begin))]
        with _fed(command, name) as pipe, y4m_sink(pipe, video.info, name=name, steady=True) as sink:
            tell(sink.name, sink.notes)
            for frame in video:
                sink.write(frame)
        raise_if_damaged(video)


Options = Callable[[PathLike, str, Tracks], list[str]]


def _player() -> tuple[str, str, Options]:
    """The name, the path and the options of the player to use. OutputError if there is none."""
    players: dict[str, Options] = {"mpv": _mpv, "ffplay": _ffplay}
    for name, options in players.items():
        if program := which(name):
            return name, program, options
    raise OutputError("no player is found; install mpv or ffplay, or write a video with codec decode")


def _mpv(src: PathLike, title: str, tracks: Tracks) -> list[str]:
    """mpv with the cache on: where decoding is slower than playing it waits, and the sound with it."""
    options = [f"--force-media-title={title}", "--cache=yes"]
    for there, kind in ((tracks.sound, "audio"), (tracks.subtitles, "sub")):
        if there:
            options += [f"--{kind}-file={src}", f"--{kind}-delay={float(tracks.delay):.6f}"]
    return [*options, "-"]


def _ffplay(src: PathLike, title: str, tracks: Tracks) -> list[str]:
    there = {"sound": tracks.sound, "subtitles": tracks.subtitles}
    tell_left_out(src, [what for what in there if there[what]], "ffplay gets pictures only; install mpv for all")
    return ["-loglevel", "error", "-autoexit", "-window_title", title, "-f", "yuv4mpegpipe", "-i", "-"]


def _tracks(src: PathLike, begin: Fraction) -> Tracks:
    """What a film has beside its pictures, for a player that begins `begin` seconds after the first of them."""
    if not is_film(src):
        return Tracks()
    try:
        with av.open(f"file:{Path(src)}", metadata_errors="ignore") as film:
            # A player moves a file of sound so that its first packet, of whatever track, is at 0.
            first = Fraction(film.start_time or 0, av.time_base)
            kinds = bool(film.streams.audio), bool(film.streams.subtitles)
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{src}: cannot be read ({reason(error)}); check the path") from error
    return Tracks(*kinds, delay=first - film_origin(src) - begin)


@contextmanager
def _fed(command: Sequence[str], name: str) -> Iterator[BinaryIO]:
    """The standard input of a player, which has ended after the block. The block ends early, quietly, if it is closed.

    OutputError if the player cannot be run or fails.
    """
    try:
        player = subprocess.Popen(command, stdin=subprocess.PIPE)
    except OSError as error:
        raise OutputError(f"{name}: cannot be run ({error.strerror}); install it anew") from error
    assert isinstance(player.stdin, io.BufferedWriter)
    try:
        yield player.stdin
    except OutputError as error:
        if not isinstance(error.__cause__, BrokenPipeError):
            player.terminate()
            raise
    except BaseException:
        player.terminate()
        raise
    finally:
        status = player.wait()
    if status > 0 and status not in CLOSED:
        raise OutputError(f"{name}: failed with status {status}; see what it says, or write a video with codec decode")
