# SPDX-License-Identifier: MIT
"""Bjontegaard deltas between two rate-distortion curves, by the `bjontegaard` package, and rates at one quality."""

from collections.abc import Sequence
from typing import NamedTuple

import bjontegaard
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

METHODS = ("akima", "pchip")
Curve = Sequence[tuple[float, float]]  # (rate, quality)


class BdRate(NamedTuple):
    """`percent` more (+) or fewer (-) bits at equal quality, over the quality range [low, high] both curves cover.

    `overlap` is that range's share of the union of both; below one half the figure means little.
    """

    percent: float
    low: float
    high: float
    overlap: float


def bd_rate(reference: Curve, test: Curve, *, method: str = "akima") -> BdRate:
    """BD-rate of `test` against `reference`, each at least four points (rate, quality).

    ValueError if a curve has too few points or the curves share no quality. Source: VCEG-M33; akima as in JVET.
    """
    (rate_r, quality_r), (rate_t, quality_t) = _axes(reference, test)
    low, high = max(quality_r.min(), quality_t.min()), min(quality_r.max(), quality_t.max())
    if low >= high:
        raise ValueError(f"the curves share no quality: one ends at {high:.2f} where the other starts at {low:.2f}")
    union = max(quality_r.max(), quality_t.max()) - min(quality_r.min(), quality_t.min())
    percent = bjontegaard.bd_rate(
        rate_r, quality_r, rate_t, quality_t, method=method, require_matching_points=False, min_overlap=0
    )
    return BdRate(float(percent), float(low), float(high), float((high - low) / union))


def bd_quality(reference: Curve, test: Curve, *, method: str = "akima") -> float:
    """BD-PSNR: how much better `test` is than `reference` at equal rate, in the unit of the quality.

    ValueError if a curve has fewer than four points or the curves share no rate. Source: VCEG-M33; akima as in JVET.
    """
    (rate_r, quality_r), (rate_t, quality_t) = _axes(reference, test)
    if max(rate_r.min(), rate_t.min()) >= min(rate_r.max(), rate_t.max()):
        raise ValueError("the curves share no rate")
    delta = bjontegaard.bd_psnr(
        rate_r, quality_r, rate_t, quality_t, method=method, require_matching_points=False, min_overlap=0
    )
    return float(delta)


def rate_at(curve: Curve, quality: float) -> float | None:
    """The rate at which a curve reaches a quality, None if it never does: a monotone cubic through log-rates."""
    rates, qualities = (np.array(axis) for axis in zip(*sorted(curve, key=lambda point: point[1]), strict=True))
    if not qualities[0] <= quality <= qualities[-1] or (np.diff(qualities) <= 0).any():
        return None
    return float(np.exp(PchipInterpolator(qualities, np.log(rates))(quality)))


def _axes(*curves: Curve) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Rates and qualities of each curve, in order of rate. ValueError if one has fewer than four points."""
    if min(map(len, curves)) < 4:
        raise ValueError("BD-rate needs four points a curve")
    axes = [np.array(sorted(curve), np.float64).T for curve in curves]
    return [(rates, qualities) for rates, qualities in axes]
