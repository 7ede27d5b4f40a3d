# SPDX-License-Identifier: MIT
"""Decoded anchors beside their source: how good they are, how noisy, and whether they are better shown filtered."""

from dataclasses import replace
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from ..bframe.predictor import Predictor
from ..bitstream.syntax import FULL_STRENGTH
from ..bitstream.units import Unit
from ..decoder.reconstruct import changes_of, postfiltered, unfiltered
from ..gop.periods import SourceSegment
from ..video.colour import Planes
from ..video.metrics import Quality, compare, psnr, rgb_of, structural_weight
from ..video.picture import Colour, Yuv420
from .coded_anchors import CodedAnchors


class DistortionMeter:
    """Compares pictures with their source by a measure; anchors are filtered, if at all, by `postfilter`."""

    def __init__(self, colour: Colour, measure: str, postfilter: Predictor | None) -> None:
        self.colour, self.measure, self.postfilter = colour, measure, postfilter

    def quality(self, source: Yuv420, shown: Yuv420) -> Quality:
        """What is optimised, and PSNR; MS-SSIM, which takes longer, only if it is the one."""
        return compare(source, shown, self.colour, with_ms_ssim=self.measure == "ms_ssim")

    def measured(self, source: SourceSegment, unit: Unit, decoded: dict[int, Yuv420]) -> CodedAnchors:
        """The anchors of a unit as they were decoded, by POC; the unit then says how noisy they are."""
        qualities = {poc: self.quality(source.at(poc).picture, picture) for poc, picture in decoded.items()}
        return CodedAnchors(
            source=source,
            unit=replace(unit, anchor_quality_qdb=_quality_qdb(qualities)),
            anchors=unfiltered(decoded),
            qualities=qualities,
            decoded_qualities=qualities,
        )

    def filtered(self, coded: CodedAnchors) -> CodedAnchors:
        """The anchors post-filtered with the best strengths, if a filter is given and quality rises in the mean.

        Otherwise, and if they are filtered already, the anchors as they are.
        """
        if self.postfilter is None or coded.unit.strengths:
            return coded
        decoded = {poc: anchor.decoded for poc, anchor in coded.anchors.items()}
        changes = changes_of(self.postfilter, decoded, coded.unit.anchor_quality_qdb)
        weights = {poc: self._weight(coded.source.at(poc).picture) for poc in decoded}
        strengths = tuple(_strength(coded.source, decoded, changes, weights, plane) for plane in range(3))
        if not any(strengths):
            return coded
        anchors = postfiltered(self.postfilter, decoded, changes, strengths)
        qualities = {poc: self.quality(coded.source.at(poc).picture, anchor.shown) for poc, anchor in anchors.items()}
        unit = replace(coded.unit, strengths=strengths)
        return max(coded, replace(coded, unit=unit, anchors=anchors, qualities=qualities), key=self._mean)

    def _weight(self, picture: Yuv420) -> Tensor:
        """(1,1,H,W) or (1,1,1,1): what squared errors weigh at each pixel."""
        if self.measure != "ms_ssim":
            return torch.ones(1, 1, 1, 1)
        return structural_weight(rgb_of(picture, self.colour)).square()

    def _mean(self, coded: CodedAnchors) -> float:
        values: list[float] = [getattr(quality, self.measure) for quality in coded.qualities.values()]
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


def _quality_qdb(qualities: dict[int, Quality]) -> int:
    """The RGB PSNR of pictures together in quarter dB, 1 to 255: what the networks are told about them."""
    error = fmean(10 ** (-quality.psnr_rgb / 10) for quality in qualities.values())
    return max(1, min(255, round(4 * psnr(error))))
