# SPDX-License-Identifier: MIT
"""Frame synthesis: a context net and a U-Net that correct the blend of the two warped references (RIFE 4.0)."""

import torch
from torch import Tensor, nn

from .layers import PReLU, upward, zero_init
from .tiles import by_tiles
from .warp import resize_flow, warp

SEES = 76  # pixels that the U-Net sees far


def _conv(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1), PReLU(out_channels))


def _up(in_channels: int, out_channels: int, *, double: bool = True) -> nn.Sequential:
    return nn.Sequential(upward(in_channels, out_channels, double=double), PReLU(out_channels))


class ConvPair(nn.Module):
    """Two 3x3 convolutions with PReLU, the first halving the picture unless its stride is 1."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 2) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, stride)
        self.conv2 = _conv(out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class ContextNet(nn.Module):
    """Features of one reference at 1/2, 1/4, 1/8, 1/16 (`double`: at 1 to 1/8), each warped by the flow of its size."""

    def __init__(self, width: int, *, double: bool = False) -> None:
        super().__init__()
        self.conv1 = ConvPair(3, width, stride=1 if double else 2)
        self.conv2 = ConvPair(width, 2 * width)
        self.conv3 = ConvPair(2 * width, 4 * width)
        self.conv4 = ConvPair(4 * width, 8 * width)

    def forward(self, x: Tensor, flow: Tensor) -> list[Tensor]:
        warped = []
        for level in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = level(x)
            flow = resize_flow(flow, (x.shape[-2], x.shape[-1]))
            warped.append(warp(x, flow))
        return warped


class UNet(nn.Module):
    """Correction in (0,1), 0.5 = none, of the blend: inputs at full size and the contexts of both references."""

    def __init__(self, in_channels: int, width: int, *, quality: int = 0, double: bool = False) -> None:
        super().__init__()
        self.down0 = ConvPair(in_channels, 2 * width, stride=1 if double else 2)
        self.down1 = ConvPair(4 * width, 4 * width)
        self.down2 = ConvPair(8 * width, 8 * width)
        self.down3 = ConvPair(16 * width, 16 * width)
        self.up0 = _up(32 * width, 8 * width)
        self.up1 = _up(16 * width, 4 * width)
        self.up2 = _up(8 * width, 2 * width)
        self.up3 = _up(4 * width, width, double=not double)
        self.conv = nn.Conv2d(width, 3, 3, padding=1)
        # One scale and one shift a channel, from the quality, at the U-Net's input and before its output.
        self.quality_in = zero_init(nn.Linear(quality, 4 * width)) if quality else None
        self.quality_out = zero_init(nn.Linear(quality, 2 * width)) if quality else None

    def forward(self, x: Tensor, past: list[Tensor], future: list[Tensor], quality: Tensor | None = None) -> Tensor:
        s0 = modulate(self.down0(x), self.quality_in, quality)
        s1 = self.down1(torch.cat([s0, past[0], future[0]], 1))
        s2 = self.down2(torch.cat([s1, past[1], future[1]], 1))
        s3 = self.down3(torch.cat([s2, past[2], future[2]], 1))
        x = self.up0(torch.cat([s3, past[3], future[3]], 1))
        x = self.up1(torch.cat([x, s2], 1))
        x = self.up2(torch.cat([x, s1], 1))
        x = modulate(self.up3(torch.cat([x, s0], 1)), self.quality_out, quality)
        return torch.sigmoid(self.conv(x).float())


def modulate(x: Tensor, layer: nn.Module | None, quality: Tensor | None) -> Tensor:
    """x (B,C,H,W) with one scale and one shift a channel out of a layer (B,Q) -> (B,2C), starting at none."""
    if layer is None or quality is None:
        return x
    scale, shift = layer(quality)[:, :, None, None].chunk(2, 1)
    return x * (1 + scale) + shift


class Synthesis(nn.Module):
    """The frame (B,3,H,W), not clipped, from two references, as they are and warped, flow in pixels and mask logit.

    H and W are multiples of 16.

    `double` removes the first convolutions' and the last transposed convolution's stride (paper A.1).
    """

    def __init__(self, width: int, *, quality: int = 0, double: bool = False) -> None:
        super().__init__()
        self.tile = 0  # pixels; more for the U-Net by tiles
        self.contextnet = ContextNet(width, double=double)
        self.unet = UNet(17, width, quality=quality, double=double)

    def forward(
        self,
        past: Tensor,
        future: Tensor,
        warped_past: Tensor,
        warped_future: Tensor,
        flow: Tensor,
        mask: Tensor,
        quality: Tensor | None = None,
    ) -> Tensor:
        x = torch.cat([past, future, warped_past, warped_future, mask, flow], 1)
        contexts = self.contextnet(past, flow[:, :2]), self.contextnet(future, flow[:, 2:])

        def correct(x: Tensor, *levels: Tensor) -> Tensor:
            count = len(levels) // 2
            return self.unet(x, list(levels[:count]), list(levels[count:]), quality)

        correction = by_tiles(correct, [x, *contexts[0], *contexts[1]], self.tile, SEES)
        # Not clipped: YUV has colours outside RGB, and what the references show of them must survive.
        return blend(warped_past, warped_future, mask) + 2 * correction - 1


def blend(warped_past: Tensor, warped_future: Tensor, mask: Tensor) -> Tensor:
    """Mix two warped references by the mask logit, 1 = past (paper, equation 1)."""
    weight = torch.sigmoid(mask.float())
    return weight * warped_past + (1 - weight) * warped_future
