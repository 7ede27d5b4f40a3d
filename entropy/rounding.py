# SPDX-License-Identifier: MIT
"""Rounding and clipping whose forward is exact and whose backward lets training through."""

import torch
from torch import Tensor

from .compress import LowerBoundFunction


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        # Adding zero turns -0.0 into 0.0, so that a symbol that was never written and one that was are the same bits.
        return torch.round(x) + 0.0

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient


class _HalfUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient


def round_through(x: Tensor) -> Tensor:
    """Nearest whole number, halves to even; the gradient passes unchanged (straight-through)."""
    return _Round.apply(x)


def half_up(x: Tensor) -> Tensor:
    """floor(x + 1/2), the rounding of the exact networks; the gradient passes unchanged (straight-through)."""
    return _HalfUp.apply(x)


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """Clip x to [low, high]; outside, only gradients that lead back inside pass (CompressAI's LowerBound, twice)."""
    if not x.requires_grad:
        return x.clamp(low, high)
    raised = LowerBoundFunction.apply(x, x.new_tensor(low))
    return -LowerBoundFunction.apply(-raised, x.new_tensor(-high))
