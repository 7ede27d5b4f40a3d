# SPDX-License-Identifier: MIT
"""Wiener filters of a segment's anchors: what the post-filter leaves wrong alike in all of its pictures."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..bframe.wiener_filter import Fit, fits_of
from ..bitstream.syntax import LARGEST_WEIGHT, PAIRS
from ..video.colour import Planes, in_levels, plane_weights
from ..video.picture import Colour
from .anchor_strengths import WORTH
from .coded_anchors import CodedAnchors


def wiener_weights(
    coded: CodedAnchors, planes: Iterable[tuple[int, Planes]], colour: Colour, *, luma: bool
) -> tuple[int, ...]:
    """Weights for Y, U and V, in steps, of the filters that are worth their bytes; () if none is.

    `planes` are those of each anchor with its POC, filtered and not yet rounded. Without `luma`, Y has no filter.
    """
    scale = plane_weights(colour)
    fits, total = _fitted(coded, planes, scale, range(0 if luma else 1, 3))
    found = np.zeros((3, len(PAIRS)), dtype=int)
    for plane, fit in fits.items():
        weights = fit.whole(LARGEST_WEIGHT)
        saved = -scale[plane] * float(fit.change(weights))
        if WORTH * saved * coded.bits > total * 8 * len(PAIRS):
            found[plane] = weights
    return tuple(found.flatten().tolist()) if found.any() else ()


def _fitted(
    coded: CodedAnchors, planes: Iterable[tuple[int, Planes]], scale: Sequence[float], wanted: Iterable[int]
) -> tuple[dict[int, Fit], int]:
    """How filters change the squared error of each plane that is wanted; and how many anchors have any error.

    Of each anchor they count in parts of its error in all planes, as in `anchor_strengths`.
    """
    nothing = Fit(np.zeros((len(PAIRS),) * 2), np.zeros(len(PAIRS)))
    fits, anchors = dict.fromkeys(wanted, nothing), 0
    for poc, shown in planes:
        source = in_levels(coded.source.at(poc).picture, shown[0].device)
        errors = (float((target - own).square().sum()) for own, target in zip(shown, source, strict=True))
        if total := sum(weight * error for weight, error in zip(scale, errors, strict=True)):
            anchors += 1
            for plane in fits:
                fits[plane] += fits_of(shown[plane], source[plane])[0] * (1 / total)
    return fits, anchors
