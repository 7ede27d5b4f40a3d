# SPDX-License-Identifier: MIT
"""IFBlock: one step of intermediate-flow estimation (Jia 2022, Fig. 5; five-block RIFE)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .layers import upward, zero_init
from .warp import resize, resize_flow

FLOW, MASK, HIDDEN = 4, 1, 8  # output channels of a block: two flows, the mask logit, features for the next block


class Motion(NamedTuple):
    """What a block knows, all (B,.,H,W): flow in pixels (to past x, y, to future x, y), mask logit, features."""

    flow: Tensor
    mask: Tensor
    hidden: Tensor

    def at(self, size: tuple[int, int]) -> "Motion":
        """This motion resized to a picture of (H, W), its flow in pixels of that size."""
        rest = resize(torch.cat([self.mask, self.hidden], 1), size)  # together: there may be no features at all
        return Motion(resize_flow(self.flow, size), rest[:, :MASK], rest[:, MASK:])


class ResidualConv(nn.Module):
    """x -> LeakyReLU(conv(x) * beta + x), beta one learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))
        self.relu = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x) * self.beta + x)


def _conv(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(layer, nn.LeakyReLU(0.2, inplace=True))


class IFBlock(nn.Module):
    """Refine flow and mask at 1/scale of the given picture.

    `image` > 0 adds the paper's warped pyramid features f_I, `motion` > 0 its motion features f_M, `quality` an
    embedding of the references' quality; all three enter through zero-initialised weights. `hidden` is how many
    features are answered. `double` removes the first convolution's and the transposed convolution's stride (paper A.1):
    same parameters, features twice as fine.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        depth: int = 8,
        image: int = 0,
        motion: int = 0,
        quality: int = 0,
        hidden: int = HIDDEN,
        double: bool = False,
    ) -> None:
        super().__init__()
        first = 1 if double else 2
        self.conv0 = nn.Sequential(_conv(in_channels, width // 2, first), _conv(width // 2, width, 2))
        self.convblock = nn.Sequential(*(ResidualConv(width) for _ in range(depth)))
        self.lastconv = nn.Sequential(upward(width, 4 * (FLOW + MASK + hidden), double=not double), nn.PixelShuffle(2))
        self.image = zero_init(nn.Conv2d(image, width // 2, 3, stride=first, padding=1)) if image else None
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

        flow (B,4,H,W) in pixels of x, absent in the first block; image (B,.,any size), motion (B,.,any size) and
        quality (B,.) where the block was built for them.
        """
        full = (x.shape[-2], x.shape[-1])
        size = (full[0] // scale, full[1] // scale)
        x = resize(x, size)
        if flow is not None:
            x = torch.cat([x, resize_flow(flow, size)], 1)
        out = self.lastconv(self.convblock(self._enter(x, image, motion, quality)))
        out = resize(out[..., : size[0], : size[1]], full)  # larger if the size is no multiple of 4
        return Motion(out[:, :FLOW] * scale, out[:, FLOW : FLOW + MASK], out[:, FLOW + MASK :])

    def _enter(self, x: Tensor, image: Tensor | None, motion: Tensor | None, quality: Tensor | None) -> Tensor:
        first, second = self.conv0.children()
        convolution, activation = first.children()
        size = (x.shape[-2], x.shape[-1])
        x = convolution(x)
        if self.image is not None and image is not None:
            x = x + self.image(resize(image, size))
        x = second(activation(x))
        if self.motion is not None and motion is not None:
            x = x + self.motion(resize(motion, (x.shape[-2], x.shape[-1])))
        if self.quality is not None and quality is not None:
            x = x + self.quality(quality)[:, :, None, None]
        return x
