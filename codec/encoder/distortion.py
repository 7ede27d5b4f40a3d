# SPDX-License-Identifier: MIT
"""Decoded anchors beside their source: how good they are, how noisy, and whether they are better shown filtered."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from ..bframe.anchor_filter import AnchorFilter, Change
from ..bframe.records import Anchor
from ..bframe.tasks import change_tasks
from ..bitstream.syntax import Sight
from ..bitstream.units import Unit
from ..decoder.reconstruct import begin_filters, noise_level, unfiltered
from ..gop.periods import SourceSegment
from ..parallel.executor import Executor, handed_out
from ..video.colour import Planes
from ..video.metrics import Quality, compare, psnr, rgb_of, structural_weight
from ..video.picture import Colour, Yuv420
from .anchor_strengths import best_strengths
from .anchor_wiener import wiener_weights
from .coded_anchors import CodedAnchors, mean_quality


class DistortionMeter:
    """Compares pictures with their source by a measure; anchors are filtered, if at all, by `postfilter`.

    The work of that is handed to an executor whose predictor has the same filter. Where the anchors' codec has
    `restored` luma by Wiener filters of its own, chroma alone gets others, and corrections.
    """

    def __init__(
        self,
        colour: Colour,
        measure: str,
        postfilter: AnchorFilter | None,
        executor: Executor,
        *,
        restored: bool = False,
    ) -> None:
        self.colour, self.measure, self.postfilter, self.executor = colour, measure, postfilter, executor
        self.restored = restored

    def quality(self, source: Yuv420, shown: Yuv420) -> Quality:
        """What is optimised, and PSNR."""
        return quality_of(source, shown, self.colour, self.measure)

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

        It is measured what the filter had best see. Only where pictures lie between anchors are neighbours no help at
        times. Anchors come back as they are if quality does not rise, or if they are filtered already.
        """
        if self.postfilter is None or coded.unit.strengths:
            return coded
        spaced = any(gap > 1 for gap in coded.unit.segment.gaps)
        sights = self.postfilter.sights
        sights = sights if spaced else sights[1:] or sights
        noise = noise_level(coded.unit.anchor_quality_qdb)
        begun = handed_out(self.executor, change_tasks(self.postfilter, coded.decoded, noise, sights))
        changes = {poc: pending.result() for poc, pending in begun.items()}
        filtered = [
            self._filtered(coded, self.postfilter, {poc: each[place] for poc, each in changes.items()}, sight)
            for place, sight in reversed(list(enumerate(sights)))
        ]
        return max([coded, *filtered], key=self._mean)

    def _filtered(
        self, coded: CodedAnchors, postfilter: AnchorFilter, changes: dict[int, Change], sight: Sight
    ) -> CodedAnchors:
        """The anchors post-filtered by these changes, with the strengths of least error."""
        decoded = coded.decoded
        weights = {poc: self._weight(coded.source.at(poc).picture) for poc in decoded}
        strengths = best_strengths(coded, changes, weights, self.colour, luma=not self.restored)
        if not any(strengths.change) and not strengths.corrections:
            return coded

        def planes() -> Iterator[tuple[int, Planes]]:
            """Made one by one, as those of all anchors at once would take as much memory as the changes."""
            return ((poc, postfilter.added(plain, changes[poc], *strengths)) for poc, plain in decoded.items())

        def shown(wiener: tuple[int, ...]) -> CodedAnchors:
            anchors = {poc: Anchor(decoded[poc], postfilter.shown(added, wiener)) for poc, added in planes()}
            unit = replace(coded.unit, strengths=strengths.change, corrections=strengths.corrections)
            return self._shown(coded, anchors, replace(unit, sight=sight, wiener=wiener))

        wiener = wiener_weights(coded, planes(), self.colour, luma=not self.restored)
        return max((shown(each) for each in dict.fromkeys([(), wiener])), key=self._mean)

    def filtered_again(self, coded: CodedAnchors) -> CodedAnchors:
        """The anchors filtered once more with the strengths they have, after neighbours of some were removed."""
        if self.postfilter is None or not coded.unit.sight:
            return coded
        filtered = begin_filters(self.executor, self.postfilter, coded.decoded, coded.unit).finished()
        return self._shown(coded, filtered, coded.unit)

    def _shown(self, coded: CodedAnchors, anchors: dict[int, Anchor], unit: Unit) -> CodedAnchors:
        """What was coded, shown as these anchors, filtered as the unit says."""
        qualities = {poc: self.quality(coded.source.at(poc).picture, anchor.shown) for poc, anchor in anchors.items()}
        return replace(coded, unit=unit, anchors=anchors, qualities=qualities)

    def _weight(self, picture: Yuv420) -> Tensor:
        """(1,1,H,W) or (1,1,1,1): what squared errors weigh at each pixel."""
        if self.measure != "ms_ssim":
            return torch.ones(1, 1, 1, 1)
        return structural_weight(rgb_of(picture, self.colour)).square()

    def _mean(self, coded: CodedAnchors) -> float:
        return mean_quality(coded.qualities, self.measure)


def quality_of(source: Yuv420, shown: Yuv420, colour: Colour, measure: str) -> Quality:
    """PSNR of a picture as it is shown, and the measure; MS-SSIM, which takes longer, only if it is that."""
    return compare(source, shown, colour, with_ms_ssim=measure == "ms_ssim")


def _quality_qdb(qualities: dict[int, Quality]) -> int:
    """The RGB PSNR of pictures together in quarter dB, 1 to 255: what the networks are told about them."""
    error = fmean(10 ** (-quality.psnr_rgb / 10) for quality in qualities.values())
    return max(1, min(255, round(4 * psnr(error))))
