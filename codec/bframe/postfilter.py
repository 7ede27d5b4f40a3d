# SPDX-License-Identifier: MIT
"""A post-filter for decoded anchors: a small network that takes out part of what their codec left in, for no bits.

Anchors stay as they are for their own codec, which refers to them; filtered they are shown, and predict B-frames.
Source: neural-network post-filters as ITU-T H.274 carries them; the packing of 4:2:0 planes is theirs too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..learned.zeroed import zeroed

PLANES = 6  # of a packed picture
QUIET, LOUD = 1e-3, 0.2  # RMS errors beyond which anchors count alike
USUAL = 4.0  # of the logarithm of an error: e^-4 is 35 dB


@dataclass(frozen=True, kw_only=True)
class PostFilterConfig:
    """Sizes of a post-filter. An unknown key is a TypeError, a value that makes no sense a ValueError."""

    width: int = 48  # features, at half the picture's size
    blocks: int = 4

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 1:
            raise ValueError(f"width {self.width} and blocks {self.blocks} must be 1 and more")


class Block(nn.Module):
    """A residual block of two convolutions; before training it adds nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B,width,h,w) and what both convolutions add to them, of the same shape."""
        added: Tensor = self.outer(F.relu(self.inner(x)))
        return x + added


class PostFilter(nn.Module):
    """Tells errors from what was in the picture; before training it finds none."""

    def __init__(self, config: PostFilterConfig) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Conv2d(PLANES + 1, config.width, 3, padding=1)
        self.gain = zeroed(nn.Conv2d(1, config.width, 1))
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.blocks)))
        self.last = zeroed(nn.Conv2d(config.width, PLANES, 3, padding=1))

    def forward(self, planes: Tensor, noise: Tensor) -> Tensor:
        """What is to be added to packed planes (B,6,h,w) in [0,1]; noise (B,) is their RMS error in RGB."""
        noise = noise.view(-1, 1, 1, 1)
        loud = loudness(noise)
        features = F.relu(self.first(with_loudness(planes, loud))) * (1 + self.gain(loud))
        change: Tensor = self.last(self.blocks(features))
        return change.float() * noise


def loudness(noise: Tensor) -> Tensor:
    """The logarithm (B,1,1,1) of RMS errors (B,1,1,1), 0 at 35 dB."""
    return noise.clamp(QUIET, LOUD).log() + USUAL


def with_loudness(planes: Tensor, loud: Tensor) -> Tensor:
    """(B,7,h,w): packed planes (B,6,h,w) with their middle at 0, and the loudness (B,1,1,1) as one more plane."""
    return torch.cat([planes - 0.5, loud.expand(-1, 1, *planes.shape[2:])], 1)
