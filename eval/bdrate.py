# SPDX-License-Identifier: MIT
"""Bjontegaard delta rate between two rate-distortion curves, by the `bjontegaard` package."""

from collections.abc import Sequence
from typing import NamedTuple

import bjontegaard
import numpy as np


class BdRate(NamedTuple):
    """`percent` more (+) or fewer (-) bits at equal quality, over the quality range [low, high] both curves cover.

    `overlap` is that range's share of the union of both; below one half the figure means little.
    """

    percent: float
    low: float
    high: float
    overlap: float


def bd_rate(
    reference: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], *, method: str = "akima"
) -> BdRate:
    """BD-rate of `test` against `reference`, each at least four points (rate, quality in dB).

    ValueError if a curve has too few points or the curves share no quality. Source: VCEG-M33; akima as in JVET.
    """
    curves = [sorted(curve) for curve in (reference, test)]
    if min(map(len, curves)) < 4:
        raise ValueError("BD-rate needs four points a curve")
    (rate_r, quality_r), (rate_t, quality_t) = ((np.array(axis) for axis in zip(*c, strict=True)) for c in curves)
    low, high = max(quality_r.min(), quality_t.min()), min(quality_r.max(), quality_t.max())
    if low >= high:
        raise ValueError(f"the curves share no quality: one ends at {high:.2f} where the other starts at {low:.2f}")
    union = max(quality_r.max(), quality_t.max()) - min(quality_r.min(), quality_t.min())
    percent = bjontegaard.bd_rate(
        rate_r, quality_r, rate_t, quality_t, method=method, require_matching_points=False, min_overlap=0
    )
    return BdRate(float(percent), float(low), float(high), float((high - low) / union))
