# SPDX-License-Identifier: MIT
"""Codes pictures, or what is wrong with their prediction, given contexts at 1/2, 1/4 and 1/8 of their size.

x --BlockTransform--> coefficients --(scaled and shifted by a deep branch that sees the contexts)--> latents --> tape
tape --> latents --BlockTransform--> + (a deep branch that sees the contexts) --> decoded x, features

The deep branches begin at zero: before training this is a plain transform codec.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import LatentCoder, Tape
from entropy.hyperprior import conv, upsampling

from .layers import Residual
from .transform import BlockTransform, adjusted, block_basis
from .zeroed import zeroed

STRIDE = 8  # pixels a latent: blocks of 16 leave 16 % more cost on motion errors, which are thin
Contexts = tuple[Tensor, ...]  # the finest first, the last one (B,C,H/8,W/8)


class PictureCoder(nn.Module, ABC):
    """Codes (B,3,H,W) on a tape under a name, by a block transform and deep branches around it.

    The branches see the contexts. What is coded depends on which class it is.
    """

    def __init__(self, name: str, coder: LatentCoder, step: float) -> None:
        super().__init__()
        self.name, self.coder = name, coder
        self.blocks = BlockTransform(block_basis(coder.channels, STRIDE), step)

    def forward(
        self,
        tape: Tape,
        x: Tensor | None,
        contexts: Contexts,
        *,
        quality: Tensor,
        exact: Tensor | None = None,
        rdoq_lambda: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What was decoded (B,3,H,W), and features of it at the size of contexts[0]; x is None where it is read.

        exact (B,C,H/8,W/8): what scales may depend on. rdoq_lambda (B,1,1,1) or (B,1,H,W) is lambda for RDOQ: bits for
        a pixel's squared error, the mean over colours; None: the nearest symbols.
        ValueError for input that does not fit the model, EntropyError for a string that does not, RuntimeError for
        writing or reading in training mode.
        """
        eighth = contexts[-1]
        y = None if x is None else self._encode(x, contexts)
        size = (eighth.shape[2], eighth.shape[3])
        if rdoq_lambda is not None:
            blocks = F.avg_pool2d(rdoq_lambda, STRIDE) if rdoq_lambda.shape[-1] > 1 else rdoq_lambda
            rdoq_lambda = blocks / 3 * self.blocks.energy()
        known = {"quality": quality, "size": size, "context": eighth, "exact_context": exact}
        y_hat = self.coder(tape, self.name, y, **known, rdoq_lambda=rdoq_lambda)
        return self._decode(y_hat, contexts)

    @abstractmethod
    def _encode(self, x: Tensor, contexts: Contexts) -> Tensor:
        """Latents (B,C,H/8,W/8) of x."""

    @abstractmethod
    def _decode(self, y: Tensor, contexts: Contexts) -> tuple[Tensor, Tensor]:
        """What latents describe (B,3,H,W), and features of it at the size of contexts[0]."""


class ResidualCoder(PictureCoder):
    """Branches at 1/2, 1/4 and 1/8; `contexts` are the channels of the contexts there.

    With `extra_depth`, residual blocks stand between the layers, idle at first.
    """

    def __init__(
        self,
        name: str,
        coder: LatentCoder,
        step: float,
        *,
        widths: tuple[int, ...],
        contexts: tuple[int, ...],
        extra_depth: bool = False,
    ) -> None:
        super().__init__(name, coder, step)
        latents = coder.channels
        (first, second, third), (half, quarter, eighth) = widths, contexts
        self.down_half = nn.Sequential(conv(12 + half, first), conv(first, second, stride=2))
        self.down_quarter = nn.Sequential(conv(second + quarter, second), conv(second, third, stride=2))
        self.down_eighth = conv(third + eighth, third)
        self.latent = zeroed(nn.Conv2d(third, 2 * latents, 3, padding=1))
        extra = [Residual(width, idle=True) if extra_depth else nn.Identity() for width in (*widths, first)]
        self.deeper, self.finer = nn.ModuleList(extra[:3]), extra[3]
        self.up_eighth = nn.Sequential(conv(latents + eighth, third), Residual(third), upsampling(third, second))
        self.up_quarter = nn.Sequential(conv(second + quarter, second), Residual(second), upsampling(second, first))
        self.up_half = nn.Sequential(conv(first + half, first), conv(first, first))
        self.residual = zeroed(nn.Conv2d(first, 12, 3, padding=1))

    def _encode(self, x: Tensor, contexts: Contexts) -> Tensor:
        half, quarter, eighth = contexts
        at_half, at_quarter, at_eighth = self.deeper
        deep = self.down_half[0](torch.cat([F.pixel_unshuffle(x, 2).to(half.dtype), half], 1))
        deep = self.down_half[1](at_half(deep))
        deep = self.down_quarter[0](torch.cat([deep, quarter], 1))
        deep = self.down_quarter[1](at_quarter(deep))
        deep = at_eighth(self.down_eighth(torch.cat([deep, eighth], 1)))
        return adjusted(self.blocks.encode(x), self.latent(deep))

    def _decode(self, y: Tensor, contexts: Contexts) -> tuple[Tensor, Tensor]:
        half, quarter, eighth = contexts
        feature = self.up_eighth(torch.cat([y.to(eighth.dtype), eighth], 1))
        feature = self.up_quarter(torch.cat([feature, quarter], 1))
        feature = self.finer(self.up_half(torch.cat([feature, half], 1)))
        return self.blocks.decode(y) + F.pixel_shuffle(self.residual(feature), 2).float(), feature
