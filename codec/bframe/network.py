# SPDX-License-Identifier: MIT
"""The high-quality mode (`bitneed`): NCM's prediction of a B-frame, and what is coded on top of it.

past, future --NCM--> flow, mask, predicted frame (all of `bitfree`, no bits)
                        |
      [teacher's motion - flow, mask --> MotionResidualCoder --> decoded flow, mask]         part 2, if configured
                        |
      [motion-compensated blocks, where they are better --> prediction]              part 3, if the encoder wishes
                        |
      both references warped, prediction, mask --> contexts at 1/2, 1/4, 1/8
                        |
      target - prediction --> ResidualCoder --> decoded residual --> frame              part 1

Both coders are a block transform (a DCT to begin with) plus deep branches that begin at zero. So before training this
is a plain transform codec around NCM's picture, and where no symbol is sent the frame is exactly that of `bitfree`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from entropy import Estimate, Tape
from entropy.gain import quality_vector
from ncm import FrameSynthesis, Prediction, warp
from ncm.estimator import CoarseToFine
from ncm.ifblock import Motion
from ncm.network import blend_of, time_plane

from ..errors import ModelError
from ..learned.residual_coder import Contexts
from .block_motion import Blocks, code_blocks
from .config import BFrameConfig
from .frame_residual import BFrameContexts, frame_residual_coder
from .motion_residual import MotionResidualCoder, Refined, sensitivity
from .motion_search import find_blocks
from .obmc import compensated
from .postfilter import PostFilter
from .side_information import AnchorFeatures

SEARCHES = 3  # for blocks, one after another: the second lowers costs by 2 %, the third by another half
AGAIN = 1  # where they are known from about the same references
RDOQ = 2.0  # times lambda: symbols are decided one by one, but their errors add up; best of 0.5 to 4


class FrameContext(NamedTuple):
    """What both sides know of a frame before any of it is decoded.

    past, future: references (B,3,H,W) in [0,1]; time: in (0,1) between them; noise (B,): their RMS error; quality (B,):
    in [0, qualities - 1]; exact: of `anchor_features`; prediction: the network's.
    """

    past: Tensor
    future: Tensor
    time: float | Tensor
    noise: Tensor
    quality: Tensor
    exact: AnchorFeatures
    prediction: Prediction


class EncoderTarget(NamedTuple):
    """What the writer alone knows: the frame (B,3,H,W), the motion it wishes for, and blocks (of one sample), if any.

    seen (1,1,H,W) or (1,1,1,1) is 0 where pictures are padding, else 1.
    rdoq_lambda (B,1,H,W) or (B,1,1,1) is lambda for RDOQ: bits for a pixel's squared error, the mean over colours.
    It is None if the writer takes the nearest symbols.
    """

    frame: Tensor
    refined: Refined | None
    blocks: Blocks | None
    seen: Tensor
    rdoq_lambda: Tensor | None


class Reconstruction(NamedTuple):
    """frame (B,3,H,W), nominally in [0,1], and what it was made from.

    predicted: the frame of bitfree; before: what the residual was added to; blend: of both references, along `motion`.
    """

    frame: Tensor
    predicted: Tensor
    before: Tensor
    blend: Tensor
    motion: Motion


class BFrameCodec(nn.Module):
    """Codes the frame between two decoded references on a tape: the same call trains, writes and reads.

        context = codec.context(past, future, ...)
        done = codec(tape, context, codec.target(context, frame))  # to write, or to estimate
        done = codec(tape, context)  # to read

    `network` predicts. It belongs to another weights file, so it is in neither `state_dict` nor `parameters`; it
    stays as it is given (frozen, in evaluation mode). Call `entropy.freeze` on the trained codec before writing.
    """

    multiple = 32  # heights and widths must divide by this

    def __init__(self, config: BFrameConfig, network: FrameSynthesis) -> None:
        super().__init__()
        self.config = config
        self._others = (network,)  # in a tuple, where torch does not find it
        self.contexts = BFrameContexts(3 * 3 + 1, 2, config.widths)
        self.frame = frame_residual_coder(config)
        self.motion = MotionResidualCoder(config) if config.motion_latents else None
        self.postfilter = PostFilter(config.postfilter) if config.postfilter else None
        if self.motion is not None and not (isinstance(network.flow, CoarseToFine) and network.flow.teacher):
            raise ModelError("a motion residual needs a network with a teacher block")

    @property
    def network(self) -> FrameSynthesis:
        """The frame-synthesis network that predicts B-frames; its weights are not part of this module."""
        return self._others[0]

    def context(
        self,
        past: Tensor,
        future: Tensor,
        *,
        time: float | Tensor,
        noise: Tensor | None,
        quality: float | Tensor,
        exact: AnchorFeatures,
        prediction: Prediction | None = None,
    ) -> FrameContext:
        """What is known of the frame between past and future (B,3,H,W), multiples of 32.

        noise is None for references without error; quality a number or one a sample; the network is only asked where
        no prediction is given.
        """
        if prediction is None:
            prediction = self.network(past, future, time, noise)
        level = quality_vector(quality, len(self.config.lambdas), len(past), past.device)
        noise = past.new_zeros(len(past)) if noise is None else noise
        return FrameContext(past, future, time, noise, level, exact, prediction)

    @torch.no_grad()
    def target(
        self,
        context: FrameContext,
        frame: Tensor,
        *,
        weight: Tensor | None = None,
        rdoq: bool = True,
        blocks: bool = False,
        start: Blocks | None = None,
    ) -> EncoderTarget:
        """How to code a frame: by the teacher's motion, and by `blocks`, if wished, where they pay.

        They are searched for around those to `start` from, of about the same references, if there are any. Errors are
        weighed by lambda times `weight` (1,1,H,W): 1 or about 1, and 0 where the picture is padding. With `rdoq` the
        writer weighs each symbol's bits against its error, else it takes the nearest symbols.
        """
        weight = frame.new_ones(1, 1, 1, 1) if weight is None else weight
        seen, slope = (weight > 0).to(frame), self._slope(context.quality)
        rdoq_lambda = RDOQ * weight * slope.view(-1, 1, 1, 1)
        refined = self._teach(context, frame)

        def with_blocks(found: Blocks | None) -> EncoderTarget:
            moving = seen if found is None else seen * found.left_to_network(frame)
            within = refined and refined.within(context.prediction.motion, moving)
            return EncoderTarget(frame, within, found, seen, rdoq_lambda)

        target = with_blocks(start)
        for _ in range((SEARCHES if start is None else AGAIN) if blocks else 0):
            found = self._sought(context, target, slope, weight)
            target = with_blocks(found)
            if found is None:
                break
        return target if rdoq else target._replace(rdoq_lambda=None)

    def forward(
        self, tape: Tape, context: FrameContext, target: EncoderTarget | None = None, *, blocks: bool = False
    ) -> Reconstruction:
        """The reconstructed frame and what it was made from; target is None where it is read.

        Reading, `blocks` says whether there are motion-compensated blocks.
        Bits are counted as "motion", "blocks" and "frame".
        ValueError for input that does not fit the model, EntropyError for a string that does not.
        RuntimeError for writing or reading in training mode.
        """
        before, blend, motion = self._moved(tape, context, target)
        if blocks or (target is not None and target.blocks is not None):
            found = code_blocks(tape, motion.flow, None if target is None else target.blocks)
            before = compensated(context.past, context.future, before, found, noise=context.noise)
        contexts = self._contexts(context, motion, before)
        residual = None if target is None else (target.frame - before) * target.seen
        decoded, _ = self.frame(
            tape,
            residual,
            contexts,
            quality=context.quality,
            exact=context.exact.eighth,
            rdoq_lambda=None if target is None else target.rdoq_lambda,
        )
        return Reconstruction(before + decoded, context.prediction.frame, before, blend, motion)

    def _moved(self, tape: Tape, context: FrameContext, target: EncoderTarget | None) -> tuple[Tensor, Tensor, Motion]:
        """Prediction and blend along the decoded motion, and that."""
        motion, before = context.prediction.motion, context.prediction.frame.float()
        blend = blend_of(context.past, context.future, motion).float()
        if self.motion is None:
            return before, blend, motion
        motion = self.motion(
            tape,
            motion,
            None if target is None else target.refined,
            quality=context.quality,
            exact=context.exact.sixteenth,
            rdoq_lambda=None if target is None else target.rdoq_lambda,
        )
        moved = blend_of(context.past, context.future, motion).float()
        return before + (moved - blend), moved, motion  # exactly the prediction where no motion is sent

    def _teach(self, context: FrameContext, frame: Tensor) -> Refined | None:
        """The motion with sight of the current frame (paper, C.1.2); None if none is coded."""
        if self.motion is None:
            return None
        flow, (past, future, time, *_) = self.network.flow, context
        assert isinstance(flow, CoarseToFine)  # checked when built
        known = context.prediction.motion
        refined = flow.teach(past, future, time_plane(past, time), known, frame)
        errors = [(blend_of(past, future, m).float() - frame).abs().mean(1, keepdim=True) for m in (known, refined)]
        return Refined(refined, torch.cat(errors, 1), sensitivity(past, future, refined))

    def _sought(self, context: FrameContext, target: EncoderTarget, slope: Tensor, weight: Tensor) -> Blocks | None:
        """The motion-compensated blocks that lower the Lagrangian cost, None if none does.

        No motion residual is sent where a block is compensated. So the motion elsewhere changes with the blocks of the
        target, and this searches again with the motion that is sent beside those.
        """
        before, _, motion = self._moved(Estimate("round"), context, target)
        past, future, flow, start = context.past, context.future, motion.flow.float(), target.blocks
        with torch.autocast(flow.device.type, enabled=False):  # costs are sums of squares
            return find_blocks(
                past, future, target.frame, flow=flow, predicted=before, slope=slope, weight=weight, start=start
            )

    def _slope(self, level: Tensor) -> Tensor:
        """lambda at qualities (B,), between those of the recipe by logarithm."""
        table = level.new_tensor(self.config.lambdas).log()
        low = level.floor().long().clamp(max=len(table) - 1)
        high = (low + 1).clamp(max=len(table) - 1)
        return torch.lerp(table[low], table[high], level - low).exp().float()

    def _contexts(self, context: FrameContext, motion: Motion, before: Tensor) -> Contexts:
        pictures = [
            warp(context.past, motion.flow[:, :2]),
            warp(context.future, motion.flow[:, 2:]),
            before,
            torch.sigmoid(motion.mask),
        ]
        stack = torch.cat([picture.float() for picture in pictures], 1)
        finest = max(len(self.config.lambdas) - 1, 1)
        planes = torch.stack([20 * context.noise.to(stack), context.quality.to(stack) / finest], 1)
        return self.contexts(stack, planes)
