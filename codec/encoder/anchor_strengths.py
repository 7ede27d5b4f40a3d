# SPDX-License-Identifier: MIT
"""How much of a filter's change and corrections the anchors of a segment are shown with: least squares, plane by plane.

With m a plane's change and its corrections, e what its anchors lack, and all their pixels together, the weights w that
leave the least of |e - m w|^2 solve (m'm) w = m'e. Corrections go into the stream where what they take out of the error
is worth more than their bytes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..bframe.anchor_filter import Change, correction_step
from ..bframe.neighbour_filter import EVEN
from ..bitstream.syntax import FULL_STRENGTH, LARGEST_CORRECTION
from ..video.colour import in_levels, plane_weights
from ..video.picture import Colour
from .coded_anchors import CodedAnchors

WORTH = 1.0  # a percent of the error is worth so many percent of the bits, about, at the usual slopes of encoders
BYTES = 1.0  # of a correction, in the stream

Vector = NDArray[np.float64]


class Strengths(NamedTuple):
    """Eighths of the change to each plane, and of the corrections of Y, then of U and V; () if none is worth it."""

    change: tuple[int, ...]
    corrections: tuple[int, ...]


class _Fit(NamedTuple):
    """The squared error of a plane of all anchors, `power` at first, as a quadratic form of weights."""

    gram: Vector
    cross: Vector
    power: float

    def error(self, weights: Vector) -> float:
        """What is left of the squared error."""
        return float(self.power + weights @ self.gram @ weights - 2 * weights @ self.cross)

    def strength(self) -> Vector:
        """The weight of the change alone that leaves least, in eighths; that of corrections is 0."""
        best = self.cross[0] / self.gram[0, 0] if self.gram[0, 0] > 0 else 0.0
        found = np.zeros(len(self.cross))
        found[0] = np.clip(np.round(FULL_STRENGTH * best), 0, 2 * FULL_STRENGTH) / FULL_STRENGTH
        return found

    def weights(self) -> Vector:
        """The weights of the change and the corrections that leave least, in eighths."""
        even = self.gram + np.diag(EVEN * self.gram.diagonal() + np.finfo(float).tiny)
        found = np.linalg.lstsq(even, self.cross, rcond=1e-12)[0]
        limits = np.array([2 * FULL_STRENGTH] + [LARGEST_CORRECTION] * (len(found) - 1))
        rounded = np.clip(np.round(FULL_STRENGTH * found), -limits, limits) / FULL_STRENGTH
        rounded[0] = max(0.0, rounded[0])
        return np.asarray(rounded)


def best_strengths(
    coded: CodedAnchors,
    changes: Mapping[int, Change],
    importance: Mapping[int, Tensor],
    colour: Colour,
    *,
    luma: bool,
) -> Strengths:
    """What leaves the least squared error of all planes, corrections only where they are worth their bytes.

    `changes` are by POC. `importance` (1,1,H,W) or (1,1,1,1) is what squared errors weigh at each pixel of luma.
    Without `luma`, Y is not corrected.
    """
    scale = plane_weights(colour)
    fits = [_fitted(coded, changes, importance, plane) for plane in range(3)]
    plain = [fit.strength() for fit in fits]
    total = sum(weight * fit.error(alone) for weight, fit, alone in zip(scale, fits, plain, strict=True))
    chosen = []
    for plane, (weight, fit, alone) in enumerate(zip(scale, fits, plain, strict=True)):
        best = fit.weights() if luma or plane else alone
        saved = weight * (fit.error(alone) - fit.error(best))
        cost = 8 * BYTES * (len(best) - 1)
        chosen.append(best if WORTH * saved * coded.bits > total * cost else alone)
    whole = [np.round(FULL_STRENGTH * each).astype(int).tolist() for each in chosen]
    corrections = tuple(weight for each in whole for weight in each[1:])
    return Strengths(tuple(each[0] for each in whole), corrections if any(corrections) else ())


def _fitted(coded: CodedAnchors, changes: Mapping[int, Change], importance: Mapping[int, Tensor], plane: int) -> _Fit:
    """How a plane's weights change its squared error in all anchors."""
    fits = []
    for poc, change in changes.items():
        source, decoded = coded.source.at(poc).picture, coded.decoded[poc]
        maps = _maps(change, plane, source.bit_depth)
        error = (in_levels(source, maps.device)[plane] - in_levels(decoded, maps.device)[plane])[0]
        weight = F.interpolate(importance[poc], maps.shape[1:], mode="area")[0].to(maps).sqrt()
        flat, lacking = (maps * weight).flatten(1), (error * weight).flatten()
        fits.append(_Fit((flat @ flat.T).cpu().numpy(), (flat @ lacking).cpu().numpy(), float(lacking @ lacking)))
    gram, cross, power = (sum(parts) for parts in zip(*fits, strict=True))
    return _Fit(gram, cross, power)


def _maps(change: Change, plane: int, bit_depth: int) -> Tensor:
    """(1+n,h,w) in levels: a plane's change, and its corrections."""
    step = correction_step(bit_depth)
    return torch.cat([change.planes[plane].double(), change.corrections[plane].double() * step], 1)[0]
