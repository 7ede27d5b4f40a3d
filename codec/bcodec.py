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

from typing import NamedTuple

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
from .postfilter import PostFilter

STRIDE = 8  # pixels a latent of the frame: blocks of 16 leave 16 % more cost on motion errors, which are thin
SEARCHES = 3  # for blocks, one after another: the second lowers costs by 2 %, the third by another half
AGAIN = 1  # where they are known from about the same references
WORTH = 2.0  # times what one error alone is worth: they are decided one by one, but add up; best of 0.5 to 4


class Scene(NamedTuple):
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


class Aim(NamedTuple):
    """What the writer alone knows: the frame (B,3,H,W), the motion it wishes for, and blocks (of one sample), if any.

    seen (1,1,H,W) or (1,1,1,1) is 0 where pictures are padding, else 1; worth (B,1,H,W) or (B,1,1,1) what the square of
    a pixel's error is worth in bits, the mean over colours, None for the nearest symbols (see LatentCoder).
    """

    target: Tensor
    refined: Refined | None
    blocks: Blocks | None
    seen: Tensor
    worth: Tensor | None


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

        scene = codec.scene(past, future, ...)
        done = codec(tape, scene, codec.aim(scene, target))  # to write, or to estimate
        done = codec(tape, scene)  # to read

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
        self.postfilter = PostFilter(config.postfilter) if config.postfilter else None
        if self.motion is not None and not (isinstance(network.flow, CoarseToFine) and network.flow.teacher):
            raise ModelError("a motion residual needs a network with a teacher block")

    @property
    def network(self) -> FrameSynthesis:
        """The network that predicts."""
        return self._others[0]

    def scene(
        self,
        past: Tensor,
        future: Tensor,
        *,
        time: float | Tensor,
        noise: Tensor | None,
        quality: float | Tensor,
        exact: AnchorFeatures,
        prediction: Prediction | None = None,
    ) -> Scene:
        """What is known of the frame between past and future (B,3,H,W), multiples of 32.

        noise is None for references without error; quality a number or one a sample; the network is only asked where
        no prediction is given.
        """
        if prediction is None:
            prediction = self.network(past, future, time, noise)
        level = quality_vector(quality, len(self.config.lambdas), len(past), past.device)
        noise = past.new_zeros(len(past)) if noise is None else noise
        return Scene(past, future, time, noise, level, exact, prediction)

    @torch.no_grad()
    def aim(
        self,
        scene: Scene,
        target: Tensor,
        *,
        weight: Tensor | None = None,
        thrifty: bool = True,
        blocks: bool = False,
        start: Blocks | None = None,
    ) -> Aim:
        """How to code the target: by the teacher's motion, and by `blocks`, if wished, where they are worth their bits.

        They are searched for around those to `start` from, of about the same references, if there are any. Errors are
        worth lambda times `weight` (1,1,H,W): 1 or about 1, and 0 where the picture is padding. The writer
        is `thrifty` with precision, or takes the nearest symbols.
        """
        weight = target.new_ones(1, 1, 1, 1) if weight is None else weight
        seen, slope = (weight > 0).to(target), self._slope(scene.quality)
        worth = WORTH * weight * slope.view(-1, 1, 1, 1)
        refined = self._teach(scene, target)

        def with_blocks(found: Blocks | None) -> Aim:
            moving = seen if found is None else seen * found.left_to_network(target)
            within = refined and refined.within(scene.prediction.motion, moving)
            return Aim(target, within, found, seen, worth)

        aim = with_blocks(start)
        for _ in range((SEARCHES if start is None else AGAIN) if blocks else 0):
            found = self._sought(scene, aim, slope, weight)
            aim = with_blocks(found)
            if found is None:
                break
        return aim if thrifty else aim._replace(worth=None)

    def forward(self, tape: Tape, scene: Scene, aim: Aim | None = None, *, blocks: bool = False) -> Reconstruction:
        """The frame; aim is None where it is read, and `blocks` says then whether there are any.

        Bits are counted as "motion", "blocks" and "frame". Errors: LatentCoder.
        """
        before, blend, motion = self._moved(tape, scene, aim)
        if blocks or (aim is not None and aim.blocks is not None):
            found = code_blocks(tape, motion.flow, None if aim is None else aim.blocks)
            before = compensated(scene.past, scene.future, before, found, noise=scene.noise)
        contexts = self._contexts(scene, motion, before)
        residual = None if aim is None else (aim.target - before) * aim.seen
        worth = None if aim is None else aim.worth
        decoded = self.frame(tape, residual, contexts, quality=scene.quality, exact=scene.exact.eighth, worth=worth)
        return Reconstruction(before + decoded, scene.prediction.frame, before, blend, motion)

    def _moved(self, tape: Tape, scene: Scene, aim: Aim | None) -> tuple[Tensor, Tensor, Motion]:
        """Prediction and blend along the decoded motion, and that."""
        motion, before = scene.prediction.motion, scene.prediction.frame.float()
        blend = blend_of(scene.past, scene.future, motion).float()
        if self.motion is None:
            return before, blend, motion
        refined, worth = (None, None) if aim is None else (aim.refined, aim.worth)
        motion = self.motion(tape, motion, refined, quality=scene.quality, exact=scene.exact.sixteenth, worth=worth)
        moved = blend_of(scene.past, scene.future, motion).float()
        return before + (moved - blend), moved, motion  # exactly the prediction where no motion is sent

    def _teach(self, scene: Scene, target: Tensor) -> Refined | None:
        """The motion with sight of the current frame (paper, C.1.2); None if none is coded."""
        if self.motion is None:
            return None
        flow, (past, future, time, *_) = self.network.flow, scene
        assert isinstance(flow, CoarseToFine)  # checked when built
        known = scene.prediction.motion
        refined = flow.teach(past, future, time_plane(past, time), known, target)
        errors = [(blend_of(past, future, m).float() - target).abs().mean(1, keepdim=True) for m in (known, refined)]
        return Refined(refined, torch.cat(errors, 1), sensitivity(past, future, refined))

    def _sought(self, scene: Scene, aim: Aim, slope: Tensor, weight: Tensor) -> Blocks | None:
        """The blocks that are worth their bits, if any are, given the motion that is sent with those of the aim.

        No motion is sent where blocks copy, so that of what is left changes with them: they are sought again around it.
        """
        before, _, motion = self._moved(Estimate("round"), scene, aim)
        past, future, flow, start = scene.past, scene.future, motion.flow.float(), aim.blocks
        with torch.autocast(flow.device.type, enabled=False):  # costs are sums of squares
            return find_blocks(
                past, future, aim.target, flow=flow, predicted=before, slope=slope, weight=weight, start=start
            )

    def _slope(self, level: Tensor) -> Tensor:
        """lambda at qualities (B,), between those of the recipe by logarithm."""
        table = level.new_tensor(self.config.lambdas).log()
        low = level.floor().long().clamp(max=len(table) - 1)
        high = (low + 1).clamp(max=len(table) - 1)
        return torch.lerp(table[low], table[high], level - low).exp().float()

    def _contexts(self, scene: Scene, motion: Motion, before: Tensor) -> tuple[Tensor, ...]:
        pictures = [
            warp(scene.past, motion.flow[:, :2]),
            warp(scene.future, motion.flow[:, 2:]),
            before,
            torch.sigmoid(motion.mask),
        ]
        stack = torch.cat([picture.float() for picture in pictures], 1)
        finest = max(len(self.config.lambdas) - 1, 1)
        planes = torch.stack([20 * scene.noise.to(stack), scene.quality.to(stack) / finest], 1)
        return self.contexts(stack, planes)
