# SPDX-License-Identifier: MIT
"""The contexts of a B-frame, and its coded frame residual: what is wrong with its prediction."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy.hyperprior import conv

from ..learned.contexts import ContextPyramid
from ..learned.latents import latent_coder
from ..learned.residual_coder import Contexts, PictureCoder, ResidualCoder
from .config import BFrameConfig
from .side_information import FEATURES
from .small_residual import SmallContexts, SmallResidualCoder


class BFrameContexts(ContextPyramid):
    """Contexts of pictures (B,channels,H,W), both references along the motion among them, as one stack."""

    def __init__(self, channels: int, planes: int, widths: tuple[int, ...]) -> None:
        first = widths[0]
        super().__init__(nn.Sequential(conv(4 * channels + planes, first), conv(first, first)), widths)

    def forward(self, pictures: Tensor, planes: Tensor) -> Contexts:
        """Contexts at 1/2, 1/4 and 1/8 of pictures (B,channels,H,W) and numbers (B,planes), each a constant plane."""
        x = F.pixel_unshuffle(pictures, 2)
        return self.mine(torch.cat([x, planes[:, :, None, None].to(x.dtype).expand(-1, -1, *x.shape[2:])], 1))


def contexts_of(config: BFrameConfig, channels: int, planes: int) -> BFrameContexts | SmallContexts:
    """What makes a B-frame's contexts, of the sizes of a config."""
    kind = SmallContexts if config.small else BFrameContexts
    return kind(channels, planes, config.widths)


def frame_residual_coder(config: BFrameConfig) -> PictureCoder:
    """The coder of a B-frame's residual (B,3,H,W), of the sizes of a config."""
    widths = config.widths
    entropy_model = latent_coder(
        config.latents,
        config.lambdas,
        hyper=config.hyper,
        width=config.coder_width,
        scale_width=config.scale_width,
        context=widths[-1],
        exact_context=FEATURES,
    )
    if config.small:
        return SmallResidualCoder("frame", entropy_model, config.step, widths=widths)
    return ResidualCoder("frame", entropy_model, config.step, widths=widths, contexts=widths, extra_depth=True)
