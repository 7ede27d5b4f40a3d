# SPDX-License-Identifier: MIT
"""Frame synthesis for CPUs: the blend of the warped references, corrected by a small network at 1/4 of the picture."""

import torch
from torch import Tensor, nn

from .layers import PReLU, upward, zero_init
from .warp import resize, resize_flow

BLOCK = 4  # the network's pixel is a block of 4x4


class SubpixelSynthesis(nn.Module):
    """The frame (B,3,H,W), not clipped; call, inputs and limits as `Synthesis`.

    No convolution sees the full picture: the warped references enter as 4x4 blocks, and every pixel's correction of
    colour and mask comes out of its block's channels. The last layer starts at zero, so that the untrained network
    answers the blend.
    """

    def __init__(self, width: int, *, quality: int = 0) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(6 * BLOCK**2 + 5, width, 1), PReLU(width))
        self.here = _conv(width, width, 1)
        self.down = nn.Sequential(_conv(width, 2 * width, 2), _conv(2 * width, 2 * width, 1))
        self.up = nn.Sequential(upward(2 * width, width), PReLU(width))
        self.mix = _conv(width, width, 1)
        self.leave = zero_init(nn.Conv2d(width, 4 * BLOCK**2, 1))
        self.quality = zero_init(nn.Linear(quality, width)) if quality else None

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
        small = (past.shape[-2] // BLOCK, past.shape[-1] // BLOCK)
        blocks = [_blocks(warped_past), _blocks(warped_future)]
        x = torch.cat([*blocks, resize(mask, small), resize_flow(flow, small)], 1)
        x = self.enter(x)
        if self.quality is not None and quality is not None:
            x = x + self.quality(quality)[:, :, None, None]
        x = self.here(x)
        x = self.leave(self.mix(x + self.up(self.down(x))))
        correction = _picture(x).float()
        weight = torch.sigmoid(mask.float() + correction[:, 3:])
        return torch.lerp(warped_future, warped_past, weight) + correction[:, :3]


def _conv(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1), PReLU(out_channels))


def _blocks(picture: Tensor) -> Tensor:
    """The blocks (B,C*16,H/4,W/4) of a picture (B,C,H,W): `F.pixel_unshuffle` in a third of its time on CPUs."""
    count, channels, height, width = picture.shape
    split = picture.view(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return split.permute(0, 1, 3, 5, 2, 4).reshape(count, -1, height // BLOCK, width // BLOCK)


def _picture(blocks: Tensor) -> Tensor:
    """The picture (B,C,4h,4w) of blocks (B,C*16,h,w): `F.pixel_shuffle` in a third of its time on CPUs."""
    count, _, height, width = blocks.shape
    split = blocks.view(count, -1, BLOCK, BLOCK, height, width)
    return split.permute(0, 1, 4, 2, 5, 3).reshape(count, -1, BLOCK * height, BLOCK * width)
