# SPDX-License-Identifier: MIT
"""Rate-distortion curves out of results: of a sequence, and of a class as the papers draw it."""

from typing import NamedTuple

import pandas as pd

MEASURES = {
    "psnr_rgb": "PSNR RGB (dB)",
    "psnr_yuv": "PSNR YUV 6:1:1 (dB)",
    "psnr_y": "PSNR Y (dB)",
    "ms_ssim": "MS-SSIM RGB",
    "xpsnr": "XPSNR YUV 6:1:1 (dB)",
    "vmaf": "VMAF",
}


class Point(NamedTuple):
    """One rate point of one codec."""

    bpp: float
    quality: float


Curves = dict[str, list[Point]]  # by codec, in order of rate


def curves(rows: pd.DataFrame, sequence: str, measure: str) -> Curves:
    """By codec, the points of a sequence in order of rate; those without the measure (NaN) are left out."""
    return _by_codec(rows[rows.sequence == sequence].dropna(subset=[measure]), measure)


def average(rows: pd.DataFrame, measure: str) -> Curves:
    """By codec, the mean over sequences of each of its rate points, as the papers draw a class.

    Only sequences that every codec has with all its rate points count.
    """
    whole = rows.pivot(index="sequence", columns=["codec", "crf"], values=["bpp", measure]).dropna()
    means = _by_codec(whole.mean().unstack(0).dropna().reset_index(), measure)
    return {name: means[name] for name in rows.codec.unique() if name in means}


def _by_codec(rows: pd.DataFrame, measure: str) -> Curves:
    """By codec, in order of appearance, its points in order of rate."""
    return {
        str(name): sorted(Point(*point) for point in own[["bpp", measure]].itertuples(index=False, name=None))
        for name, own in rows.groupby("codec", sort=False)
    }
