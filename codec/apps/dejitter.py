# SPDX-License-Identifier: MIT
"""Jitter removal: a video of a low frame rate, made smooth where it is received (paper, appendix E).

time             1   2   3   4   5   6   7   8   9
received         1               5               9
interpolation                1   2   3   4   5   6       2, 3 and 4 need 5: all is shown three pictures late
extrapolation    1   1   1   1   5'  6'  7'  8'  9'      10 to 12 lie between 9 and 13, foreseen from 5 and 9

What was foreseen differs from what then comes, and the picture would jump there. So a received picture is shown as the
one between its neighbours: 5' is interpolated between 4' and 6'.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from ..arguments import checked
from ..errors import InputError
from ..files import PathLike
from ..gop.scene_cuts import is_cut, shrink
from ..progress import Progress, quiet
from ..video.picture import Yuv420
from .beside import beside_of
from .output import output, write_all
from .source import source_of
from .synthesis import EXTRAPOLATION, INTERPOLATION, synthesiser_for
from .timeline import is_repetition

MOST = 1000  # times as many pictures
SCHEMES = ("interpolation", "extrapolation")
Between = Callable[[Yuv420, Yuv420, float], Yuv420]


class Smoothed(NamedTuple):
    """What was done: the number of pictures, and how long after it was received each is shown, in seconds.

    The time to compute comes on top.
    """

    pictures: int
    delay: Fraction


@checked
def dejitter(
    src: PathLike,
    dst: PathLike,
    *,
    factor: int = 4,
    scheme: str = "interpolation",
    smooth: bool = True,
    model: str | None = None,
    foresee: str | None = None,
    tta: bool = False,
    device: str = "auto",
    video_codec: str | None = None,
    crf: float | None = None,
    progress: Progress = quiet,
) -> Smoothed:
    """Write a video with `factor` times as many pictures a second, each as soon as it can be.

    Scheme "interpolation" is factor - 1 pictures late, "extrapolation" is not; there `foresee` is the network for the
    next picture received, and `smooth` says whether received pictures are interpolated again. Raises a CodecError.
    """
    if scheme not in SCHEMES:
        raise InputError(f"--scheme {scheme}: choose from {', '.join(SCHEMES)}")
    if not 2 <= factor <= MOST:
        raise InputError(f"--factor {factor}: give one from 2 to {MOST}")
    with source_of(src) as source:

        def network(task: str, name: str | None) -> Between:
            option = "--foresee" if task == EXTRAPOLATION else "--model"
            return synthesiser_for(task, name, source.info, device=device, tta=tta, option=option).synthesised

        between, pictures = network(INTERPOLATION, model), (frame.picture for frame in source)
        if scheme == "interpolation":
            late, made = factor - 1, interpolated(pictures, factor, between)
        else:
            ahead = network(EXTRAPOLATION, foresee)
            late, made = 0, extrapolated(pictures, factor, between, ahead, smooth=smooth)
        total = None if source.frame_count is None else factor * source.frame_count
        rate = source.info.frame_rate * factor
        info = replace(source.info, frame_rate=rate, time_base=1 / rate)
        beside = beside_of(src, "drop", Fraction(1), origin=source.first_time)
        with output(source, dst, info, beside, src=src, video_codec=video_codec, crf=crf) as sink:
            number = write_all(sink, made, progress, total)
    return Smoothed(number, late / rate)


def interpolated(received: Iterable[Yuv420], factor: int, between: Between) -> Iterator[Yuv420]:
    """Each picture as soon as it can be made, `factor` for each received one; the last one is repeated."""
    past: Yuv420 | None = None
    for picture in received:
        if past is not None:
            yield from _filled(past, picture, factor, between)
        yield picture
        past = picture
    if past is not None:
        yield from [past] * (factor - 1)


def _filled(past: Yuv420, future: Yuv420, factor: int, between: Between) -> Iterator[Yuv420]:
    """The pictures between two; the past one again where the scene is cut or nothing moves."""
    goes_on = _goes_on(past, future)
    for number in range(1, factor):
        yield between(past, future, number / factor) if goes_on else past


def _goes_on(past: Yuv420, future: Yuv420) -> bool:
    """Whether one picture moves into the next."""
    return not is_repetition(past, future) and not is_cut(shrink(past), shrink(future))


def extrapolated(
    received: Iterable[Yuv420], factor: int, between: Between, ahead: Between, *, smooth: bool = True
) -> Iterator[Yuv420]:
    """`factor` pictures for each received one, none of which waits for the next; the first one is repeated."""
    past: Yuv420 | None = None
    shown: Yuv420 | None = None  # the last one
    for picture in received:
        group = iter([picture] * factor)
        if past is not None and _goes_on(past, picture):
            group = _foreseen(picture, ahead(past, picture, 0.5), factor, between, shown if smooth else None)
        for shown in group:
            yield shown
        past = picture


def _foreseen(
    picture: Yuv420, foreseen: Yuv420, factor: int, between: Between, shown: Yuv420 | None
) -> Iterator[Yuv420]:
    """A received picture, interpolated again if one shown before it is given, and those up to a foreseen one."""
    following = between(picture, foreseen, 1 / factor)
    yield picture if shown is None else between(shown, following, 0.5)
    yield following
    for number in range(2, factor):
        yield between(picture, foreseen, number / factor)
