# SPDX-License-Identifier: MIT
"""Layers of the B-frame codec: block transform, contexts, and branches that begin at zero."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy.hyperprior import conv, upsampling


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with all its weights zero: a branch that changes nothing until it is trained."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """x (B,C,h,w) plus two 3x3 convolutions of it; `idle` ones change nothing until they are trained."""

    def __init__(self, width: int, *, idle: bool = False) -> None:
        super().__init__()
        last = nn.Conv2d(width, width, 3, padding=1)
        self.body = nn.Sequential(conv(width, width), zeroed(last) if idle else last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class BlockTransform(nn.Module):
    """(B,C,H,W) <-> (B,latents,H/size,W/size), linear, each way with its own weights; steps of `step` become 1."""

    def __init__(self, basis: Tensor, step: float) -> None:
        super().__init__()
        self.size = basis.shape[-1]
        self.analysis = nn.Parameter(basis / step)
        self.synthesis = nn.Parameter(basis * step)

    def encode(self, x: Tensor) -> Tensor:
        """Coefficients of blocks, in float32: bfloat16 would be coarser than the quantiser."""
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.float(), self.analysis, stride=self.size)

    def decode(self, y: Tensor) -> Tensor:
        """Blocks from coefficients."""
        with torch.autocast(y.device.type, enabled=False):
            return F.conv_transpose2d(y.float(), self.synthesis, stride=self.size)

    def energy(self) -> Tensor:
        """(latents,1,1): the squared error of a block, summed, for a unit of error of each latent."""
        return self.synthesis.detach().square().sum((1, 2, 3))[:, None, None]


class Contexts(nn.Module):
    """Features at 1/2, 1/4 and 1/8 of what both sides have: both references along the motion, and more.

    Nothing is convolved at full size. Source: temporal context mining (Sheng et al., "Temporal context mining for
    learned video compression"), from two references as one stack.
    """

    def __init__(self, channels: int, planes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third = widths
        self.at_half = nn.Sequential(conv(4 * channels + planes, first), conv(first, first))
        self.at_quarter = nn.Sequential(conv(first, second, stride=2), Residual(second))
        self.at_eighth = nn.Sequential(conv(second, third, stride=2), Residual(third))
        self.up_quarter, self.up_half = upsampling(third, second), upsampling(second, first)

    def forward(self, pictures: Tensor, planes: Tensor) -> tuple[Tensor, ...]:
        """From pictures (B,channels,H,W) and numbers (B,planes)."""
        x = F.pixel_unshuffle(pictures, 2)
        x = torch.cat([x, planes[:, :, None, None].to(x.dtype).expand(-1, -1, *x.shape[2:])], 1)
        half = self.at_half(x)
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        quarter = quarter + self.up_quarter(eighth)
        return half + self.up_half(quarter), quarter, eighth


def adjusted(y: Tensor, deep: Tensor) -> Tensor:
    """Coefficients (B,C,h,w), scaled and shifted as a deep branch (B,2C,h,w) says; zeros change nothing."""
    gate, shift = deep.float().chunk(2, 1)
    return y * (1 + gate) + shift
