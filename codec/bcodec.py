# SPDX-License-Identifier: MIT
"""The high-quality mode (`bitneed`): NCM's prediction of a B-frame, and what is coded on top of it.

past, future --NCM--> flow, mask, predicted frame (all of `bitfree`, no bits)
                        |
      [teacher's motion - flow, mask --> MotionCoder --> decoded flow, mask]         part 2, if configured
                        |
      both references warped, prediction, mask --> contexts at 1/2, 1/4, 1/8
                        |
      target - prediction --> FrameCoder --> decoded residual --> frame              part 1

Both coders are a block transform (a DCT to begin with) plus deep branches that begin at zero. So before training this
is a plain transform codec around NCM's picture, and where no symbol is sent the frame is exactly that of `bitfree`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import LatentCoder, Tape
from entropy.gain import quality_vector
from entropy.hyperprior import conv, upsampling
from ncm import FrameSynthesis, Prediction, resize, warp
from ncm.estimator import CoarseToFine
from ncm.ifblock import Motion
from ncm.network import blend_of, time_plane

from .bfeatures import FEATURES, AnchorFeatures, block_basis
from .bparts import BlockTransform, Contexts, Residual, zeroed
from .errors import ModelError

STRIDE = 8  # pixels a latent of the frame: blocks of 16 leave 16 % more cost on motion errors, which are thin
MOTION_BLOCK = 16  # pixels a latent of the motion
MOTION_STRIDE = 4  # motion is coded from means of so many pixels squared
MOTION_STEP = 4.0  # quantiser step of the motion residual to begin with: a pixel for the mean of a block
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
    lambdas: tuple[float, ...] = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # one a quality: lambda * MSE + bpp

    def __post_init__(self) -> None:
        if len(self.widths) != 3:
            raise ValueError(f"widths is {self.widths}; there are three scales")
        if not self.lambdas or min(self.lambdas) <= 0 or list(self.lambdas) != sorted(self.lambdas):
            raise ValueError(f"lambdas is {self.lambdas}; it holds positive numbers, rising")

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


class Reconstruction(NamedTuple):
    """frame (B,3,H,W), nominally in [0,1]; predicted: that of bitfree; blend: of both references, along `motion`."""

    frame: Tensor
    predicted: Tensor
    blend: Tensor
    motion: Motion


class Refined(NamedTuple):
    """The motion that the encoder wishes for, and absolute errors (B,2,H,W) of the blends without it and with it."""

    motion: Motion
    errors: Tensor


class FrameCoder(nn.Module):
    """Codes the residual of the prediction (B,3,H,W) given contexts of these widths, on a tape."""

    def __init__(self, config: BFrameConfig) -> None:
        super().__init__()
        first, second, third = config.widths
        latents = config.latents
        self.blocks = BlockTransform(block_basis(latents, STRIDE), config.step)
        self.down_half = nn.Sequential(conv(12 + first, first), conv(first, second, stride=2))
        self.down_quarter = nn.Sequential(conv(2 * second, second), conv(second, third, stride=2))
        self.down_eighth = conv(2 * third, third)
        self.latent = zeroed(nn.Conv2d(third, 2 * latents, 3, padding=1))
        self.coder = latent_coder(config, latents, width=config.coder_width, context=third, hyper=config.hyper)
        self.up_eighth = nn.Sequential(conv(latents + third, third), Residual(third), upsampling(third, second))
        self.up_quarter = nn.Sequential(conv(2 * second, second), Residual(second), upsampling(second, first))
        self.up_half = nn.Sequential(conv(2 * first, first), conv(first, first))
        self.residual = zeroed(nn.Conv2d(first, 12, 3, padding=1))

    def forward(
        self, tape: Tape, residual: Tensor | None, contexts: tuple[Tensor, ...], *, quality: Tensor, exact: Tensor
    ) -> Tensor:
        """The decoded residual (B,3,H,W); the residual itself is None where it is read."""
        y = None if residual is None else self._encode(residual, contexts)
        size = (exact.shape[2], exact.shape[3])
        prior = contexts[2]
        y_hat = self.coder(tape, "frame", y, quality=quality, size=size, context=prior, exact_context=exact)
        return self._decode(y_hat, contexts)

    def _encode(self, residual: Tensor, contexts: tuple[Tensor, ...]) -> Tensor:
        half, quarter, eighth = contexts
        x = self.down_half(torch.cat([F.pixel_unshuffle(residual, 2).to(half.dtype), half], 1))
        x = self.down_quarter(torch.cat([x, quarter], 1))
        x = self.down_eighth(torch.cat([x, eighth], 1))
        return adjusted(self.blocks.encode(residual), self.latent(x))

    def _decode(self, y: Tensor, contexts: tuple[Tensor, ...]) -> Tensor:
        half, quarter, eighth = contexts
        x = self.up_eighth(torch.cat([y.to(eighth.dtype), eighth], 1))
        x = self.up_quarter(torch.cat([x, quarter], 1))
        x = self.residual(self.up_half(torch.cat([x, half], 1)))
        return self.blocks.decode(y) + F.pixel_shuffle(x, 2).float()


class MotionCoder(nn.Module):
    """Codes refined minus predicted motion: four channels of flow in pixels and the mask's logit (paper, C.1.3)."""

    channels = 5

    def __init__(self, config: BFrameConfig) -> None:
        super().__init__()
        latents, width = config.motion_latents, config.motion_width
        basis = block_basis(latents, MOTION_BLOCK // MOTION_STRIDE, colours=torch.eye(self.channels))
        self.blocks = BlockTransform(basis, MOTION_STEP)
        self.context = nn.Sequential(conv(self.channels, width), conv(width, width))
        self.prior = nn.Sequential(conv(width, width, stride=2), conv(width, width, stride=2))
        self.down = nn.Sequential(conv(self.channels + width + 2, width), conv(width, width, stride=2))
        self.latent = nn.Sequential(conv(width, width, stride=2), zeroed(nn.Conv2d(width, 2 * latents, 3, padding=1)))
        self.coder = latent_coder(config, latents, width=width, context=width, hyper=width // 2)
        self.up = nn.Sequential(conv(latents + width, width), upsampling(width, width), upsampling(width, width))
        self.residual = nn.Sequential(conv(2 * width, width), zeroed(nn.Conv2d(width, self.channels, 3, padding=1)))

    def forward(
        self, tape: Tape, motion: Motion, refined: "Refined | None", *, quality: Tensor, exact: Tensor
    ) -> Motion:
        """The decoded motion; `refined` is None where it is read."""
        predicted = self._pooled(motion)
        context = self.context(predicted)
        prior = self.prior(context)
        y = None if refined is None else self._encode(self._pooled(refined.motion) - predicted, refined, context)
        size = (exact.shape[2], exact.shape[3])
        y_hat = self.coder(tape, "motion", y, quality=quality, size=size, context=prior, exact_context=exact)
        x = self.up(torch.cat([y_hat.to(prior.dtype), prior], 1))
        delta = self.blocks.decode(y_hat) + self.residual(torch.cat([x, context], 1)).float()
        delta = resize(delta, (motion.flow.shape[2], motion.flow.shape[3]))
        return motion._replace(flow=motion.flow + delta[:, :4], mask=motion.mask + delta[:, 4:])

    def _encode(self, difference: Tensor, refined: "Refined", context: Tensor) -> Tensor:
        errors = F.avg_pool2d(refined.errors, MOTION_STRIDE)
        x = torch.cat([difference, 8 * errors], 1).to(context.dtype)
        return adjusted(self.blocks.encode(difference), self.latent(self.down(torch.cat([x, context], 1))))

    @staticmethod
    def _pooled(motion: Motion) -> Tensor:
        """(B,5,H/4,W/4): means of flow, in full-size pixels, and of the mask."""
        return F.avg_pool2d(torch.cat([motion.flow, motion.mask], 1).float(), MOTION_STRIDE)


def adjusted(y: Tensor, deep: Tensor) -> Tensor:
    """Coefficients (B,C,h,w), scaled and shifted as a deep branch (B,2C,h,w) says; zeros change nothing."""
    gate, shift = deep.float().chunk(2, 1)
    return y * (1 + gate) + shift


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
    for step in (coder.means.first, coder.means.second, coder.scales.first, coder.scales.second):
        nn.init.zeros_(step[-1].get_parameter("weight"))
    for step in (coder.means.first, coder.means.second):
        nn.init.zeros_(step[-1].get_parameter("bias"))
    coder.scales.start_at(coder.tables.position(FIRST_SCALE))
    return coder


class BFrameCodec(nn.Module):
    """Codes the frame between two decoded references on a tape: the same call trains, writes and reads.

    `network` predicts. It belongs to another weights file, so it is in neither `state_dict` nor `parameters`; it
    stays as it is given (frozen, in evaluation mode). Call `entropy.freeze` on the trained codec before writing.
    """

    multiple = 32  # heights and widths must divide by this

    def __init__(self, config: BFrameConfig, network: FrameSynthesis) -> None:
        super().__init__()
        self.config = config
        self._others = (network,)  # in a tuple, where torch does not find it
        self.contexts = Contexts(3 * 3 + 1, 2, config.widths)
        self.frame = FrameCoder(config)
        self.motion = MotionCoder(config) if config.motion_latents else None
        if self.motion is not None and not (isinstance(network.flow, CoarseToFine) and network.flow.teacher):
            raise ModelError("a motion residual needs a network with a teacher block")

    @property
    def network(self) -> FrameSynthesis:
        """The network that predicts."""
        return self._others[0]

    def forward(
        self,
        tape: Tape,
        past: Tensor,
        future: Tensor,
        *,
        time: float | Tensor,
        noise: Tensor | None,
        quality: float | Tensor,
        exact: AnchorFeatures,
        target: Tensor | None = None,
        prediction: Prediction | None = None,
    ) -> Reconstruction:
        """The frame at `time` in (0,1) between past and future (B,3,H,W) in [0,1], multiples of 32; target likewise.

        noise (B,) is the RMS error of the references; quality in [0, qualities - 1], a number or one a sample;
        exact comes from `anchor_features`. The target is None where it is read. The prediction
        may be given if `network` has been asked already. Bits are counted as "motion" and "frame". Errors: LatentCoder.
        """
        if prediction is None:
            prediction = self.network(past, future, time, noise)
        level = quality_vector(quality, len(self.config.lambdas), len(past), past.device)
        motion, before = prediction.motion, prediction.frame.float()
        blend = blend_of(past, future, motion).float()
        if self.motion is not None:
            refined = None if target is None else self._refine(past, future, time, motion=motion, target=target)
            motion = self.motion(tape, motion, refined, quality=level, exact=exact.sixteenth)
            old, blend = blend, blend_of(past, future, motion).float()
            before = before + (blend - old)  # exactly the prediction where no motion is sent
        contexts = self._contexts(past, future, motion, before, level=level, noise=noise)
        residual = None if target is None else target - before
        decoded = self.frame(tape, residual, contexts, quality=level, exact=exact.eighth)
        return Reconstruction(before + decoded, prediction.frame, blend, motion)

    @torch.no_grad()
    def _refine(self, past: Tensor, future: Tensor, time: float | Tensor, *, motion: Motion, target: Tensor) -> Refined:
        """The motion with sight of the current frame (paper, C.1.2)."""
        flow = self.network.flow
        assert isinstance(flow, CoarseToFine)  # checked when built
        refined = flow.teach(past, future, time_plane(past, time), motion, target)
        errors = [(blend_of(past, future, m).float() - target).abs().mean(1, keepdim=True) for m in (motion, refined)]
        return Refined(refined, torch.cat(errors, 1))

    def _contexts(
        self, past: Tensor, future: Tensor, motion: Motion, before: Tensor, *, level: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, ...]:
        pictures = [
            warp(past, motion.flow[:, :2]),
            warp(future, motion.flow[:, 2:]),
            before,
            torch.sigmoid(motion.mask),
        ]
        stack = torch.cat([picture.float() for picture in pictures], 1)
        noise = stack.new_zeros(len(stack)) if noise is None else noise
        planes = torch.stack([20 * noise.to(stack), level.to(stack) / max(len(self.config.lambdas) - 1, 1)], 1)
        return self.contexts(stack, planes)
