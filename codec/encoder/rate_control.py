# SPDX-License-Identifier: MIT
"""Find the quality that meets a bit rate, PSNR, XPSNR or VMAF: cheap passes of the encoder alone, then whole ones.

The control is `finer`, octaves of the anchors' slope, which every anchor codec maps to its own scale. What is wanted
(the logarithm of the rate, or a measure) rises with it almost in a straight line, and for the whole codec nearly in
parallel to the encoder alone; so one pass usually finds the place, and a second one meets it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..arguments import flag_of
from ..errors import InputError
from ..notes import tell
from .report import Summary
from .settings import BITRATE, TARGETS, EncodeSettings

PROBES = (-2.0, 0.0, 2.0)  # octaves around the default quality
OCTAVES = 12.0  # octaves either way that are looked at: beyond both ends of every encoder's scale
RATE_TOLERANCE, RATE_FAR = math.log2(1.02), math.log2(1.1)  # 2 % and 10 %
TOLERANCE = {"target_psnr": 0.05, "target_xpsnr": 0.05, "target_vmaf": 0.3}  # nearer than that, no other pass is made
FAR = 10  # times as far off, and the goal is not met
PASSES = 4  # over the video by the whole codec, at most
STEP = 0.01  # octaves: how finely a place is sought
SAME = 0.02  # octaves: a place so near to one that was tried would give the same once more


@dataclass(frozen=True)
class Goal:
    """What an encode should reach: the option that asks for it, and its value, a rate or a mean of the measure."""

    option: str
    wanted: float

    @classmethod
    def of_settings(cls, settings: EncodeSettings) -> "Goal | None":
        """What the quality is searched for, if it is not given."""
        asked = [(name, getattr(settings, name)) for name in (BITRATE, *TARGETS)]
        return next((cls(name, wanted) for name, wanted in asked if wanted is not None), None)

    @property
    def flag(self) -> str:
        """The option as it is given in the shell."""
        return flag_of(self.option)

    @property
    def value(self) -> float:
        """What `of` should return: log2 of the bits a second that are wanted, or the measure."""
        return math.log2(self.wanted) if self.option == BITRATE else self.wanted

    @property
    def tolerance(self) -> float:
        """How far an encode may be from `value`, in its unit: 2 % of the rate as log2, 0.05 dB, or 0.3 of VMAF."""
        return RATE_TOLERANCE if self.option == BITRATE else TOLERANCE[self.option]

    def missed(self, summary: Summary) -> str:
        """What is to be said if an encode is far from what was wanted; "" if it is not."""
        far = RATE_FAR if self.option == BITRATE else FAR * self.tolerance
        if abs(self.of(summary) - self.value) <= far:
            return ""
        if self.option == BITRATE:
            return f"not met; the nearest that was found is {summary.kbits_per_second:.1f} kbit/s"
        return f"not met; the nearest that was found is {self.of(summary):.2f}{TARGETS[self.option].unit}"

    def of(self, summary: Summary) -> float:
        """Where an encode stands: log2 of its bits a second, or the mean of the measure over its frames."""
        if self.option == BITRATE:
            return math.log2(1000 * summary.kbits_per_second)
        return summary.mean(TARGETS[self.option].measure)


def meet(goal: Goal, alone: Callable[[float], Summary], whole: Callable[[float], Summary]) -> Summary:
    """Whole encodes until one meets the goal or few passes are spent; what the last one gave.

    InputError if the pictures are too small for the measure.
    """
    curve = [(finer, goal.of(alone(finer))) for finer in PROBES]
    if any(math.isnan(value) for _, value in curve):
        raise InputError(f"{goal.flag}: so small pictures cannot be measured; take --target-psnr")
    finer = _solve(curve, goal.value)
    last = whole(finer)
    tried = [(finer, goal.of(last))]
    while len(tried) < PASSES and abs(tried[-1][1] - goal.value) > goal.tolerance:
        shift = tried[-1][1] - _at(curve, finer)
        curve = tried if len(tried) > 1 else [(place, value + shift) for place, value in curve]
        finer = _solve(curve, goal.value)
        if any(abs(finer - other) < SAME for other, _ in tried):
            break
        last = whole(finer)
        tried.append((finer, goal.of(last)))
    if missed := goal.missed(last):
        tell(goal.flag, [missed])
    return last


def _solve(curve: list[tuple[float, float]], value: float) -> float:
    """Where a curve, continued in straight lines, has a value; within OCTAVES."""
    grid = np.linspace(-OCTAVES, OCTAVES, round(2 * OCTAVES / STEP) + 1)
    values = np.array([_at(curve, float(x)) for x in grid])
    return float(grid[int(np.argmin(np.abs(values - value)))])


def _at(curve: list[tuple[float, float]], finer: float) -> float:
    """A curve's value at a place, straight between and beyond its points."""
    points = sorted(curve)
    pairs = list(pairwise(points))
    (x0, y0), (x1, y1) = next((pair for pair in pairs if finer <= pair[1][0]), pairs[-1])
    return y0 + (y1 - y0) * (finer - x0) / (x1 - x0)
