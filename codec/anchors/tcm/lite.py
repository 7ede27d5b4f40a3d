# SPDX-License-Identifier: MIT
"""tcm-lite: the structure of TCM, small enough for two CPU cores, four rates in one model.

reference --search--> motion --MotionCoder--> flow
reference, its features --warp--> contexts at 1/2, 1/4, 1/8 (temporal context mining)
picture - warped reference --PictureCoder(contexts)--> decoded residual, and the features for the next picture

As in `bitneed`, block transforms (a DCT to begin with) code everything and deep branches begin at zero, so it is a
plain transform codec with motion compensation before its first step of training. Nothing is convolved at full size.
Unlike TCM, motion is searched, not learnt, and scales come from integer-exact networks.
Source: Sheng et al., "Temporal context mining for learned video compression", 2022.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import LatentCoder, Tape
from entropy.exact import POSITION_BITS
from entropy.gain import quality_vector
from entropy.hyperprior import conv, upsampling
from ncm import resize, warp

from ...bfeatures import block_basis
from ...bparts import BlockTransform, Residual, adjusted, zeroed
from .config import Reference, TcmConfig
from .search import motion_search

STRIDE = 8  # pixels a latent of pictures
MOTION_BLOCK, MOTION_STRIDE = 16, 4  # pixels a latent of motion, and of its means
MOTION_STEP = 2.0  # quantiser step of the motion to begin with: half a pixel for the mean of a block
RESIDUAL_SCALE = 0.15  # of latents of residuals before training, in quantiser steps
PIXEL_STD, CORRELATION = 0.22, 0.97  # of samples in [0,1]
Contexts = tuple[Tensor, Tensor, Tensor]


class PictureCoder(nn.Module):
    """Codes pictures or residuals (B,3,H,W) given contexts of some channels at 1/2, 1/4, 1/8, on a tape."""

    def __init__(self, config: TcmConfig, name: str, latents: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.name = name
        first, second, third = config.widths
        half, quarter, eighth = channels
        self.blocks = BlockTransform(block_basis(latents, STRIDE), config.step)
        self.down_half = nn.Sequential(conv(12 + half, first), conv(first, second, stride=2))
        self.down_quarter = nn.Sequential(conv(second + quarter, second), conv(second, third, stride=2))
        self.down_eighth = conv(third + eighth, third)
        self.latent = zeroed(nn.Conv2d(third, 2 * latents, 3, padding=1))
        self.coder = latent_coder(config, latents, width=config.coder_width, context=eighth, hyper=config.hyper)
        self.up_eighth = nn.Sequential(conv(latents + eighth, third), Residual(third), upsampling(third, second))
        self.up_quarter = nn.Sequential(conv(second + quarter, second), Residual(second), upsampling(second, first))
        self.up_half = nn.Sequential(conv(first + half, first), conv(first, first))
        self.residual = zeroed(nn.Conv2d(first, 12, 3, padding=1))

    def forward(self, tape: Tape, x: Tensor | None, contexts: Contexts, *, level: Tensor) -> tuple[Tensor, Tensor]:
        """What was decoded (B,3,H,W), and features of it (B,widths[0],H/2,W/2)."""
        half, quarter, eighth = contexts
        y = None
        if x is not None:
            deep = self.down_half(torch.cat([F.pixel_unshuffle(x, 2), half], 1))
            deep = self.down_eighth(torch.cat([self.down_quarter(torch.cat([deep, quarter], 1)), eighth], 1))
            y = adjusted(self.blocks.encode(x), self.latent(deep))
        size = (eighth.shape[2], eighth.shape[3])
        y_hat = self.coder(tape, self.name, y, quality=level, size=size, context=eighth)
        feature = self.up_eighth(torch.cat([y_hat, eighth], 1))
        feature = self.up_quarter(torch.cat([feature, quarter], 1))
        feature = self.up_half(torch.cat([feature, half], 1))
        return self.blocks.decode(y_hat) + F.pixel_shuffle(self.residual(feature), 2), feature


class MotionCoder(nn.Module):
    """Codes flow (B,2,H/2,W/2) in full-size pixels on a tape."""

    def __init__(self, config: TcmConfig) -> None:
        super().__init__()
        latents, width = config.motion_latents, config.motion_width
        basis = block_basis(latents, MOTION_BLOCK // MOTION_STRIDE, colours=torch.eye(2))
        self.blocks = BlockTransform(basis, MOTION_STEP)
        self.down = nn.Sequential(conv(2 + 1, width), conv(width, width, stride=2), conv(width, width, stride=2))
        self.latent = zeroed(nn.Conv2d(width, 2 * latents, 3, padding=1))
        self.coder = latent_coder(config, latents, width=width, context=0, hyper=width // 2)
        self.up = nn.Sequential(conv(latents + 1, width), upsampling(width, width), upsampling(width, width))
        self.residual = zeroed(nn.Conv2d(width, 2, 3, padding=1))

    def forward(self, tape: Tape, flow: Tensor | None, *, size: tuple[int, int], level: Tensor) -> Tensor:
        """The decoded flow (B,2,H,W) for pictures of `size`; the flow itself is None where it is read."""
        height, width = (n // MOTION_STRIDE for n in size)
        y, plane = None, quality_plane(level, self.coder.qualities)
        if flow is not None:
            means = F.avg_pool2d(flow, MOTION_STRIDE // 2)
            deep = self.down(torch.cat([means, plane.expand(-1, 1, height, width)], 1))
            y = adjusted(self.blocks.encode(means), self.latent(deep))
        y_hat = self.coder(tape, "motion", y, quality=level, size=(height // 4, width // 4))
        x = self.up(torch.cat([y_hat, plane.expand(-1, 1, height // 4, width // 4)], 1))
        return resize(self.blocks.decode(y_hat) + self.residual(x), size)


class ContextMining(nn.Module):
    """Contexts of some widths at 1/2, 1/4, 1/8 from the warped reference, its warped features and the quality."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third = widths
        self.adaptor = conv(12, first)  # in the place of features, after an I-frame
        self.at_half = nn.Sequential(conv(12 + first + 1, first), Residual(first))
        self.at_quarter = nn.Sequential(conv(first, second, stride=2), Residual(second))
        self.at_eighth = nn.Sequential(conv(second, third, stride=2), Residual(third))
        self.up_quarter, self.up_half = upsampling(third, second), upsampling(second, first)

    def forward(self, reference: Reference, warped: Tensor, flow: Tensor, plane: Tensor) -> Contexts:
        feature = reference.feature
        if feature is None:
            feature = self.adaptor(F.pixel_unshuffle(reference.frame, 2))
        feature = warp(feature, F.avg_pool2d(flow, 2) / 2)
        plane = plane.expand(-1, 1, *feature.shape[2:])
        half = self.at_half(torch.cat([F.pixel_unshuffle(warped, 2), feature, plane], 1))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        quarter = quarter + self.up_quarter(eighth)
        return half + self.up_half(quarter), quarter, eighth


class LiteIntra(nn.Module):
    """The I-frame codec: an IntraCodec."""

    def __init__(self, config: TcmConfig) -> None:
        super().__init__()
        self.qualities = len(config.lambdas)
        self.picture = PictureCoder(config, "intra", config.intra_latents, (1, 1, 1))
        expect_pictures(self.picture)

    def forward(self, tape: Tape, x: Tensor | None, *, size: tuple[int, int], quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W)."""
        device = self.picture.blocks.analysis.device
        level = quality_vector(quality, self.qualities, 1 if x is None else len(x), device)
        plane = quality_plane(level, self.qualities)
        half, quarter, eighth = (plane.expand(-1, 1, size[0] // n, size[1] // n) for n in (2, 4, 8))
        decoded, _ = self.picture(tape, None if x is None else x - 0.5, (half, quarter, eighth), level=level)
        return Reference((decoded + 0.5).clamp(0, 1))


class LiteInter(nn.Module):
    """The P-frame codec: an InterCodec."""

    def __init__(self, config: TcmConfig) -> None:
        super().__init__()
        first, second, third = config.widths
        self.qualities = len(config.lambdas)
        self.motion = MotionCoder(config)
        self.contexts = ContextMining(config.widths)
        self.sharpen = zeroed(nn.Conv2d(first, 12, 3, padding=1))
        self.picture = PictureCoder(config, "inter", config.latents, (first, second, third))

    def forward(self, tape: Tape, x: Tensor | None, reference: Reference, *, quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W) and the features for the next ones."""
        past = reference.frame
        level = quality_vector(quality, self.qualities, len(past), past.device)
        motion = None if x is None else motion_search(x, past)
        flow = self.motion(tape, motion, size=(past.shape[2], past.shape[3]), level=level)
        warped = warp(past, flow)
        contexts = self.contexts(reference, warped, flow, quality_plane(level, self.qualities))
        before = warped + F.pixel_shuffle(self.sharpen(contexts[0]), 2)
        decoded, feature = self.picture(tape, None if x is None else x - before, contexts, level=level)
        return Reference((before + decoded).clamp(0, 1), feature, warped)


def expect_pictures(coder: PictureCoder) -> None:
    """Begin training with the scales that pictures have, if samples correlate by CORRELATION a pixel and a colour."""
    with torch.no_grad():
        basis = coder.blocks.analysis
        near = CORRELATION ** (torch.arange(STRIDE)[:, None] - torch.arange(STRIDE)).abs()
        colours = torch.full((3, 3), CORRELATION) + (1 - CORRELATION) * torch.eye(3)
        variance = torch.einsum("kcyx,cd,yv,xu,kdvu->k", basis, colours, near, near, basis)
        tables = coder.coder.tables
        positions = [tables.position(scale) / 2**POSITION_BITS for scale in (PIXEL_STD * variance.sqrt()).tolist()]
        for step in (coder.coder.scales.first, coder.coder.scales.second):
            step[-1].get_parameter("bias").copy_(torch.tensor(positions))


def quality_plane(level: Tensor, qualities: int) -> Tensor:
    """(B,1,1,1) from 0 to 1, for networks that must know the rate."""
    return (level / max(qualities - 1, 1)).float().view(-1, 1, 1, 1)


def latent_coder(config: TcmConfig, channels: int, *, width: int, context: int, hyper: int) -> LatentCoder:
    """An entropy model that expects zeros and small scales before it is trained."""
    qualities = len(config.lambdas)
    coder = LatentCoder(channels, hyper=hyper, width=width, context=context, qualities=qualities, span=config.span)
    coder.expect_zeros(RESIDUAL_SCALE)
    return coder
