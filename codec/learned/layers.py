# SPDX-License-Identifier: MIT
"""Layers that change nothing until they are trained."""

from torch import Tensor, nn

from entropy.hyperprior import conv

from .zeroed import zeroed


class Residual(nn.Module):
    """x (B,C,h,w) plus two 3x3 convolutions of it; `idle` ones change nothing until they are trained."""

    def __init__(self, width: int, *, idle: bool = False) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        self.body = nn.Sequential(conv(width, width), zeroed(last) if idle else last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
