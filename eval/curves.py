# SPDX-License-Identifier: MIT
"""Rate-distortion curves out of results: of a sequence, and of a class as the papers draw it."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from eval.rows import Row

MEASURES = {
    "psnr_rgb": "PSNR RGB (dB)",
    "psnr_yuv": "PSNR YUV 6:1:1 (dB)",
    "psnr_y": "PSNR Y (dB)",
    "ms_ssim": "MS-SSIM RGB",
    "vmaf": "VMAF",
}


class Point(NamedTuple):
    """One rate point of one codec."""

    bpp: float
    quality: float


Curves = dict[str, list[Point]]  # by codec, in order of rate


def groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by class."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return found


def sequences(rows: Iterable[Row]) -> list[str]:
    """The sequences in order of appearance."""
    return list(dict.fromkeys(row.sequence for row in rows))


def curves(rows: Sequence[Row], sequence: str, measure: str) -> Curves:
    """By codec, the points of a sequence in order of rate; those without the measure (NaN) are left out."""
    found: Curves = {}
    for row in rows:
        value = getattr(row, measure)
        if row.sequence == sequence and value == value:
            found.setdefault(row.codec, []).append(Point(row.bpp, value))
    return {name: sorted(points) for name, points in found.items()}


def average(rows: Sequence[Row], measure: str) -> Curves:
    """By codec, the mean over sequences of each of its rate points, as the papers draw a class.

    Only sequences that every codec has with all its rate points count.
    """
    names = dict.fromkeys(row.codec for row in rows)
    points = {name: dict.fromkeys(row.crf for row in rows if row.codec == name) for name in names}
    table = {row.key: row for row in rows if getattr(row, measure) == getattr(row, measure)}
    common = [
        sequence
        for sequence in sequences(rows)
        if all((sequence, name, crf) in table for name in names for crf in points[name])
    ]
    if not common:
        return {}

    def mean(name: str, crf: float) -> Point:
        chosen = [table[sequence, name, crf] for sequence in common]
        return Point(fmean(row.bpp for row in chosen), fmean(getattr(row, measure) for row in chosen))

    return {name: sorted(mean(name, crf) for crf in points[name]) for name in names}
