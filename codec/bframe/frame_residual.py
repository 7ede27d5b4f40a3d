# SPDX-License-Identifier: MIT
"""The contexts of a B-frame, and its coded frame residual: what is wrong with its prediction."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy.hyperprior import conv

from ..learned.contexts import ContextPyramid
from ..learned.latents import latent_coder
from ..learned.residual_coder import Contexts, ResidualCoder
from .config import BFrameConfig
from .side_information import FEATURES


class BFrameContexts(ContextPyramid):
    """Contexts of pictures (B,channels,H,W), both references along the motion among them, as one stack."""

    def __init__(self, channels: int, planes: int, widths: tuple[int, ...]) -> None:
        first = widths[0]
        super().__init__(nn.Sequential(conv(4 * channels + planes, first), conv(first, first)), widths)

    def forward(self, pictures: Tensor, planes: Tensor) -> Contexts:
        """Contexts at 1/2, 1/4 and 1/8 of pictures (B,channels,H,W) and numbers (B,planes), each a constant plane."""
        x = F.pixel_unshuffle(pictures, 2)
        return self.mine(torch.cat([x, planes[:, :, None, None].to(x.dtype).expand(-1, -1, *x.shape[2:])], 1))


def frame_residual_coder(config: BFrameConfig) -> ResidualCoder:
    """The coder of a B-frame's residual (B,3,H,W), of the sizes of a config."""
    widths = config.widths
    entropy_model = latent_coder(
        config.latents,
        config.lambdas,
        hyper=config.hyper,
        width=config.coder_width,
        context=widths[2],
        exact_context=FEATURES,
    )
    return ResidualCoder("frame", entropy_model, config.step, widths=widths, contexts=widths, extra_depth=True)
