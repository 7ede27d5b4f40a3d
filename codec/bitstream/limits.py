# SPDX-License-Identifier: MIT
"""How much a stream may ask of its reader: sizes, rates, times, spans, and the length of lists that take no bytes.

A stream of a hundred bytes could otherwise claim pictures, periods and times that cost hours and gigabytes.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from ..gop.structure import Segment
from ..values import MAX_TERM

if TYPE_CHECKING:  # `codec --help` shows a limit, and needs no numpy
    from ..video.picture import VideoInfo

MAX_PIXELS = 8192 * 8192  # of a picture, unless the user allows more
DEPTHS = (8, 10)  # bits a sample: those that anchor codecs have
MAX_GAP = 64  # pictures from one anchor to the next: so many times do networks run for an anchor
FASTEST = 1 << 20  # pictures a second; the slowest rate is one picture in so many seconds
MAX_SECONDS = 1 << 31  # from 0 to the first or last picture, 68 years
FREE_ELEMENTS = 1 << 19  # of lists that take no bytes: two for each picture at a constant rate, so three hours
ELEMENTS_A_BYTE = 2  # such elements that each byte of the stream allows; black in x265 needs 1.4


class Budget:
    """How many list elements may still be read that took no bytes of the stream."""

    def __init__(self) -> None:
        self.left = FREE_ELEMENTS

    def earn(self, size: int) -> None:
        """More bytes have been read."""
        self.left += ELEMENTS_A_BYTE * size

    def spend(self, count: int) -> bool:
        """Whether the bytes so far allow elements that are about to be read; only then are they counted."""
        if allowed := count <= self.left:
            self.left -= count
        return allowed


def size_problem(width: int, height: int, max_pixels: int) -> str:
    """Why a picture of this size is refused; nothing if it is not."""
    if width * height <= max_pixels:
        return ""
    return f"pictures of {width}x{height}; allow them with --max-pixels {width * height}"


def format_problem(info: "VideoInfo") -> str:
    """What no anchor codec or no player knows of a video's format; nothing if all is well."""
    if info.bit_depth not in DEPTHS:
        return f"a bit depth of {info.bit_depth}; it must be one of {', '.join(map(str, DEPTHS))}"
    if max(info.frame_rate.as_integer_ratio()) > MAX_TERM or not Fraction(1, FASTEST) <= info.frame_rate <= FASTEST:
        return f"a frame rate of {info.frame_rate}; it must be from 1/{FASTEST} to {FASTEST}"
    if max(info.time_base.as_integer_ratio()) > MAX_TERM:
        return f"a time base of {info.time_base}; both parts must be at most {MAX_TERM}"
    return ""


def segment_problem(segment: Segment, intra_period: int) -> str:
    """Why the pictures of a segment cannot be right; nothing if they can."""
    if segment.first < 0:
        return f"begins with picture {segment.first}"
    if segment.stop - segment.intra > intra_period or segment.leading >= intra_period:
        return f"pictures {segment.first}..{segment.stop - 1} are more than the intra period of {intra_period}"
    if max(segment.leading + 1, *segment.gaps, 1) > MAX_GAP:
        return f"an anchor more than {MAX_GAP} pictures after the one before"
    return ""


def times_problem(pts: Sequence[int], time_base: Fraction) -> str:
    """Why presentation times cannot be right; nothing if they can."""
    if any(a >= b for a, b in pairwise(pts)):
        return "presentation times do not increase"
    if max(-pts[0], pts[-1]) * time_base > MAX_SECONDS:
        return f"presentation times are more than {MAX_SECONDS} seconds from 0"
    return ""
