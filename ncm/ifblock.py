# SPDX-License-Identifier: MIT
"""IFBlock: one step of intermediate-flow estimation (Jia 2022, Fig. 5; five-block RIFE)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .warp import resize, resize_flow

FLOW, MASK, HIDDEN = 4, 1, 8  # output channels of a block: two flows, the mask logit, features for the next block


class Motion(NamedTuple):
    """What a block knows, all (B,.,H,W): flow in pixels (to past x, y, to future x, y), mask logit, features."""

    flow: Tensor
    mask: Tensor
    hidden: Tensor


class ResidualConv(nn.Module):
    """x -> LeakyReLU(conv(x) * beta + x), beta one learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))
        self.relu = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x) * self.beta + x)


def strided_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution that halves the picture, with its LeakyReLU."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.LeakyReLU(0.2))


def zero_init(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer with weights and bias zero: an addition that changes nothing until it has learnt something."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class IFBlock(nn.Module):
    """Refine flow and mask at 1/scale of the given picture.

    `image` > 0 adds the paper's warped pyramid features f_I, `motion` > 0 its motion features f_M, `quality` an
    embedding of the references' quality; all three enter through zero-initialised weights.
    """

    def __init__(self, in_channels: int, width: int, *, image: int = 0, motion: int = 0, quality: int = 0) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(strided_conv(in_channels, width // 2), strided_conv(width // 2, width))
        self.convblock = nn.Sequential(*(ResidualConv(width) for _ in range(8)))
        self.lastconv = nn.Sequential(
            nn.ConvTranspose2d(width, 4 * (FLOW + MASK + HIDDEN), 4, stride=2, padding=1), nn.PixelShuffle(2)
        )
        self.image = zero_init(nn.Conv2d(image, width // 2, 3, stride=2, padding=1)) if image else None
        self.motion = zero_init(nn.Conv2d(motion, width, 1)) if motion else None
        self.quality = zero_init(nn.Linear(quality, width)) if quality else None

    def forward(
        self,
        x: Tensor,
        flow: Tensor | None,
        scale: int,
        *,
        image: Tensor | None = None,
        motion: Tensor | None = None,
        quality: Tensor | None = None,
    ) -> Motion:
        """Residual flow, new mask logit and new features at the size of x (B,C,H,W).

        flow (B,4,H,W) in pixels of x, absent in the first block; image (B,.,H/s,W/s), motion (B,.,any size) and
        quality (B,.) where the block was built for them.
        """
        full = (x.shape[-2], x.shape[-1])
        size = (full[0] // scale, full[1] // scale)
        x = resize(x, size)
        if flow is not None:
            x = torch.cat([x, resize_flow(flow, size)], 1)
        out = resize(self.lastconv(self.convblock(self._enter(x, image, motion, quality))), full)
        return Motion(out[:, :FLOW] * scale, out[:, FLOW : FLOW + MASK], out[:, FLOW + MASK :])

    def _enter(self, x: Tensor, image: Tensor | None, motion: Tensor | None, quality: Tensor | None) -> Tensor:
        first, second = self.conv0.children()
        convolution, activation = first.children()
        x = convolution(x)
        if self.image is not None and image is not None:
            x = x + self.image(image)
        x = second(activation(x))
        if self.motion is not None and motion is not None:
            x = x + self.motion(resize(motion, (x.shape[-2], x.shape[-1])))
        if self.quality is not None and quality is not None:
            x = x + self.quality(quality)[:, :, None, None]
        return x
