# SPDX-License-Identifier: MIT
"""Which Wiener filters a B-frame gets, and how they are coded: as much of the best ones as lowers R + lambda * D.

They matter above all in chroma: its planes have half the size of the RGB that is coded, so errors of both add up.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from entropy import Prior, Tape, around_zero, choices

from ..bitstream.syntax import PAIRS
from .wiener_filter import Fit, Vector

USUAL = ((0,) * 6, (12, -2, -2, 11, -2, -2), (12, -2, -2, 11, -2, -2))  # weights in steps; what is sent is near these
NONE, AS_USUAL, OWN = range(3)  # filters of a plane
KINDS = choices([[0.6, 0.0, 0.4], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]])
WEIGHTS = around_zero((1.5, 2.0, 2.0))
FARTHEST = 100  # largest weight in steps: no picture needs more, flat ones would take any
SWEEPS = 3  # over the weights, for each the best of its neighbours
KIND_BITS = KINDS.bits(torch.arange(3.0).expand(3, 3), torch.arange(3).view(3, 1)).numpy()
WEIGHT_BITS = WEIGHTS.bits(torch.arange(2.0 * FARTHEST).expand(3, -1), torch.arange(3).view(3, 1)).numpy()
NO_FILTERS = np.zeros(3), np.zeros((3, len(PAIRS)))  # kinds and weights of a picture


class Filters(NamedTuple):
    """kinds (B,3) and weights (B,3,6) of the planes' filters, whole numbers; weights are those that are applied."""

    kinds: Tensor
    weights: Tensor

    @property
    def used(self) -> Tensor:
        """(B,) bool: which pictures have any."""
        return (self.kinds != NONE).any(1)


def code_filters(tape: Tape, filters: Filters | None, used: Tensor, *, like: Tensor) -> Tensor:
    """(B,3,6) weights of filters on a tape; None where they are read. `used` (B,) bool says which pictures have any."""
    zeros, usual = like.new_zeros(len(used), 3, 1, len(PAIRS)), like.new_tensor(USUAL)
    row = torch.arange(3, device=like.device).view(1, 3, 1, 1).expand_as(zeros)
    mask = used.view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    kinds = None if filters is None else filters.kinds.to(zeros)[..., None, None]
    kinds = tape.code("filters.kinds", kinds, Prior(zeros[..., :1], row[..., :1], KINDS, mask)).symbols
    off = None if filters is None else (filters.weights.to(zeros) - usual).view_as(zeros)
    mask = (kinds == OWN).expand_as(zeros)
    off = tape.code("filters.weights", off, Prior(zeros, row, WEIGHTS, mask)).symbols
    return (usual + off[:, :, 0]) * (kinds[:, :, 0] != NONE)


def worthwhile(fits: Sequence[Fit], plane_lambdas: Sequence[float]) -> tuple[Vector, Vector] | None:
    """Kinds (3,) and weights (3,6) of the filters of a picture of least cost R + lambda * D; None if none costs least.

    `plane_lambdas` are lambda of each plane: bits for the square of an error in levels.
    """
    costs, kinds, weights = zip(
        *(_cheapest(plane, *pair) for plane, pair in enumerate(zip(fits, plane_lambdas, strict=True))),
        strict=True,
    )
    return (np.array(kinds, dtype=np.float64), np.array(weights)) if sum(costs) < 0 else None


def _cheapest(plane: int, fit: Fit, plane_lambda: float) -> tuple[float, int, Vector]:
    """Cost of the best filter of one plane, its kind and its weights.

    The cost is its bits minus the squared error that it saves times lambda.
    """
    none, usual = np.zeros(len(PAIRS)), np.array(USUAL[plane], dtype=np.float64)

    def cost(weights: Vector) -> Vector:
        bits: Vector = WEIGHT_BITS[plane, np.abs(weights - usual).astype(int)].sum(-1)
        return plane_lambda * fit.change(weights) + bits

    own = _descended(np.clip(np.round(fit.best()), -FARTHEST, FARTHEST), cost)
    by_kind = 0.0, plane_lambda * float(fit.change(usual)), float(cost(own))  # only the last sends its weights
    costs = KIND_BITS[plane] + by_kind
    kind = int(np.argmin(costs))
    return float(costs[kind]), kind, (none, usual, own)[kind]


def _descended(weights: Vector, cost: Callable[[Vector], Vector]) -> Vector:
    """Whole weights that cost least of those near by, one after another; `cost` tells that of many (n,6) at once."""
    for _ in range(SWEEPS):
        for moves in np.arange(-2, 3)[:, None] * np.eye(len(weights))[:, None]:
            near = weights + moves
            weights = near[np.argmin(cost(near))]
    return weights
