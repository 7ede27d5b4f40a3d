# SPDX-License-Identifier: MIT
"""Sizes of the B-frame codec, and the entropy models that follow from them."""

import math
from dataclasses import dataclass

from entropy import LatentCoder

from .bfeatures import FEATURES
from .postfilter import PostFilterConfig

FIRST_SCALE = 0.15  # of latents before training, in quantiser steps


@dataclass(frozen=True, kw_only=True)
class BFrameConfig:
    """Sizes of a B-frame codec. An unknown key is a TypeError, a value that makes no sense a ValueError."""

    widths: tuple[int, ...] = (32, 48, 64)  # contexts and features at 1/2, 1/4, 1/8
    latents: int = 96  # channels at 1/8
    hyper: int = 32  # channels at 1/32
    coder_width: int = 64  # within the entropy model of the frame
    motion_latents: int = 0  # channels of the coded motion residual; 0 = motion is as NCM predicts it
    motion_width: int = 32  # features of the motion coder and its entropy model
    postfilter_width: int = 0  # features of the filter of decoded anchors; 0 = there is none
    postfilter_blocks: int = 4
    lambdas: tuple[float, ...] = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # one a quality: lambda * MSE + bpp

    def __post_init__(self) -> None:
        if len(self.widths) != 3:
            raise ValueError(f"widths is {self.widths}; there are three scales")
        if not self.lambdas or min(self.lambdas) <= 0 or list(self.lambdas) != sorted(self.lambdas):
            raise ValueError(f"lambdas is {self.lambdas}; it holds positive numbers, rising")

    @property
    def postfilter(self) -> PostFilterConfig | None:
        """Sizes of the filter of decoded anchors, if there is one."""
        width, blocks = self.postfilter_width, self.postfilter_blocks
        return PostFilterConfig(width=width, blocks=blocks) if width else None

    @property
    def span(self) -> float:
        """The finest quantiser over the coarsest, as high-rate theory has it."""
        return math.sqrt(self.lambdas[-1] / self.lambdas[0])

    @property
    def step(self) -> float:
        """The best uniform quantiser step at the middle lambda, for orthonormal coefficients of RGB in [0,1].

        Minimises lambda * step^2 / 12 / 3 - log2(step): the MSE is a mean over three colours, bits are a pixel's.
        """
        return math.sqrt(18 / math.log(2) / math.sqrt(self.lambdas[0] * self.lambdas[-1]))


def latent_coder(config: BFrameConfig, channels: int, *, width: int, context: int, hyper: int) -> LatentCoder:
    """An entropy model that says zero where nothing is sent, and begins with small scales."""
    coder = LatentCoder(
        channels,
        hyper=hyper,
        width=width,
        context=context,
        exact_context=FEATURES,
        qualities=len(config.lambdas),
        span=config.span,
    )
    coder.expect_zeros(FIRST_SCALE)
    return coder
