# SPDX-License-Identifier: MIT
"""The coded motion of a B-frame: what the teacher block, with sight of the frame, would change in NCM's prediction."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import Tape
from entropy.hyperprior import conv, upsampling
from ncm.ifblock import Motion

from ..learned.latents import latent_coder
from ..learned.layers import Residual
from ..learned.motion_coder import STRIDE, BlockMotionCoder
from ..learned.zeroed import zeroed
from .config import BFrameConfig
from .side_information import FEATURES

CHANNELS = 5  # four of flow and the mask
INPUT_SCALE = 8  # of errors and sensitivities, which are small numbers, as the encoder sees them
STEP = 4.0  # quantiser step of the motion residual to begin with: a pixel for the mean of a block


class Refined(NamedTuple):
    """The motion that the encoder wishes for, and means over 4x4 pixels of what tells how to code it.

    errors (B,2,H/4,W/4): absolute, of the blends without it and with it; sensitivity (B,5,H/4,W/4): the blend's MSE for
    the square of a small error of each channel of the motion; lambdas: the same times lambda for RDOQ of each pixel.
    """

    motion: Motion
    errors: Tensor
    sensitivity: Tensor
    lambdas: Tensor

    def within(self, motion: Motion, seen: Tensor) -> "Refined":
        """This motion where `seen` (B,1,H,W) is 1, and `motion`, found without sight of the frame, where it is 0.

        All else stays as it is.
        """
        flow, mask = (torch.lerp(a, b, seen.to(b)) for a, b in zip(motion[:2], self.motion[:2], strict=True))
        return self._replace(motion=motion._replace(flow=flow, mask=mask))


class MotionFeatures(NamedTuple):
    """What both sides know of the motion before its residual is coded: its means over 4x4 pixels, and features of them.

    predicted (B,5,H/4,W/4), context (B,C,H/4,W/4) and prior (B,C,H/16,W/16).
    """

    predicted: Tensor
    context: Tensor
    prior: Tensor


class MotionResidualCoder(BlockMotionCoder):
    """Codes refined minus predicted motion: four channels of flow in pixels and the mask's logit (paper, C.1.3)."""

    def __init__(self, config: BFrameConfig) -> None:
        latents, width = config.motion_latents, config.motion_width
        entropy_model = latent_coder(
            latents, config.lambdas, hyper=width // 2, width=width, context=width, exact_context=FEATURES
        )
        super().__init__(CHANNELS, entropy_model, STEP)
        self.context = nn.Sequential(conv(CHANNELS, width), conv(width, width))
        self.prior = nn.Sequential(conv(width, width, stride=2), conv(width, width, stride=2))
        self.down = nn.Sequential(conv(CHANNELS + width + 2, width), conv(width, width, stride=2))
        self.texture = zeroed(nn.Conv2d(CHANNELS, width, 3, padding=1))
        self.deeper = nn.Sequential(Residual(width, idle=True), Residual(width, idle=True))
        self.latent = nn.Sequential(conv(width, width, stride=2), zeroed(nn.Conv2d(width, 2 * latents, 3, padding=1)))
        self.up = nn.Sequential(conv(latents + width, width), upsampling(width, width), upsampling(width, width))
        self.residual = nn.Sequential(conv(2 * width, width), zeroed(nn.Conv2d(width, CHANNELS, 3, padding=1)))

    def features(self, motion: Motion) -> MotionFeatures:
        """What is known of a predicted motion before anything is coded, the same however often that is tried."""
        predicted = _pooled(motion)
        context = self.context(predicted)
        return MotionFeatures(predicted, context, self.prior(context))

    def forward(
        self,
        tape: Tape,
        motion: Motion,
        features: MotionFeatures,
        refined: Refined | None,
        *,
        quality: Tensor,
        exact: Tensor,
        rdoq: bool,
    ) -> Motion:
        """The decoded motion: flow in full-size pixels and the mask's logit; `refined` is None where it is read.

        With `rdoq` the writer weighs symbols' bits, else it takes the nearest symbols.
        ValueError for input that does not fit the model, EntropyError for a string that does not.
        """
        predicted, context, prior = features
        y = None if refined is None else self._encode(_pooled(refined.motion) - predicted, refined, context)
        size = (exact.shape[2], exact.shape[3])
        rdoq_lambda = self.latent_lambda(refined.lambdas) if rdoq and refined is not None else None
        known = {"quality": quality, "size": size, "context": prior, "exact_context": exact}
        y_hat = self.coder(tape, "motion", y, **known, rdoq_lambda=rdoq_lambda)
        x = self.up(torch.cat([y_hat.to(prior.dtype), prior], 1))
        detail = self.residual(torch.cat([x, context], 1))
        delta = self.motion(y_hat, detail, (motion.flow.shape[2], motion.flow.shape[3]))
        return motion._replace(flow=motion.flow + delta[:, :4], mask=motion.mask + delta[:, 4:])

    def _encode(self, difference: Tensor, refined: Refined, context: Tensor) -> Tensor:
        x = torch.cat([difference, INPUT_SCALE * refined.errors], 1).to(context.dtype)
        detail = INPUT_SCALE * refined.sensitivity.sqrt().to(context.dtype)
        x = self.down[0](torch.cat([x, context], 1)) + self.texture(detail)
        return self.latents(difference, self.latent(self.deeper(self.down[1](x))))


def _pooled(motion: Motion) -> Tensor:
    """(B,5,H/4,W/4): means of flow, in full-size pixels, and of the mask."""
    return means_of(torch.cat([motion.flow, motion.mask], 1).float())


def means_of(planes: Tensor) -> Tensor:
    """Means (B,C,H/4,W/4) over 4x4 pixels, from which motion is coded."""
    return F.avg_pool2d(planes, STRIDE)


def sensitivity(warped_past: Tensor, warped_future: Tensor, mask: Tensor) -> Tensor:
    """(B,5,H,W): how the blend's MSE grows with the square of an error of flow, in pixels, and of the mask's logit."""
    weight = torch.sigmoid(mask.float())
    warped = warped_past.float(), warped_future.float()
    planes = []
    for picture, share in zip(warped, (weight, 1 - weight), strict=True):
        for axis in (3, 2):
            slope = torch.gradient(picture, dim=axis)[0]
            planes.append((share * slope).square().mean(1, keepdim=True))
    planes.append((weight * (1 - weight) * (warped[0] - warped[1])).square().mean(1, keepdim=True))
    return torch.cat(planes, 1)
