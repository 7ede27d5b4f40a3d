# SPDX-License-Identifier: MIT
"""Slow motion, and other frame rates: a video seen at new times (paper, D.2)."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count

from torch import Tensor

from ncm.effects import at_time

from ..arguments import checked, shown
from ..errors import InputError
from ..files import PathLike
from ..progress import Progress, quiet
from ..video.picture import VideoInfo, Yuv420
from ..video.source import VideoSource
from .beside import beside_of
from .output import output, write_all
from .source import source_of
from .synthesis import INTERPOLATION, Synthesiser, synthesiser_for
from .timeline import moments, spans

LEAST, MOST = Fraction(1, 1000), Fraction(1000)  # of a factor


@checked
def slow_motion(
    src: PathLike,
    dst: PathLike,
    *,
    factor: Fraction = Fraction(1),
    fps: Fraction | None = None,
    sound: str = "stretch",
    model: str | None = None,
    tta: bool = False,
    device: str = "auto",
    video_codec: str | None = None,
    crf: float | None = None,
    progress: Progress = quiet,
) -> int:
    """Write a video `factor` times as long, at its own frame rate or at `fps`, and return the number of frames.

    Repeated frames are taken for motion that goes on, and no frame is made across a scene cut. `sound` is "stretch"
    (pitch kept), "keep" (at its speed) or "drop". Raises a CodecError.
    """
    if not LEAST <= factor <= MOST:
        raise InputError(f"--factor {shown(factor)}: give one from {LEAST} to {MOST}")
    with source_of(src) as source:
        info = retimed_info(source.info, fps)
        synthesiser = synthesiser_for(INTERPOLATION, model, source.info, device=device, tta=tta)
        longer = factor * info.frame_rate / source.info.frame_rate
        total = None if source.frame_count is None else round(source.frame_count * longer)
        pictures = retimed(source, info.frame_rate * factor, synthesiser)
        beside = beside_of(src, sound, factor, origin=source.first_time)
        with output(source, dst, info, beside, src=src, video_codec=video_codec, crf=crf) as sink:
            number = write_all(sink, pictures, progress, total)
    return number


def retimed_info(info: VideoInfo, fps: Fraction | None) -> VideoInfo:
    """The video at constant frame rate `fps`, its own if absent. InputError if that is none."""
    rate = info.frame_rate if fps is None else fps
    if rate <= 0:
        raise InputError(f"--fps {shown(rate)}: give a rate above 0")
    return replace(info, frame_rate=rate, time_base=1 / rate)


def retimed(source: VideoSource, rate: Fraction, synthesiser: Synthesiser) -> Iterator[Yuv420]:
    """The pictures of a video at `rate` moments for each of its seconds."""
    span, known = None, dict[Fraction, Tensor]()
    for moment in moments(spans(source, source.info), (number / rate for number in count())):
        future = moment.span.future
        if moment.held is not None or future is None:
            yield moment.span.past
            continue
        if moment.span is not span:
            span = moment.span
            known = {Fraction(0): synthesiser.reference(span.past), Fraction(1): synthesiser.reference(future)}
        yield synthesiser.picture(at_time(moment.time, known, synthesiser.rgb))
