# SPDX-License-Identifier: MIT
"""The high-quality mode (`bitneed`): NCM's prediction of a B-frame, and what is coded on top of it.

past, future --NCM--> flow, mask, predicted frame (all of `bitfree`, no bits)
                        |
      [teacher's motion - flow, mask --> MotionCoder --> decoded flow, mask]         part 2, if configured
                        |
      [blocks of the references, where they are better --> prediction]               part 3, if the encoder wishes
                        |
      both references warped, prediction, mask --> contexts at 1/2, 1/4, 1/8
                        |
      target - prediction --> FrameCoder --> decoded residual --> frame              part 1

Both coders are a block transform (a DCT to begin with) plus deep branches that begin at zero. So before training this
is a plain transform codec around NCM's picture, and where no symbol is sent the frame is exactly that of `bitfree`.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import Estimate, Tape
from entropy.gain import quality_vector
from entropy.hyperprior import conv, upsampling
from ncm import FrameSynthesis, Prediction, warp
from ncm.estimator import CoarseToFine
from ncm.ifblock import Motion
from ncm.network import blend_of, time_plane

from .bblocks import Blocks, code_blocks, compensated
from .bconfig import BFrameConfig, latent_coder
from .bfeatures import AnchorFeatures, block_basis
from .bmotion import MotionCoder, Refined, sensitivity
from .bparts import BlockTransform, Contexts, Residual, adjusted, zeroed
from .bsearch import find_blocks
from .errors import ModelError

STRIDE = 8  # pixels a latent of the frame: blocks of 16 leave 16 % more cost on motion errors, which are thin
SEARCHES = 3  # for blocks, one after another: the second lowers costs by 2 %, the third by another half
WORTH = 2.0  # times what one error alone is worth: they are decided one by one, but add up; best of 0.5 to 4


class Reconstruction(NamedTuple):
    """frame (B,3,H,W), nominally in [0,1], and what it was made from.

    predicted: the frame of bitfree; before: what the residual was added to; blend: of both references, along `motion`.
    """

    frame: Tensor
    predicted: Tensor
    before: Tensor
    blend: Tensor
    motion: Motion


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
        self.deeper = nn.ModuleList(Residual(width, idle=True) for width in config.widths)
        self.coder = latent_coder(config, latents, width=config.coder_width, context=third, hyper=config.hyper)
        self.up_eighth = nn.Sequential(conv(latents + third, third), Residual(third), upsampling(third, second))
        self.up_quarter = nn.Sequential(conv(2 * second, second), Residual(second), upsampling(second, first))
        self.up_half = nn.Sequential(conv(2 * first, first), conv(first, first))
        self.finer = Residual(first, idle=True)
        self.residual = zeroed(nn.Conv2d(first, 12, 3, padding=1))

    def forward(
        self,
        tape: Tape,
        residual: Tensor | None,
        contexts: tuple[Tensor, ...],
        *,
        quality: Tensor,
        exact: Tensor,
        worth: Tensor | None,
    ) -> Tensor:
        """The decoded residual (B,3,H,W); the residual itself is None where it is read.

        worth, (B,1,1,1) or (B,1,H,W), is what the writer gives for a pixel's squared error, in bits, the mean over
        colours; None: see LatentCoder.
        """
        y = None if residual is None else self._encode(residual, contexts)
        size = (exact.shape[2], exact.shape[3])
        if worth is not None:
            worth = (F.avg_pool2d(worth, STRIDE) if worth.shape[-1] > 1 else worth) / 3 * self.blocks.energy()
        known = {"quality": quality, "size": size, "context": contexts[2], "exact_context": exact, "worth": worth}
        y_hat = self.coder(tape, "frame", y, **known)
        return self._decode(y_hat, contexts)

    def _encode(self, residual: Tensor, contexts: tuple[Tensor, ...]) -> Tensor:
        half, quarter, eighth = contexts
        at_half, at_quarter, at_eighth = self.deeper
        x = self.down_half[0](torch.cat([F.pixel_unshuffle(residual, 2).to(half.dtype), half], 1))
        x = self.down_half[1](at_half(x))
        x = self.down_quarter[0](torch.cat([x, quarter], 1))
        x = self.down_quarter[1](at_quarter(x))
        x = at_eighth(self.down_eighth(torch.cat([x, eighth], 1)))
        return adjusted(self.blocks.encode(residual), self.latent(x))

    def _decode(self, y: Tensor, contexts: tuple[Tensor, ...]) -> Tensor:
        half, quarter, eighth = contexts
        x = self.up_eighth(torch.cat([y.to(eighth.dtype), eighth], 1))
        x = self.up_quarter(torch.cat([x, quarter], 1))
        x = self.residual(self.finer(self.up_half(torch.cat([x, half], 1))))
        return self.blocks.decode(y) + F.pixel_shuffle(x, 2).float()


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
        refined: Refined | None = None,
        thrifty: bool = True,
        weight: Tensor | None = None,
        blocks: Blocks | Literal["read"] | None = None,
    ) -> Reconstruction:
        """The frame at `time` in (0,1) between past and future (B,3,H,W) in [0,1], multiples of 32; target likewise.

        noise (B,) is the RMS error of the references; quality in [0, qualities - 1], a number or one a sample; exact
        comes from `anchor_features`. The target is None where it is read. The prediction may be given if `network` has
        been asked already, so may `refined` if `teach` has. The writer is `thrifty` with precision, by the lambda of
        the quality (see Tape), or takes the nearest symbols; to its lambda, `weight` (1,1,H,W) says what errors weigh
        at each pixel: 1 or about 1, and 0 where the picture is padding. `blocks` (of one sample) are those that are
        written, or are read where there are any. Bits are counted as "motion", "blocks" and "frame". Errors:
        LatentCoder.
        """
        if prediction is None:
            prediction = self.network(past, future, time, noise)
        noise = past.new_zeros(len(past)) if noise is None else noise
        level = quality_vector(quality, len(self.config.lambdas), len(past), past.device)
        weight = past.new_ones(1, 1, 1, 1) if weight is None else weight
        seen = (weight > 0).to(past)
        worth = WORTH * weight * self._slope(level).view(-1, 1, 1, 1) if thrifty else None
        moving = seen if blocks is None or blocks == "read" else seen * blocks.left_to_network(past)
        if target is not None and refined is None:
            refined = self.teach(past, future, time, prediction.motion, target)
        refined = refined and refined.within(prediction.motion, moving)
        before, blend, motion = self._moved(
            tape, past, future, prediction, refined, quality=level, exact=exact.sixteenth, worth=worth
        )
        if blocks is not None:
            blocks = code_blocks(tape, motion.flow, None if blocks == "read" else blocks)
            before = compensated(past, future, before, blocks, noise=noise)
        contexts = self._contexts(past, future, motion, before, level=level, noise=noise)
        residual = None if target is None else (target - before) * seen
        decoded = self.frame(tape, residual, contexts, quality=level, exact=exact.eighth, worth=worth)
        return Reconstruction(before + decoded, prediction.frame, before, blend, motion)

    @torch.no_grad()
    def find_blocks(
        self,
        past: Tensor,
        future: Tensor,
        prediction: Prediction,
        refined: Refined | None,
        *,
        quality: float | Tensor,
        exact: AnchorFeatures,
        target: Tensor,
        weight: Tensor | None = None,
    ) -> Blocks | None:
        """The blocks that are worth their bits, if any are; arguments as above.

        No motion is sent where blocks copy, so that of what is left changes with them: they are sought again around it.
        """
        level = quality_vector(quality, len(self.config.lambdas), len(past), past.device)
        weight = past.new_ones(1, 1, 1, 1) if weight is None else weight
        seen, slope = (weight > 0).to(past), self._slope(level)
        worth, blocks = WORTH * weight * slope.view(-1, 1, 1, 1), None  # type: Tensor, Blocks | None
        for _ in range(SEARCHES):
            moving = seen if blocks is None else seen * blocks.left_to_network(past)
            within = refined and refined.within(prediction.motion, moving)
            before, _, motion = self._moved(
                Estimate("round"), past, future, prediction, within, quality=level, exact=exact.sixteenth, worth=worth
            )
            flow = motion.flow.float()
            with torch.autocast(past.device.type, enabled=False):  # costs are sums of squares
                blocks = find_blocks(
                    past, future, target, flow=flow, predicted=before, slope=slope, weight=weight, start=blocks
                )
            if blocks is None:
                break
        return blocks

    def _moved(
        self,
        tape: Tape,
        past: Tensor,
        future: Tensor,
        prediction: Prediction,
        refined: Refined | None,
        *,
        quality: Tensor,
        exact: Tensor,
        worth: Tensor | None,
    ) -> tuple[Tensor, Tensor, Motion]:
        """Prediction and blend along the decoded motion, and that; the rest is what MotionCoder is told."""
        motion, before = prediction.motion, prediction.frame.float()
        blend = blend_of(past, future, motion).float()
        if self.motion is None:
            return before, blend, motion
        motion = self.motion(tape, motion, refined, quality=quality, exact=exact, worth=worth)
        moved = blend_of(past, future, motion).float()
        return before + (moved - blend), moved, motion  # exactly the prediction where no motion is sent

    @torch.no_grad()
    def teach(
        self, past: Tensor, future: Tensor, time: float | Tensor, motion: Motion, target: Tensor
    ) -> Refined | None:
        """The motion with sight of the current frame (paper, C.1.2); None if none is coded."""
        if self.motion is None:
            return None
        flow = self.network.flow
        assert isinstance(flow, CoarseToFine)  # checked when built
        refined = flow.teach(past, future, time_plane(past, time), motion, target)
        errors = [(blend_of(past, future, m).float() - target).abs().mean(1, keepdim=True) for m in (motion, refined)]
        return Refined(refined, torch.cat(errors, 1), sensitivity(past, future, refined))

    def _slope(self, level: Tensor) -> Tensor:
        """lambda at qualities (B,), between those of the recipe by logarithm."""
        table = level.new_tensor(self.config.lambdas).log()
        low = level.floor().long().clamp(max=len(table) - 1)
        high = (low + 1).clamp(max=len(table) - 1)
        return torch.lerp(table[low], table[high], level - low).exp().float()

    def _contexts(
        self, past: Tensor, future: Tensor, motion: Motion, before: Tensor, *, level: Tensor, noise: Tensor
    ) -> tuple[Tensor, ...]:
        pictures = [
            warp(past, motion.flow[:, :2]),
            warp(future, motion.flow[:, 2:]),
            before,
            torch.sigmoid(motion.mask),
        ]
        stack = torch.cat([picture.float() for picture in pictures], 1)
        planes = torch.stack([20 * noise.to(stack), level.to(stack) / max(len(self.config.lambdas) - 1, 1)], 1)
        return self.contexts(stack, planes)
