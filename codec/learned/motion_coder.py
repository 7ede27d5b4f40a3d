# SPDX-License-Identifier: MIT
"""Codes motion, or what is wrong with its prediction: a block transform of means of 4x4 pixels, and deep branches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import LatentCoder
from ncm import resize

from .transform import BlockTransform, adjusted, block_basis

BLOCK = 16  # pixels a latent of the motion
STRIDE = 4  # motion is coded from means of so many pixels squared


class BlockMotionCoder(nn.Module):
    """What all coders of motion share; the networks around it differ by what they know of the motion already.

    `step` is the quantiser's to begin with, in pixels times BLOCK / STRIDE for the mean of a block.
    """

    def __init__(self, channels: int, coder: LatentCoder, step: float) -> None:
        super().__init__()
        basis = block_basis(coder.channels, BLOCK // STRIDE, colours=torch.eye(channels))
        self.blocks = BlockTransform(basis, step)
        self.coder = coder

    def latents(self, means: Tensor, deep: Tensor) -> Tensor:
        """Latents (B,C,H/16,W/16) of motion (B,channels,H/4,W/4), as a deep branch (B,2C,H/16,W/16) adjusts them."""
        return adjusted(self.blocks.encode(means), deep)

    def motion(self, latents: Tensor, detail: Tensor, size: tuple[int, int]) -> Tensor:
        """Motion (B,channels,H,W) at full size, from latents and what a deep branch adds (B,channels,H/4,W/4)."""
        return resize(self.blocks.decode(latents) + detail.float(), size)

    def latent_lambda(self, mean_lambda: Tensor) -> Tensor:
        """Bits for the square of an error of each latent, from means (B,.,H/4,W/4) of those for a pixel's motion."""
        return F.conv2d(STRIDE**2 * mean_lambda, self.blocks.synthesis.detach().square(), stride=self.blocks.size)
