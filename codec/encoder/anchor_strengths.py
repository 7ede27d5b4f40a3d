# SPDX-License-Identifier: MIT
"""How much of a filter's change and corrections the anchors of a segment are shown with: least squares, plane by plane.

With m a plane's change and its corrections, e what its anchors lack, and all their pixels together, the weights w that
leave the least of |e - m w|^2 solve (m'm) w = m'e. Corrections go into the stream where what they take out of the error
is worth more than their bytes.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..bframe.anchor_filter import Change, correction_step
from ..bframe.neighbour_filter import EVEN
from ..bframe.wiener_filter import Fit, Vector
from ..bitstream.syntax import FULL_STRENGTH, LARGEST_CORRECTION
from ..video.colour import in_levels, plane_weights
from ..video.picture import Colour
from .coded_anchors import CodedAnchors

WORTH = 1.0  # a percent of the error is worth so many percent of the bits, about, at the usual slopes of encoders
BYTES = 1.0  # of a correction, in the stream


class Strengths(NamedTuple):
    """Eighths of the change to each plane, and of the corrections of Y, then of U and V; () if none is worth it."""

    change: tuple[int, ...]
    corrections: tuple[int, ...]


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
    fits, anchors = _fitted(coded, changes, importance, scale)
    if not fits:
        return Strengths((0,) * len(scale), ())
    plain = [_strength(fit) for fit in fits]
    left = anchors + sum(
        weight * float(fit.change(alone)) for weight, fit, alone in zip(scale, fits, plain, strict=True)
    )
    chosen = []
    for plane, (weight, fit, alone) in enumerate(zip(scale, fits, plain, strict=True)):
        corrections = len(alone) - 1
        best = _weights(fit) if corrections and (luma or plane) else alone
        saved = weight * float(fit.change(alone) - fit.change(best))
        chosen.append(best if WORTH * saved * coded.bits > left * 8 * BYTES * corrections else alone)
    whole = [np.round(FULL_STRENGTH * each).astype(int).tolist() for each in chosen]
    rest = tuple(weight for each in whole for weight in each[1:])
    return Strengths(tuple(each[0] for each in whole), rest if any(rest) else ())


def _strength(fit: Fit) -> Vector:
    """The weight of the change alone that leaves least, in eighths; that of corrections is 0."""
    best = fit.cross[0] / fit.gram[0, 0] if fit.gram[0, 0] > 0 else 0.0
    found = np.zeros(len(fit.cross))
    found[0] = np.clip(np.round(FULL_STRENGTH * best), 0, 2 * FULL_STRENGTH) / FULL_STRENGTH
    return found


def _weights(fit: Fit) -> Vector:
    """The weights of the change and the corrections that leave least, in eighths."""
    even = np.diag(EVEN * fit.gram.diagonal() + np.finfo(float).tiny)
    found = np.linalg.lstsq(fit.gram + even, fit.cross, rcond=1e-12)[0]
    most = np.array([2 * FULL_STRENGTH] + [LARGEST_CORRECTION] * (len(found) - 1))
    least = np.array([0] + [-LARGEST_CORRECTION] * (len(found) - 1))
    return np.asarray(np.clip(np.round(FULL_STRENGTH * found), least, most) / FULL_STRENGTH)


def _fitted(
    coded: CodedAnchors, changes: Mapping[int, Change], importance: Mapping[int, Tensor], scale: Sequence[float]
) -> tuple[list[Fit], int]:
    """How weights of Y, of U and of V change squared errors; and how many anchors have any error.

    Of each anchor they count in parts of the error that it has in all planes, scaled. For quality is a mean of
    decibels: a tenth of a small error is worth as much as a tenth of a large one.
    """
    found: list[list[Fit]] = []
    for poc, change in changes.items():
        source, decoded = coded.source.at(poc).picture, coded.decoded[poc]
        device, step = change.planes[0].device, correction_step(source.bit_depth)
        fits, total = [], 0.0
        for seen, wanted, own, added, corrections in zip(
            scale, in_levels(source, device), in_levels(decoded, device), *change, strict=True
        ):
            maps = torch.cat([added.double(), corrections.double() * step], 1)[0]
            weight = F.interpolate(importance[poc], maps.shape[1:], mode="area")[0].to(maps).sqrt()
            flat, lacking = (maps * weight).flatten(1), ((wanted - own)[0] * weight).flatten()
            fits.append(Fit((flat @ flat.T).cpu().numpy(), (flat @ lacking).cpu().numpy()))
            total += seen * float(lacking @ lacking)
        if total:
            found.append([fit * (1 / total) for fit in fits])
    return [reduce(add, each) for each in zip(*found, strict=True)], len(found)
