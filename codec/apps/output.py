# SPDX-License-Identifier: MIT
"""Where the applications write their video, and how it is coded there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import InputError
from ..files import PathLike, check_outputs, unwritable
from ..progress import Progress
from ..video.libav_writer import CONTAINERS
from ..video.picture import Frame, VideoInfo, Yuv420
from ..video.writer import VideoSink, open_sink
from .sound import Sound, add_sound

CRF = 16.0  # of x264 and x265: hardly to be told from the source
HIGHEST_CRF = 51
WITH_CRF = ("libx264", "libx265")


@contextmanager
def output(
    src: PathLike, dst: PathLike, info: VideoInfo, sound: Sound | None, *, video_codec: str | None, crf: float | None
) -> Iterator[VideoSink]:
    """A sink for the video, to which the sound of `src` is added at the end if any is wanted.

    InputError if both are one file, OutputError if `dst` cannot be written.
    """
    target = str(dst)
    check_outputs({"the video": src}, {"the output": target})
    if Path(target).suffix.lower() not in CONTAINERS:
        if crf is not None:
            raise InputError(f"{target}: holds raw video; leave out --crf, or write to {', '.join(CONTAINERS)}")
        with open_sink(target, info, video_codec=video_codec) as sink:
            yield sink
        return
    encoder, options = _encoder(video_codec or WITH_CRF[0], crf)
    if encoder in WITH_CRF and (info.width % 2 or info.height % 2):
        size = f"{info.width}x{info.height}"
        raise InputError(f"{target}: {encoder} takes no odd sizes such as {size}; write .mkv by --video-codec ffv1")
    if sound is None:
        with open_sink(target, info, video_codec=encoder, options=options) as sink:
            yield sink
        return
    with _beside(target) as folder:
        silent = Path(folder) / f"video{Path(target).suffix}"
        with open_sink(silent, info, video_codec=encoder, options=options) as sink:
            yield sink
        add_sound(silent, sound, target)


def _beside(target: str) -> "TemporaryDirectory[str]":
    """A hidden folder beside the output. OutputError if there is no place for it."""
    try:
        return TemporaryDirectory(prefix=".", suffix=".part", dir=Path(target).resolve().parent)
    except OSError as error:
        raise unwritable(target, error) from error


def _encoder(name: str, crf: float | None) -> tuple[str, dict[str, str] | None]:
    """An encoder and its options. InputError if it knows no crf but one is given."""
    if name in WITH_CRF:
        if crf is not None and not 0 <= crf <= HIGHEST_CRF:
            raise InputError(f"--crf {crf:g}: give one from 0 to {HIGHEST_CRF}")
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
