# SPDX-License-Identifier: MIT
"""tcm-lite: the structure of TCM, small enough for two CPU cores, four rates in one model.

reference --search--> motion --MotionCoder--> flow
reference, its features --warp--> contexts at 1/2, 1/4, 1/8 (temporal context mining)
picture - warped reference --ResidualCoder(contexts)--> decoded residual, and the features for the next picture

As in `bitneed`, block transforms (a DCT to begin with) code everything and deep branches begin at zero, so it is a
plain transform codec with motion compensation before its first step of training. Nothing is convolved at full size.
Unlike TCM, motion is searched, not learnt, and scales come from integer-exact networks.
Source: Sheng et al., "Temporal context mining for learned video compression", 2022.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import Tape
from entropy.exact import POSITION_BITS
from entropy.gain import quality_vector
from entropy.hyperprior import conv, upsampling
from ncm import warp

from ...learned.contexts import ContextPyramid
from ...learned.latents import latent_coder
from ...learned.layers import Residual
from ...learned.motion_coder import STRIDE as MOTION_STRIDE
from ...learned.motion_coder import BlockMotionCoder
from ...learned.residual_coder import STRIDE, Contexts, ResidualCoder
from ...learned.zeroed import zeroed
from .config import Reference, TcmConfig
from .search import motion_search

MOTION_STEP = 2.0  # quantiser step of the motion to begin with: half a pixel for the mean of a block
PIXEL_STD, CORRELATION = 0.22, 0.97  # of samples in [0,1]


class MotionCoder(BlockMotionCoder):
    """Codes flow (B,2,H/2,W/2) in full-size pixels on a tape."""

    def __init__(self, config: TcmConfig) -> None:
        latents, width = config.motion_latents, config.motion_width
        entropy_model = latent_coder(latents, config.lambdas, hyper=width // 2, width=width)
        super().__init__(2, entropy_model, MOTION_STEP)
        self.down = nn.Sequential(conv(2 + 1, width), conv(width, width, stride=2), conv(width, width, stride=2))
        self.latent = zeroed(nn.Conv2d(width, 2 * latents, 3, padding=1))
        self.up = nn.Sequential(conv(latents + 1, width), upsampling(width, width), upsampling(width, width))
        self.residual = zeroed(nn.Conv2d(width, 2, 3, padding=1))

    def forward(self, tape: Tape, flow: Tensor | None, *, size: tuple[int, int], level: Tensor) -> Tensor:
        """The decoded flow (B,2,H,W) for pictures of `size`; the flow itself is None where it is read."""
        height, width = (n // MOTION_STRIDE for n in size)
        y, plane = None, quality_plane(level, self.coder.qualities)
        if flow is not None:
            means = F.avg_pool2d(flow, MOTION_STRIDE // 2)
            deep = self.down(torch.cat([means, plane.expand(-1, 1, height, width)], 1))
            y = self.latents(means, self.latent(deep))
        y_hat = self.coder(tape, "motion", y, quality=level, size=(height // 4, width // 4))
        x = self.up(torch.cat([y_hat, plane.expand(-1, 1, height // 4, width // 4)], 1))
        return self.motion(y_hat, self.residual(x), size)


class ContextMining(ContextPyramid):
    """Contexts of some widths at 1/2, 1/4, 1/8 from the warped reference, its warped features and the quality."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        first = widths[0]
        super().__init__(nn.Sequential(conv(12 + first + 1, first), Residual(first)), widths)
        self.adaptor = conv(12, first)  # in the place of features, after an I-frame

    def forward(self, reference: Reference, warped: Tensor, flow: Tensor, plane: Tensor) -> Contexts:
        feature = reference.feature
        if feature is None:
            feature = self.adaptor(F.pixel_unshuffle(reference.frame, 2))
        feature = warp(feature, F.avg_pool2d(flow, 2) / 2)
        plane = plane.expand(-1, 1, *feature.shape[2:])
        return self.mine(torch.cat([F.pixel_unshuffle(warped, 2), feature, plane], 1))


def picture_coder(config: TcmConfig, name: str, latents: int, contexts: tuple[int, ...]) -> ResidualCoder:
    """A coder of pictures or residuals of the sizes of a config; `contexts` are channels at 1/2, 1/4, 1/8."""
    entropy_model = latent_coder(
        latents, config.lambdas, hyper=config.hyper, width=config.coder_width, context=contexts[2]
    )
    return ResidualCoder(name, entropy_model, config.step, widths=config.widths, contexts=contexts)


class LiteIntra(nn.Module):
    """The I-frame codec: an IntraCodec."""

    def __init__(self, config: TcmConfig) -> None:
        super().__init__()
        self.qualities = len(config.lambdas)
        self.picture = picture_coder(config, "intra", config.intra_latents, (1, 1, 1))
        expect_pictures(self.picture)

    def forward(self, tape: Tape, x: Tensor | None, *, size: tuple[int, int], quality: float | Tensor) -> Reference:
        """A Reference of the decoded pictures (B,3,H,W), clipped to [0,1], without features.

        x is None where they are read; size is (H, W), quality a number or one a sample.
        EntropyError if the string cannot be right.
        """
        device = self.picture.blocks.analysis.device
        level = quality_vector(quality, self.qualities, 1 if x is None else len(x), device)
        plane = quality_plane(level, self.qualities)
        half, quarter, eighth = (plane.expand(-1, 1, size[0] // n, size[1] // n) for n in (2, 4, 8))
        decoded, _ = self.picture(tape, None if x is None else x - 0.5, (half, quarter, eighth), quality=level)
        return Reference((decoded + 0.5).clamp(0, 1))


class LiteInter(nn.Module):
    """The P-frame codec: an InterCodec."""

    def __init__(self, config: TcmConfig) -> None:
        super().__init__()
        self.qualities = len(config.lambdas)
        self.motion = MotionCoder(config)
        self.contexts = ContextMining(config.widths)
        self.sharpen = zeroed(nn.Conv2d(config.widths[0], 12, 3, padding=1))
        self.picture = picture_coder(config, "inter", config.latents, config.widths)

    def forward(self, tape: Tape, x: Tensor | None, reference: Reference, *, quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W) and the features for the next ones."""
        past = reference.frame
        level = quality_vector(quality, self.qualities, len(past), past.device)
        motion = None if x is None else motion_search(x, past)
        flow = self.motion(tape, motion, size=(past.shape[2], past.shape[3]), level=level)
        warped = warp(past, flow)
        contexts = self.contexts(reference, warped, flow, quality_plane(level, self.qualities))
        before = warped + F.pixel_shuffle(self.sharpen(contexts[0]), 2)
        decoded, feature = self.picture(tape, None if x is None else x - before, contexts, quality=level)
        return Reference((before + decoded).clamp(0, 1), feature, warped)


def expect_pictures(coder: ResidualCoder) -> None:
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
