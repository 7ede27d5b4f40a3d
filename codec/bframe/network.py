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

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from entropy import DryRun, Tape
from entropy.gain import quality_vector
from ncm import FrameSynthesis, Prediction
from ncm.estimator import CoarseToFine
from ncm.ifblock import Motion
from ncm.network import time_plane, warped_along
from ncm.synthesis import blend

from ..errors import ModelError
from ..learned.residual_coder import Contexts
from .block_motion import Blocks, code_blocks
from .config import BFrameConfig
from .frame_residual import contexts_of, frame_residual_coder
from .loop_filter import LoopFilter
from .motion_residual import MotionFeatures, MotionResidualCoder, Refined, means_of, sensitivity
from .obmc import compensated
from .postfilter import PostFilter
from .side_information import AnchorFeatures

if TYPE_CHECKING:
    from .motion_search import BlockSearch

# Searches for blocks, one after another, as the motion around them changes with them: the second lowers costs by 2 %,
# the third by another half.
SEARCHES = 3
AGAIN = 1  # where they are known from about the same references, or no motion is sent that could change
NOISE_SCALE = 20.0  # of the plane that tells contexts of the noise: about 1 at 26 dB
RDOQ = 2.0  # times lambda: symbols are decided one by one, but their errors add up; best of 0.5 to 4


class FrameContext(NamedTuple):
    """What both sides know of a frame before any of it is decoded.

    past, future: references (B,3,H,W) in [0,1]; time: in (0,1) between them; noise (B,): their RMS error; quality (B,):
    in [0, qualities - 1]; exact: of `anchor_features`; prediction: the network's; warped: both references along its
    motion (B,3,H,W); blend: of these two. That, and `motion_features`, are None if no motion is coded.
    """

    past: Tensor
    future: Tensor
    time: float | Tensor
    noise: Tensor
    quality: Tensor
    exact: AnchorFeatures
    prediction: Prediction
    warped: tuple[Tensor, Tensor]
    blend: Tensor | None
    motion_features: MotionFeatures | None


class Moved(NamedTuple):
    """A prediction along the decoded motion.

    frame (B,3,H,W); blend: of both references along that motion, the frame itself if no motion is coded; the motion;
    warped: both references along it.
    """

    frame: Tensor
    blend: Tensor
    motion: Motion
    warped: tuple[Tensor, Tensor]


class EncoderTarget(NamedTuple):
    """What the writer alone knows: the frame (B,3,H,W), the motion it wishes for, and blocks, if any sample has some.

    seen (B,1,H,W) or (1,1,1,1) is 0 where pictures are padding, else 1.
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

    predicted: the frame of bitfree; before: what the residual was added to; blend: of both references along the coded
    motion, or `predicted` if none is coded.
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
        self.contexts = contexts_of(config, channels=3 * 3 + 1, planes=2)
        self.frame = frame_residual_coder(config)
        self.motion = MotionResidualCoder(config) if config.motion_latents else None
        self.postfilter = PostFilter(config.postfilter) if config.postfilter else None
        self.loop_filter = LoopFilter(config.loop_filter) if config.loop_filter else None
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
        qualities = quality_vector(quality, len(self.config.lambdas), len(past), past.device)
        noise = past.new_zeros(len(past)) if noise is None else noise
        motion = prediction.motion
        warped = prediction.warped
        if warped is None:
            warped = warped_along(past, future, motion)
        blended = None if self.motion is None else blend(warped[0], warped[1], motion.mask).float()
        features = None if self.motion is None else self.motion.features(motion)
        return FrameContext(past, future, time, noise, qualities, exact, prediction, warped, blended, features)

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
        weighed by lambda times `weight` (B,1,H,W): 1 or about 1, and 0 where the picture is padding. With `rdoq` the
        writer weighs each symbol's bits against its error, else it takes the nearest symbols.
        """
        weight = frame.new_ones(1, 1, 1, 1) if weight is None else weight
        seen, slope = (weight > 0).to(frame), self._slope(context.quality)
        rdoq_lambda = RDOQ * weight * slope.view(-1, 1, 1, 1)
        refined = self._teach(context, frame, rdoq_lambda)

        def with_blocks(found: Blocks | None) -> EncoderTarget:
            moving = seen if found is None else seen * found.left_to_network(frame)
            within = refined and refined.within(context.prediction.motion, moving)
            return EncoderTarget(frame, within, found, seen, rdoq_lambda)

        target = with_blocks(start)
        if blocks:
            from .motion_search import BlockSearch  # who only decodes needs no compiler

            with torch.autocast(frame.device.type, enabled=False):
                search = BlockSearch(context.past, context.future, frame, slope=slope, weight=weight)
            for _ in range(SEARCHES if start is None and self.motion is not None else AGAIN):
                found = self._sought(context, target, search)
                target = with_blocks(found)
                if found is None:
                    break
        return target if rdoq else target._replace(rdoq_lambda=None)

    def forward(
        self,
        tape: Tape,
        context: FrameContext,
        target: EncoderTarget | None = None,
        *,
        blocks: Tensor | None = None,
    ) -> Reconstruction:
        """The reconstructed frame and what it was made from; target is None where it is read.

        Reading, `blocks` (B,1,1,1) bool says which samples have motion-compensated blocks, None that none has.
        Bits are counted as "motion", "blocks" and "frame".
        ValueError for input that does not fit the model, EntropyError for a string that does not.
        RuntimeError for writing or reading in training mode.
        """
        moved = self._moved(tape, context, target)
        before = moved.frame
        wanted = None if target is None else target.blocks
        used = blocks if wanted is None else wanted.used
        if used is not None:
            found = code_blocks(tape, moved.motion.flow, wanted, used)
            before = compensated(context.past, context.future, before, found, noise=context.noise)
        contexts = self._contexts(context, moved, before)
        residual = None if target is None else (target.frame - before) * target.seen
        decoded, _ = self.frame(
            tape,
            residual,
            contexts,
            quality=context.quality,
            exact=context.exact.eighth,
            rdoq_lambda=None if target is None else target.rdoq_lambda,
        )
        return Reconstruction(before + decoded, context.prediction.frame, before, moved.blend, moved.motion)

    def _moved(self, tape: Tape, context: FrameContext, target: EncoderTarget | None) -> Moved:
        """The prediction along the decoded motion."""
        motion, before = context.prediction.motion, context.prediction.frame.float()
        if self.motion is None or context.blend is None:
            return Moved(before, before, motion, context.warped)
        motion = self.motion(
            tape,
            motion,
            context.motion_features,
            None if target is None else target.refined,
            quality=context.quality,
            exact=context.exact.sixteenth,
            rdoq=target is not None and target.rdoq_lambda is not None,
        )
        warped = warped_along(context.past, context.future, motion)
        moved = blend(*warped, motion.mask).float()
        return Moved(before + (moved - context.blend), moved, motion, warped)  # the prediction where no motion is sent

    def _teach(self, context: FrameContext, frame: Tensor, rdoq_lambda: Tensor) -> Refined | None:
        """The motion with sight of the current frame (paper, C.1.2); None if none is coded."""
        if self.motion is None or context.blend is None:
            return None
        flow, (past, future, time, *_) = self.network.flow, context
        assert isinstance(flow, CoarseToFine)  # checked when built
        prediction, known = context.prediction, {"features": context.prediction.features, "warped": context.warped}
        refined = flow.teach(past, future, time_plane(past, time), prediction.motion, frame, **known)
        warped = warped_along(past, future, refined)
        blends = context.blend, blend(*warped, refined.mask).float()
        errors = [(each - frame).abs().mean(1, keepdim=True) for each in blends]
        senses = sensitivity(*warped, refined.mask)
        return Refined(refined, *map(means_of, (torch.cat(errors, 1), senses, senses * rdoq_lambda)))

    def _sought(self, context: FrameContext, target: EncoderTarget, search: "BlockSearch") -> Blocks | None:
        """The motion-compensated blocks that lower the Lagrangian cost, None if none does.

        No motion residual is sent where a block is compensated. So the motion elsewhere changes with the blocks of the
        target, and this searches again with the motion that is sent beside those.
        """
        moved = self._moved(DryRun(), context, target)
        flow = moved.motion.flow.float()
        with torch.autocast(flow.device.type, enabled=False):  # costs are sums of squares
            found = search.find(flow=flow, predicted=moved.frame, start=target.blocks)
        if found is None or target.blocks is None:
            return found
        return found.only(target.blocks.used)  # a sample that had none by itself would not have been searched again

    def _slope(self, quality: Tensor) -> Tensor:
        """lambda (B,) at qualities (B,), between those of the recipe by logarithm."""
        table = quality.new_tensor(self.config.lambdas).log()
        low = quality.floor().long().clamp(max=len(table) - 1)
        high = (low + 1).clamp(max=len(table) - 1)
        return torch.lerp(table[low], table[high], quality - low).exp().float()

    def _contexts(self, context: FrameContext, moved: Moved, before: Tensor) -> Contexts:
        pictures = [*moved.warped, before, torch.sigmoid(moved.motion.mask)]
        stack = torch.cat([picture.float() for picture in pictures], 1)
        finest = max(len(self.config.lambdas) - 1, 1)
        planes = torch.stack([NOISE_SCALE * context.noise.to(stack), context.quality.to(stack) / finest], 1)
        return self.contexts(stack, planes)
