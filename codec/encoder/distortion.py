# SPDX-License-Identifier: MIT
"""Decoded anchors beside their source: how good they are, how noisy, and whether they are better shown filtered."""

from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..bframe.predictor import Predictor
from ..bframe.records import Anchor
from ..bitstream.syntax import FULL_STRENGTH
from ..bitstream.units import Unit
from ..decoder.reconstruct import changes_of, postfiltered, unfiltered
from ..gop.periods import SourceSegment
from ..video.colour import Planes
from ..video.metrics import Quality, compare, psnr, rgb_of, structural_weight
from ..video.picture import Colour, Yuv420


class Assessed(NamedTuple):
    """A unit that says what decoders have to know of its anchors; these, and how good they are, by POC."""

    unit: Unit
    anchors: dict[int, Anchor]
    qualities: dict[int, Quality]


class DistortionMeter:
    """Compares anchors with their source by a measure; they are filtered, if by anything, by what predicts B-frames."""

    def __init__(self, colour: Colour, measure: str, postfilter: Predictor | None) -> None:
        self.colour, self.measure, self.postfilter = colour, measure, postfilter

    def __call__(self, source: SourceSegment, unit: Unit, decoded: dict[int, Yuv420]) -> Assessed:
        """The unit with its noise level, and its anchors as they were decoded."""
        plain = self._assessed(source, unit, unfiltered(decoded))
        return plain._replace(unit=replace(unit, noise=_noise_of(plain.qualities)))

    def filtered(self, source: SourceSegment, plain: Assessed) -> Assessed:
        """The same with its anchors filtered, if they may be and are better so in the mean."""
        if self.postfilter is None or plain.unit.strengths:
            return plain
        decoded = {poc: anchor.decoded for poc, anchor in plain.anchors.items()}
        changes = changes_of(self.postfilter, decoded, plain.unit.noise)
        weights = {poc: self._weight(source.at(poc).picture) for poc in decoded}
        strengths = tuple(_strength(source, decoded, changes, weights, plane) for plane in range(3))
        if not any(strengths):
            return plain
        anchors = postfiltered(self.postfilter, decoded, changes, strengths)
        better = self._assessed(source, replace(plain.unit, strengths=strengths), anchors)
        return max(plain, better, key=self._mean)

    def quality(self, source: Yuv420, shown: Yuv420) -> Quality:
        """What is optimised, and PSNR; MS-SSIM, which takes longer, only if it is the one."""
        return compare(source, shown, self.colour, with_ms_ssim=self.measure == "ms_ssim")

    def _assessed(self, source: SourceSegment, unit: Unit, anchors: dict[int, Anchor]) -> Assessed:
        qualities = {poc: self.quality(source.at(poc).picture, anchor.shown) for poc, anchor in anchors.items()}
        return Assessed(unit, anchors, qualities)

    def _weight(self, picture: Yuv420) -> Tensor:
        """(1,1,H,W) or (1,1,1,1): what squared errors weigh at each pixel."""
        if self.measure != "ms_ssim":
            return torch.ones(1, 1, 1, 1)
        return structural_weight(rgb_of(picture, self.colour)).square()

    def _mean(self, assessed: Assessed) -> float:
        values: list[float] = [getattr(quality, self.measure) for quality in assessed.qualities.values()]
        return fmean(values)


def _strength(
    source: SourceSegment,
    decoded: dict[int, Yuv420],
    changes: dict[int, Planes],
    weights: dict[int, Tensor],
    plane: int,
) -> int:
    """How much of the changes leaves the least squared error of a plane, weighed, over all anchors, in eighths."""
    wanted = size = 0.0
    for poc, planes in changes.items():
        change = planes[plane][0, 0].double().cpu().numpy()
        weight = F.interpolate(weights[poc], change.shape, mode="area")[0, 0].numpy()
        error = source.at(poc).picture.planes[plane].astype(float) - decoded[poc].planes[plane]
        wanted += float((weight * change * error).sum())
        size += float((weight * change * change).sum())
    best = wanted / size if size else 0.0
    return max(0, min(2 * FULL_STRENGTH, round(FULL_STRENGTH * best)))


def _noise_of(qualities: dict[int, Quality]) -> int:
    """The RGB PSNR of pictures together in quarter dB, 1 to 255: what the networks are told about them."""
    error = fmean(10 ** (-quality.psnr_rgb / 10) for quality in qualities.values())
    return max(1, min(255, round(4 * psnr(error))))
