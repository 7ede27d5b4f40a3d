# SPDX-License-Identifier: MIT
"""A filter for each plane, sent with a picture or a segment: what networks trained for many pictures leave wrong here.

The writer solves for the symmetric filter that leaves the least error, and sends what pays of it (`wiener_choice`).
Source: the adaptive loop filter of VVC (ITU-T H.266, 8.8.5), with one filter a plane and a diamond of 13 taps.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..bitstream.syntax import PAIRS
from ..video.colour import Planes

RADIUS = 2
STEPS = 64  # of a weight in one

Vector = NDArray[np.float64]


def differences(plane: Tensor) -> Tensor:
    """(B,6,h,w): what the sum of both samples of each pair is above twice the sample of a plane (B,1,h,w) between."""
    height, width = plane.shape[2:]
    padded = F.pad(plane, (RADIUS,) * 4, mode="replicate")

    def moved(down: int, right: int) -> Tensor:
        return padded[..., RADIUS + down : RADIUS + down + height, RADIUS + right : RADIUS + right + width]

    return torch.cat([moved(y, x) + moved(-y, -x) - 2 * plane for y, x in PAIRS], 1)


def filtered(planes: Planes, weights: Tensor) -> Planes:
    """The planes of pictures, each with its weights of (B,3,6), in steps: means stay what they are."""
    y, u, v = (
        plane + (differences(plane) * (own / STEPS)[..., None, None]).sum(1, keepdim=True) if own.any() else plane
        for plane, own in zip(planes, weights.to(planes[0]).unbind(1), strict=True)
    )
    return y, u, v


@dataclass
class Fit:
    """The squared error of a plane against the source as its filter changes it: a quadratic form of the weights."""

    gram: Vector
    cross: Vector

    def __add__(self, other: "Fit") -> "Fit":
        """The same of two planes together."""
        return Fit(self.gram + other.gram, self.cross + other.cross)

    def __mul__(self, factor: float) -> "Fit":
        """The same of errors that count so many times as much."""
        return Fit(self.gram * factor, self.cross * factor)

    def change(self, weights: Vector) -> Vector:
        """What weights (...,6) add to the sum of squared errors (...), in levels."""
        added: Vector = ((weights @ self.gram) * weights).sum(-1) - 2 * weights @ self.cross
        return added

    def best(self) -> Vector:
        """The weights that leave the least error; of those of flat planes, the smallest."""
        return np.linalg.lstsq(self.gram, self.cross, rcond=1e-6)[0]

    def whole(self, most: int) -> Vector:
        """Whole weights up to `most` that leave nearly the least error: each is rounded, and the rest found anew.

        Pairs of samples near each other say much the same. Rounded all at once, their weights may lose most of the
        gain; one after another, each makes good what the last rounding did.
        """
        weights = np.zeros(len(self.cross))
        for last in reversed(range(len(weights))):
            own = slice(last + 1)
            left = Fit(self.gram[own, own], (self.cross - self.gram @ weights)[own])
            weights[last] = np.clip(np.round(left.best()[last]), -most, most)
        return weights


def fits_of(plane: Tensor, target: Tensor) -> list[Fit]:
    """How filters change the error of each picture's plane (B,1,h,w) against its source."""
    known = differences(plane).flatten(2).double() / STEPS
    gram, cross = known @ known.mT, known @ (target - plane).flatten(2).double().mT
    return [Fit(*pair) for pair in zip(gram.cpu().numpy(), cross[..., 0].cpu().numpy(), strict=True)]
