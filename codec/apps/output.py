# SPDX-License-Identifier: MIT
"""Where the applications write their video, and how it is coded there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import DamageError, InputError
from ..files import PathLike, check_outputs, unwritable
from ..notes import tell
from ..progress import Progress
from ..video.companions import CHAPTERS, TITLE, tell_left_out
from ..video.libav_writer import CONTAINERS, HIGHEST_CRF
from ..video.picture import Frame, VideoInfo, Yuv420
from ..video.source import VideoSource
from ..video.writer import STANDARD_OUTPUT, VideoSink, check_name, open_sink
from .beside import Beside, add_beside

CRF = 16.0  # of x264 and x265: hardly to be told from the source
WITH_CRF = ("libx264", "libx265")


@contextmanager
def output(
    source: VideoSource,
    dst: PathLike,
    info: VideoInfo,
    beside: Beside | None,
    *,
    src: PathLike,
    video_codec: str | None,
    crf: float | None,
) -> Iterator[VideoSink]:
    """A sink for pictures made of a source, the file `src`; what goes beside them is added at the end.

    What of the source does not get there is said. InputError if both are one file, OutputError if `dst` cannot be
    written; DamageError, once it is there, if the source was damaged.
    """
    target = str(dst)
    check_outputs({"the video": src}, {"the output": target})
    in_container = Path(target).suffix.lower() in CONTAINERS
    with _sink(target, info, beside if in_container else None, video_codec=video_codec, crf=crf) as sink:
        tell(source.name, source.notes)
        tell_left_out(source.name, *_left_out(source, beside if in_container else None))
        tell(STANDARD_OUTPUT if target == "-" else target, sink.notes)
        yield sink
    if source.problems:
        raise DamageError.of(source.name, source.problems, "what can be decoded is in the output")


def _left_out(source: VideoSource, beside: Beside | None) -> tuple[list[str], str]:
    """What goes beside the pictures of a source and not beside those that are made of them, and why."""
    others = list(source.companions or ())
    if beside is None:
        return others, "the output has pictures only"
    for kept in (CHAPTERS, TITLE, beside.words):
        if kept in others:
            others.remove(kept)
    return others, f"the output has pictures and {'one track of' if beside.words else 'no'} sound"


@contextmanager
def _sink(
    target: str, info: VideoInfo, beside: Beside | None, *, video_codec: str | None, crf: float | None
) -> Iterator[VideoSink]:
    """A sink of its own for each kind of output. InputError or OutputError."""
    if Path(target).suffix.lower() not in CONTAINERS:
        check_name(target, video_codec, crf)
        with open_sink(target, info, video_codec=video_codec) as sink:
            yield sink
        return
    encoder, options = _encoder(video_codec or WITH_CRF[0], crf)
    if encoder in WITH_CRF and (info.width % 2 or info.height % 2):
        size = f"{info.width}x{info.height}"
        raise InputError(f"{target}: {encoder} takes no odd sizes such as {size}; write .mkv by --video-codec ffv1")
    if beside is None:
        with open_sink(target, info, video_codec=encoder, options=options) as sink:
            yield sink
        return
    with _folder_beside(target) as folder:
        alone = Path(folder) / f"video{Path(target).suffix}"
        with open_sink(alone, info, video_codec=encoder, options=options, name=target) as sink:
            yield sink
        add_beside(alone, beside, target)


def _folder_beside(target: str) -> "TemporaryDirectory[str]":
    """A hidden folder beside the output. OutputError if there is no place for it."""
    try:
        return TemporaryDirectory(prefix=".", suffix=".part", dir=Path(target).resolve().parent)
    except OSError as error:
        raise unwritable(target, error) from error


def _encoder(name: str, crf: float | None) -> tuple[str, dict[str, str] | None]:
    """An encoder and its options. InputError if it knows no crf but one is given."""
    if name in WITH_CRF:
        if crf is not None and not 0 <= crf <= HIGHEST_CRF[name]:
            raise InputError(f"--crf {crf:g}: give one from 0 to {HIGHEST_CRF[name]}")
        return name, {"crf": f"{CRF if crf is None else crf:g}"} | (
            {"x265-params": "log-level=none"} if "5" in name else {}
        )
    if crf is not None:
        raise InputError(f"--crf is for {' and '.join(WITH_CRF)}; leave it out with --video-codec {name}")
    return name, None


def write_all(sink: VideoSink, pictures: Iterable[Yuv420], progress: Progress, total: int | None) -> int:
    """Write pictures one after the other, and return how many there were; `total` are expected."""
    number = 0
    for number, picture in enumerate(pictures, 1):
        sink.write(Frame(number - 1, picture))
        progress(number, total)
    return number
