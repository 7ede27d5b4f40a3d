# SPDX-License-Identifier: MIT
"""The Lagrangian J = R + lambda * D by which all ways to code the same pictures are compared.

Lambda is measured on the video itself. The anchor encoder codes a period alone at the wanted quality and at a coarser
one, and so pays so many bits for a unit of quality. Whatever buys quality for less is taken, and so is whatever saves
bits at a better rate. Moving along the encoder's own curve is then neither gain nor loss, so what decisions add
up to is a gain in BD-rate against that encoder.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

from ...video.metrics import Quality
from ..coded_anchors import CodedAnchors, mean_quality

NEPERS = math.log(10) / 10  # in a dB of mean squared error
DEEP = 6.0  # dB below the video a picture may be for a dB to count as any other; further down squared errors count
TRUST = 8.0  # a measured rate further than this factor from the table's is an accident (nothing moves, say)


@dataclass(frozen=True)
class Lagrangian:
    """Lambda: `bits` a frame for a unit of `measure`, and for a dB of RGB PSNR, around the video's own PSNR in dB."""

    measure: str
    bits: float
    bits_per_db: float
    video_psnr: float

    def distortion(self, quality: Quality) -> float:
        """Lambda * D of a frame, in bits: less the better it is; only differences mean anything.

        In decibels a lost picture, a flash say, would be cheap: the mean over frames hardly feels it.
        """
        value = float(getattr(quality, self.measure))
        lacking = self.video_psnr - DEEP - value
        if self.measure == "psnr_rgb" and lacking > 0:
            value -= (math.exp(NEPERS * lacking) - 1) / NEPERS - lacking
        return -self.bits * value

    def costs(self, coded: CodedAnchors) -> dict[int, float]:
        """J of each anchor, in bits, by POC."""
        return {poc: 8 * size + self.distortion(coded.qualities[poc]) for poc, size in coded.unit.sizes.items()}

    def filter_gain(self, coded: CodedAnchors) -> float:
        """Bits that filtering the anchors saves a picture, on average; 0 where they are shown as decoded."""
        return fmean(
            self.distortion(coded.decoded_qualities[poc]) - self.distortion(quality)
            for poc, quality in coded.qualities.items()
        )

    def expected_cost(self, coded: CodedAnchors) -> float:
        """J up to the last anchor, in bits, if B-frames took no bits and were as good as the anchors around them.

        Nothing is filtered here: that would better all ways to code the same alike.
        """
        distortions = [self.distortion(quality) for _, quality in sorted(coded.decoded_qualities.items())]
        gaps = coded.source.segment.gaps
        between = sum(
            (gap - 1) * (low + high) / 2 for gap, (low, high) in zip(gaps, pairwise(distortions), strict=True)
        )
        return coded.bits + sum(distortions) + between

    def coarser(self, octaves: float) -> "Lagrangian":
        """Where a bit buys so many octaves more quality."""
        return replace(self, bits=self.bits * 2**-octaves, bits_per_db=self.bits_per_db * 2**-octaves)

    def slope(self, psnr: float, pixels: int) -> float:
        """-dR/dD at this PSNR, in bits a pixel for a unit of MSE."""
        return self.bits_per_db / (NEPERS * pixels * 10 ** (-psnr / 10))


def lagrangian_of(own: CodedAnchors, coarser: CodedAnchors, measure: str, *, slope: float, pixels: int) -> Lagrangian:
    """Lambda at a point of an encoder's curve, by one below; `slope`, its table's, where they tell nothing."""
    psnr = mean_quality(own.qualities, "psnr_rgb")
    expected = slope * NEPERS * pixels * 10 ** (-psnr / 10)
    per_db = _bits_a_unit(own, coarser, psnr - mean_quality(coarser.qualities, "psnr_rgb"))
    if not expected / TRUST < per_db < expected * TRUST:
        per_db = expected
    bits = per_db
    if measure != "psnr_rgb":  # a similarity: its distance from 1 falls as the squared error does
        lost, more = (max(1 - mean_quality(coded.qualities, measure), 1e-4) for coded in (own, coarser))
        bits = _bits_a_unit(own, coarser, math.log(more / lost)) / lost
        if not 0 < bits < math.inf:
            bits = per_db / (NEPERS * lost)
    return Lagrangian(measure, bits, per_db, psnr)


def _bits_a_unit(own: CodedAnchors, coarser: CodedAnchors, rise: float) -> float:
    """Bits a frame for a unit more, at a point that is `rise` units above another; infinite if it is not above it.

    Along an encoder's curve, bits grow exponentially with decibels.
    """
    return own.bits / len(own.qualities) * math.log(own.bits / coarser.bits) / rise if rise > 0 else math.inf
