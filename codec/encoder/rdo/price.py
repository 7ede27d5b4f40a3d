# SPDX-License-Identifier: MIT
"""What quality is worth, measured on the video itself: the exchange rate of every decision between two ways to code.

The anchor encoder codes a period alone at two qualities around the wanted one. Between them it pays so many bits for a
unit of quality; whatever buys quality for less is worth taking, whatever saves bits at a better rate as well. Taking
the rate from the encoder's own curve means that moving along this curve is neither gain nor loss, so that what
decisions add up to is a gain in BD-rate against that encoder.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...video.metrics import Quality

NEPERS = math.log(10) / 10  # of mean squared error in a dB
DEEP = 6.0  # dB below the video a picture may be for a dB to count as any other; further down squared errors count
TRUST = 8.0  # a measured rate further than this factor from the table's is an accident (nothing moves, say)


@dataclass(frozen=True)
class Point:
    """One way to code some frames: bits in all, and the quality of each."""

    bits: float
    qualities: Sequence[Quality]

    def total(self, measure: str) -> float:
        """The sum over frames of one measure."""
        return math.fsum(getattr(quality, measure) for quality in self.qualities)


@dataclass(frozen=True)
class Lagrangian:
    """Bits a frame for a unit of `measure`, and for a dB of RGB PSNR, around the video's `level` in dB."""

    measure: str
    bits: float
    bits_per_db: float
    level: float

    def of(self, quality: Quality) -> float:
        """What a frame's quality costs, in bits: less the better it is; only differences mean anything.

        In decibels a lost picture, a flash say, would be cheap: the mean over frames hardly feels it.
        """
        value = float(getattr(quality, self.measure))
        lacking = self.level - DEEP - value
        if self.measure == "psnr_rgb" and lacking > 0:
            value -= (math.exp(NEPERS * lacking) - 1) / NEPERS - lacking
        return -self.bits * value

    def coarser(self, octaves: float) -> "Lagrangian":
        """Where quality is worth less by so many halvings."""
        return replace(self, bits=self.bits * 2**-octaves, bits_per_db=self.bits_per_db * 2**-octaves)

    def slope(self, psnr: float, pixels: int) -> float:
        """-dR/dD at this PSNR, in bits a pixel for a unit of MSE."""
        return self.bits_per_db / (NEPERS * pixels * 10 ** (-psnr / 10))


def lagrangian_between(coarse: Point, fine: Point, measure: str, *, slope: float, pixels: int) -> Lagrangian:
    """The price between two points of an encoder's curve; `slope`, its table's, stands in where they tell nothing."""
    psnr = (coarse.total("psnr_rgb") + fine.total("psnr_rgb")) / (2 * len(fine.qualities))
    expected = slope * NEPERS * pixels * 10 ** (-psnr / 10)
    per_db = _ratio(coarse, fine, "psnr_rgb")
    if not expected / TRUST < per_db < expected * TRUST:
        per_db = expected
    bits = per_db if measure == "psnr_rgb" else _ratio(coarse, fine, measure)
    if not 0 < bits < math.inf:  # as if MS-SSIM's distance from 1 fell with the squared error
        bits = per_db / (NEPERS * max(1 - fine.total(measure) / len(fine.qualities), 1e-4))
    return Lagrangian(measure, bits, per_db, psnr)


def _ratio(coarse: Point, fine: Point, measure: str) -> float:
    """Bits for a unit of a measure between two points; infinite if it does not rise."""
    gain = fine.total(measure) - coarse.total(measure)
    return (fine.bits - coarse.bits) / gain if gain > 0 else math.inf
