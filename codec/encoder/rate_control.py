# SPDX-License-Identifier: MIT
"""Find the quality that meets a bit rate or a PSNR: cheap passes of the anchor encoder alone, then whole ones.

The control is `finer`, octaves of the anchors' slope, which every anchor codec maps to its own scale. What is wanted
(the logarithm of the rate, or PSNR) rises with it almost in a straight line, and for the whole codec nearly in parallel
to the encoder alone; so one pass usually finds the place, and a second one meets it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .report import Summary
from .settings import EncodeSettings

PROBES = (-2.0, 0.0, 2.0)  # octaves around the default quality
REACH = 8.0  # octaves either way that are looked at
RATE_TOLERANCE, PSNR_TOLERANCE = math.log2(1.02), 0.05  # 2 %, dB: nearer than that, no other pass is made
PASSES = 4


@dataclass(frozen=True)
class Goal:
    """A rate in bits a second, or a mean RGB PSNR in dB."""

    bitrate: int | None = None
    psnr: float | None = None

    @classmethod
    def of_settings(cls, settings: EncodeSettings) -> "Goal | None":
        """What the quality is searched for, if it is not given."""
        wanted = settings.bitrate is not None or settings.target_psnr is not None
        return cls(settings.bitrate, settings.target_psnr) if wanted else None

    @property
    def value(self) -> float:
        """What `of` should return: log2 of the bits a second that are wanted, or the PSNR in dB."""
        return math.log2(self.bitrate) if self.bitrate else float(self.psnr or 0)

    @property
    def tolerance(self) -> float:
        """How far an encode may be from `value`, in its unit: 2 % of the rate as log2, or 0.05 dB."""
        return RATE_TOLERANCE if self.bitrate else PSNR_TOLERANCE

    def of(self, summary: Summary) -> float:
        """Where an encode stands: log2 of its bits a second, or its mean RGB PSNR in dB."""
        return math.log2(1000 * summary.kbits_per_second) if self.bitrate else summary.mean("psnr_rgb")


def meet(goal: Goal, alone: Callable[[float], Summary], whole: Callable[[float], Summary]) -> Summary:
    """Whole encodes until one meets the goal or few passes are spent; what the last one gave."""
    curve = [(finer, goal.of(alone(finer))) for finer in PROBES]
    tried: list[tuple[float, float]] = []
    last: Summary | None = None
    for _ in range(PASSES):
        finer = _solve(curve, goal.value)
        if last is not None and any(abs(finer - other) < 0.02 for other, _ in tried):
            break
        last = whole(finer)
        tried.append((finer, goal.of(last)))
        if abs(tried[-1][1] - goal.value) <= goal.tolerance:
            break
        shift = tried[-1][1] - _at(curve, finer)
        curve = tried if len(tried) > 1 else [(place, value + shift) for place, value in curve]
    assert last is not None
    return last


def _solve(curve: list[tuple[float, float]], value: float) -> float:
    """Where a curve, continued in straight lines, has a value; within REACH."""
    grid = np.linspace(-REACH, REACH, 1601)
    values = np.array([_at(curve, float(x)) for x in grid])
    return float(grid[int(np.argmin(np.abs(values - value)))])


def _at(curve: list[tuple[float, float]], finer: float) -> float:
    """A curve's value at a place, straight between and beyond its points."""
    points = sorted(curve)
    pairs = list(pairwise(points))
    (x0, y0), (x1, y1) = next((pair for pair in pairs if finer <= pair[1][0]), pairs[-1])
    return y0 + (y1 - y0) * (finer - x0) / (x1 - x0)
