# SPDX-License-Identifier: MIT
"""Motion blur: each picture is the mean, in linear light, of those that an open shutter would see (paper, D.1)."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count, islice

import torch

import ncm
from ncm.effects import exposure
from ncm.light import from_light, to_light

from ..arguments import checked
from ..errors import InputError
from ..files import PathLike
from ..progress import Progress, quiet
from ..video.picture import Yuv420
from ..video.source import VideoSource
from .beside import beside_of
from .output import output, write_all
from .picture_files import picture_target, read_pair, write_picture
from .slow_motion import retimed_info
from .source import source_of
from .synthesis import INTERPOLATION, Synthesiser, model_for, synthesiser_for
from .timeline import Moment, moments, spans

MOST_SAMPLES = 1000


@checked
def motion_blur(
    src: PathLike,
    dst: PathLike,
    *,
    shutter: float = 180.0,
    samples: int = 31,
    sound: str = "keep",
    model: str | None = None,
    tta: bool = False,
    device: str = "auto",
    video_codec: str | None = None,
    crf: float | None = None,
    progress: Progress = quiet,
) -> int:
    """Write a video as a shutter sees it that opens at each frame, and return the number of frames.

    It is open for so many of the 360 degrees up to the next frame. `sound` is "keep" or "drop". Raises a CodecError.
    """
    offsets = shutter_times(samples, shutter)
    with source_of(src) as source:
        info = retimed_info(source.info, None)
        pictures = exposed(source, offsets, synthesiser_for(INTERPOLATION, model, source.info, device=device, tta=tta))
        beside = beside_of(src, sound, Fraction(1), origin=source.first_time)
        with output(source, dst, info, beside, src=src, video_codec=video_codec, crf=crf) as sink:
            number = write_all(sink, pictures, progress, source.frame_count)
    return number


@checked
def blur_pictures(
    first: PathLike,
    second: PathLike,
    dst: PathLike,
    *,
    shutter: float = 180.0,
    samples: int = 31,
    model: str | None = None,
    tta: bool = False,
    device: str = "auto",
) -> None:
    """Write one picture as a shutter sees it that opens at the first of two. Raises a CodecError."""
    shutter_times(samples, shutter)
    target = picture_target(dst, first, second)
    a, b = read_pair(first, second)
    network = model_for(INTERPOLATION, model, device=device, tta=tta).network
    write_picture(target, ncm.motion_blur(a, b, samples=samples, shutter=shutter, network=network))


def shutter_times(samples: int, shutter: float) -> list[Fraction]:
    """When the samples of a shutter's opening are taken, in frames after the opening. InputError for what is none."""
    if samples > MOST_SAMPLES:
        raise InputError(f"--samples {samples}: give {MOST_SAMPLES} or fewer")
    try:
        return [Fraction(time).limit_denominator(1_000_000) for time in exposure(samples, shutter)]
    except ValueError as error:
        raise InputError(f"--samples {samples} --shutter {shutter:g}: {error}") from error


def exposed(source: VideoSource, offsets: Sequence[Fraction], synthesiser: Synthesiser) -> Iterator[Yuv420]:
    """The pictures of a video, a mean for each frame."""
    rate = source.info.frame_rate
    seen = moments(spans(source, source.info), ((number + offset) / rate for number in count() for offset in offsets))
    while len(samples := list(islice(seen, len(offsets)))) == len(offsets):
        yield mean(samples, synthesiser)


def mean(samples: Sequence[Moment], synthesiser: Synthesiser) -> Yuv420:
    """The mean of what is seen at some moments, in linear light; the picture itself where nothing moves."""
    first = samples[0].span.past
    if all(sample.held is first for sample in samples):
        return first
    light: torch.Tensor | None = None
    references: dict[int, torch.Tensor] = {}  # by the picture's id: most samples lie between the same two

    def reference(picture: Yuv420) -> torch.Tensor:
        if id(picture) not in references:
            references[id(picture)] = synthesiser.reference(picture)
        return references[id(picture)]

    for sample in samples:
        rgb, future = reference(sample.span.past), sample.span.future
        if future is not None and sample.held is None:
            rgb = synthesiser.rgb(rgb, reference(future), float(sample.time))
        light = to_light(rgb) if light is None else light + to_light(rgb)
    assert light is not None
    return synthesiser.picture(from_light(light / len(samples)))
