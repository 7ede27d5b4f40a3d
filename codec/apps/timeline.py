# SPDX-License-Identifier: MIT
"""A video as spans of time over which one picture turns into the next, and what is seen at any time of it.

frames     a     a     b     c  |  d  ...          (| is a cut)
spans      a --------> b --> c --> d               the second a is a repetition: motion goes on through it
                             held                  up to a cut the last picture stays
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..gop.scene_cuts import is_cut, shrink
from ..video.picture import Frame, VideoInfo, Yuv420

BLOCK = 8  # pictures are compared in blocks of so many samples a side
LEAST_CHANGE = 2.0  # mean difference of a block in 8-bit levels; a picture without such a block is a repetition
LONGEST_PAUSE = 4  # frames; a picture that stays longer is a still, and moves only just before the next one


class Span(NamedTuple):
    """From `start` to `end`, in seconds, `past` becomes `future`; where that is None, `past` is held."""

    start: Fraction
    end: Fraction
    past: Yuv420
    future: Yuv420 | None


class Moment(NamedTuple):
    """What is seen at some time: a place in [0,1) of a span, at 0 exactly its past picture."""

    span: Span
    time: Fraction

    @property
    def held(self) -> Yuv420 | None:
        """The picture if nothing has to be made, else None."""
        return self.span.past if self.span.future is None or not self.time else None


def spans(frames: Iterable[Frame], info: VideoInfo) -> Iterator[Span]:
    """The spans of a video, one after the other without gaps; two pictures are in memory at a time."""
    step = 1 / info.frame_rate
    past: Frame | None = None
    start = end = Fraction(0)
    for frame in frames:
        time = frame.pts * info.time_base
        end = time + step
        if past is None:
            past, start = frame, time
        elif not is_repetition(past.picture, frame.picture):
            moving = time - step if time - start > LONGEST_PAUSE * step else start
            if moving > start:
                yield Span(start, moving, past.picture, None)
            cut = is_cut(shrink(past.picture), shrink(frame.picture))
            yield Span(moving, time, past.picture, None if cut else frame.picture)
            past, start = frame, time
    if past is not None:
        yield Span(start, end, past.picture, None)


def moments(spans_: Iterable[Span], times: Iterable[Fraction]) -> Iterator[Moment]:
    """What is seen at increasing times in seconds from 0 on, up to the end of the last span."""
    waiting = iter(times)
    now = next(waiting, None)
    for span in spans_:
        while now is not None and now < span.end:
            yield Moment(span, (now - span.start) / (span.end - span.start))
            now = next(waiting, None)


def is_repetition(past: Yuv420, current: Yuv420) -> bool:
    """Whether a picture shows the one before it again, but for coding noise: no block of luma has changed."""
    rows, cols = (max(side // BLOCK, 1) for side in past.y.shape)
    height, width = min(BLOCK, past.height), min(BLOCK, past.width)
    a, b = (p.y[: rows * height, : cols * width].astype(np.float32) for p in (past, current))
    blocks = np.abs(a - b).reshape(rows, height, cols, width).mean((1, 3))
    return float(blocks.max()) < LEAST_CHANGE * (1 << (past.bit_depth - 8))
