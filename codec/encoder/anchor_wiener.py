# SPDX-License-Identifier: MIT
"""Wiener filters of a segment's anchors: what the post-filter leaves wrong alike in all of its pictures."""

from collections.abc import Iterable

import numpy as np

from ..bframe.wiener_filter import Fit, fits_of
from ..bitstream.syntax import LARGEST_TAP, TAPS
from ..video.colour import Planes, in_levels, plane_weights
from ..video.picture import Colour
from .coded_anchors import CodedAnchors

WORTH = 1.0  # a percent of the error is worth so many percent of the bits, about, at the usual slopes of encoders


def wiener_weights(
    coded: CodedAnchors, planes: Iterable[tuple[int, Planes]], colour: Colour, *, luma: bool
) -> tuple[int, ...]:
    """Weights for Y, U and V, in steps, of the filters that are worth their bytes; () if none is.

    `planes` are those of each anchor with its POC, filtered and not yet rounded. Without `luma`, Y has no filter.
    """
    fits, errors = _fitted(coded, planes)
    scale = plane_weights(colour)
    total = sum(weight * error for weight, error in zip(scale, errors, strict=True))
    found: list[int] = []
    for plane, fit in enumerate(fits):
        weights = np.clip(np.round(fit.best()), -LARGEST_TAP, LARGEST_TAP)
        saved = -scale[plane] * float(fit.change(weights))
        worthwhile = WORTH * saved * coded.bits > total * 8 * TAPS and (luma or plane > 0)
        found += [int(weight) for weight in weights] if worthwhile else [0] * TAPS
    return tuple(found) if any(found) else ()


def _fitted(coded: CodedAnchors, planes: Iterable[tuple[int, Planes]]) -> tuple[list[Fit], list[float]]:
    """How filters change the squared error of each plane, over all anchors, and that error as it is."""
    nothing = Fit(np.zeros((TAPS, TAPS)), np.zeros(TAPS))
    fits, errors = [nothing] * 3, [0.0] * 3
    for poc, shown in planes:
        source = in_levels(coded.source.at(poc).picture, shown[0].device)
        for plane, (own, target) in enumerate(zip(shown, source, strict=True)):
            fits[plane] += fits_of(own, target)[0]
            errors[plane] += float((target - own).square().sum())
    return fits, errors
