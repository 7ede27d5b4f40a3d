# SPDX-License-Identifier: MIT
"""Layers of the published TCM networks; where there is one in CompressAI, it is that."""

import warnings

from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai.layers import (
        GDN,
        ResidualBlock,
        ResidualBlockUpsample,
        ResidualBlockWithStride,
        conv3x3,
        subpel_conv3x3,
    )

__all__ = [
    "GDN",
    "ResBlock",
    "ResidualBlock",
    "ResidualBlockUpsample",
    "ResidualBlockWithStride",
    "conv3x3",
    "deconv",
    "subpel_conv3x3",
]


class ResBlock(nn.Module):
    """x (B,C,h,w) plus two 3x3 convolutions of it, through half of the channels in a `bottleneck`.

    `before` puts the activation in front of them too, `after` behind them.
    """

    def __init__(
        self, channels: int, *, slope: float = 0.01, before: bool = True, after: bool = False, bottleneck: bool = False
    ) -> None:
        super().__init__()
        inner = channels // 2 if bottleneck else channels
        self.conv1 = conv3x3(channels, inner)
        self.conv2 = conv3x3(inner, channels)
        self.act = nn.LeakyReLU(slope)
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(x) if self.before else x
        out = self.conv2(self.act(self.conv1(out)))
        return x + (self.act(out) if self.after else out)


def deconv(in_channels: int, out_channels: int, stride: int = 2) -> nn.ConvTranspose2d:
    """A transposed 3x3 convolution that makes a picture `stride` times as large."""
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=stride, padding=1, output_padding=stride - 1)
