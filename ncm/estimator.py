# SPDX-License-Identifier: MIT
"""Intermediate flow, coarse to fine (Jia 2022, 3.3): matching blocks on a small picture, plain ones on the full one."""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from .config import NcmConfig
from .features import FeaturePyramid, ImageFeatures, MotionFeatures
from .guidance import Guide
from .ifblock import FLOW, HIDDEN, MASK, IFBlock, Motion
from .tiles import by_tiles
from .warp import resize, same_size, warp

QUALITY_WIDTH = 16
BLOCK_MULTIPLE = 4  # a block halves its input twice
SEES = 41  # pixels of its size that a block of eight convolutions at 1/4 sees far


class References(NamedTuple):
    """Both references at one size: pictures (B,3,H,W), their features (B,C,H,W), C may be 0, and the time (B,1,H,W)."""

    past: Tensor
    future: Tensor
    past_features: Tensor
    future_features: Tensor
    time: Tensor

    def at(self, size: tuple[int, int]) -> "References":
        """These references, their features and time resized to (H, W)."""
        if same_size(self.past, size):
            return self
        # With their features, of which there may be none.
        past, future = (torch.cat(side, 1) for side in zip(self[:2], self[2:4], strict=True))
        past, future = resize(past, size), resize(future, size)
        return References(past[:, :3], future[:, :3], past[:, 3:], future[:, 3:], resize(self.time, size))

    def warped(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B,6,H,W) and features (B,2C,H,W) of past and future sampled along flow (B,4,H,W)."""
        past = warp(torch.cat([self.past, self.past_features], 1), flow[:, :2])
        future = warp(torch.cat([self.future, self.future_features], 1), flow[:, 2:])
        return torch.cat([past[:, :3], future[:, :3]], 1), torch.cat([past[:, 3:], future[:, 3:]], 1)


class CoarseToFine(nn.Module):
    """Flow and mask between two references, one IFBlock after the other."""

    def __init__(self, config: NcmConfig) -> None:
        super().__init__()
        self.config = config
        self.tile = 0  # pixels; more for answers on the full pictures by tiles, and without the earlier motions
        self.encode = ImageFeatures(config.image_features) if config.image_features else None
        for index in range(len(config.widths)):
            self.add_module(f"block{index}", _block(config, index))
        self.teacher = _teacher(config) if config.teacher_width else None
        self.pyramid = FeaturePyramid(config.pyramid) if config.pyramid else None
        channels = config.matching_scales * config.matching_window**4
        self.motion = MotionFeatures(channels, config.motion_features) if config.motion_features else None

    def forward(
        self,
        past: Tensor,
        future: Tensor,
        time: Tensor,
        quality: Tensor | None = None,
        features: tuple[Tensor, Tensor] | None = None,
    ) -> list[Motion]:
        """The motion after each block, in full-size pixels; past, future (B,3,H,W), time (B,1,H,W) in (0,1).

        `features` are what `features` answers, where that is known. A network without fine blocks tells only the last
        motion unless it is training.
        """
        full = (past.shape[-2], past.shape[-1])
        if not self.config.fine_scales:  # nothing looks at the full pictures, so not even features are made of them
            small = self.coarse_size(*full)
            past, future, time = resize(past, small), resize(future, small), resize(time, small)
        refs = self._references(past, future, time, features)
        steps: list[Motion] = []
        if self.config.coarse_blocks:
            steps = self._steps(steps, self.config.coarse_scales, refs.at(self.coarse_size(*full)), quality)
            wanted = self._wanted(steps)
            steps = [wanted[-1].at(full)] * len(wanted) if self.tile else [step.at(full) for step in wanted]
        return self._steps(steps, self._fine_scales(*full), refs, quality)

    def features(self, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor] | None:
        """Image features (B,C,H,W) of both references; None where no block sees those of full pictures."""
        if self.encode is None or not self.config.fine_scales:
            return None
        return self.encode(past), self.encode(future)

    def teach(
        self,
        past: Tensor,
        future: Tensor,
        time: Tensor,
        motion: Motion,
        target: Tensor,
        *,
        features: tuple[Tensor, Tensor] | None = None,
        warped: tuple[Tensor, Tensor] | None = None,
    ) -> Motion:
        """The motion refined with sight of the current frame, target (B,3,H,W) (paper 3.5).

        Both references' `features`, and both `warped` along the motion, are made if they are not given.
        ValueError without a teacher block. The trained teacher came without code: that it sees the target behind the
        warped pictures was found by trying all places, by far the best of which this is.
        """
        if self.teacher is None:
            raise ValueError("this network was built without a teacher block")
        refs = self._references(past, future, time, features)
        if warped is None or self.encode is None:
            pictures, sampled = refs.warped(motion.flow)
        else:
            sides = zip(refs[2:4], motion.flow.chunk(2, 1), strict=True)
            pictures, sampled = torch.cat(warped, 1), torch.cat([warp(*side) for side in sides], 1)
        x = torch.cat([pictures, target, sampled, time, motion.mask, motion.hidden], 1)
        return self._refined(motion, self._answer(self.teacher, x, motion.flow, 1), time)

    def coarse_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the coarse picture: short side about a, multiples of what the coarsest block needs (paper 3.3)."""
        short = self.config.coarse_short_side
        multiple = BLOCK_MULTIPLE * max(self.config.coarse_scales)
        # In whole numbers and without a condition, so that an exported network can tell it from a picture's size.
        least = math.ceil(short / self.config.coarse_ratio)
        divisor = cast(int, torch.sym_max(torch.sym_min(height, width), least)) * multiple
        rows, columns = ((side * short + divisor - 1) // divisor for side in (height, width))  # up; ONNX has no floor
        return rows * multiple, columns * multiple

    def _wanted(self, steps: list[Motion]) -> list[Motion]:
        """The coarse motions that are worth enlarging, which for a small network is a good part of the work.

        With fine blocks these are all. Without, only training looks at any but the last, and features nobody.
        """
        if self.config.fine_scales:
            return steps
        last = steps if self.training else steps[-1:]
        return last if self.teacher is not None else [step._replace(hidden=step.hidden[:, :0]) for step in last]

    def _fine_scales(self, height: int, width: int) -> tuple[int, ...]:
        """K_f for a picture (paper 3.3)."""
        config = self.config
        if not config.coarse_blocks:
            return config.fine_scales
        # Again without a condition: 1 where the coarse picture is smaller than half, else 0.
        far = cast(int, torch.sym_min((height - 1) // (2 * self.coarse_size(height, width)[0]), 1))
        return tuple(k + far * (f - k) for k, f in zip(config.fine_scales, config.fine_scales_far, strict=True))

    def _references(
        self, past: Tensor, future: Tensor, time: Tensor, features: tuple[Tensor, Tensor] | None = None
    ) -> References:
        if self.encode is None:
            return References(past, future, past[:, :0], future[:, :0], time)
        if features is None:
            features = self.encode(past), self.encode(future)
        return References(past, future, *features, time)

    def _steps(
        self, before: list[Motion], scales: tuple[int, ...], refs: References, quality: Tensor | None
    ) -> list[Motion]:
        """The motions before and those of the blocks that come next, one a scale, on pictures of one size."""
        steps = list(before)
        guide = None
        if self.pyramid is not None and scales and _is_guided(self.config, len(steps)):
            guide = Guide(refs.past, refs.future, self.config, pyramid=self.pyramid, motion=self.motion)
        for scale in scales:
            steps.append(self._step(len(steps), scale, refs, steps[-1] if steps else None, quality, guide))
            if self.tile:
                steps = [steps[-1]] * len(steps)  # the last stands for those before, which nobody asks for
        return steps

    def _step(
        self,
        index: int,
        scale: int,
        refs: References,
        motion: Motion | None,
        quality: Tensor | None,
        guide: Guide | None,
    ) -> Motion:
        block: IFBlock = getattr(self, f"block{index}")
        flow = None if motion is None else motion.flow
        image, features = guide(_level(self.config, index), flow) if guide is not None else (None, None)
        if motion is None:
            x = torch.cat(refs, 1)
        else:
            x = torch.cat([*refs.warped(motion.flow), refs.time, motion.mask, motion.hidden], 1)
        if guide is None and index >= self.config.coarse_blocks:
            return self._refined(motion, self._answer(block, x, flow, scale, quality), refs.time)
        return self._refined(motion, block(x, flow, scale, image=image, motion=features, quality=quality), refs.time)

    def _answer(
        self, block: IFBlock, x: Tensor, flow: Tensor | None, scale: int, quality: Tensor | None = None
    ) -> Motion:
        """What a block on the full pictures, without correspondences, answers; by tiles if so wished."""

        def answer(x: Tensor, flow: Tensor | None = None) -> Tensor:
            return torch.cat(block(x, flow, scale, quality=quality), 1)

        found = by_tiles(answer, [x] if flow is None else [x, flow], self.tile, SEES * scale)
        return Motion(found[:, :FLOW], found[:, FLOW : FLOW + MASK], found[:, FLOW + MASK :])

    def _refined(self, motion: Motion | None, delta: Motion, time: Tensor) -> Motion:
        """The motion after a block that answered delta: flows add up, mask and features are new.

        In extrapolation a block answers (dF01, F_t1), and F_t0 = dF01 + F_t1 / (1 - time), which at time 1/2, the
        next frame, is the paper's 2 F_t1 + dF01 (A.3). This being linear, it holds for the sums as for each delta.
        """
        flow = delta.flow
        if self.config.task == "extrapolation":
            flow = torch.cat([flow[:, :2] + flow[:, 2:] / (1 - time), flow[:, 2:]], 1)
        return Motion(flow if motion is None else motion.flow + flow, delta.mask, delta.hidden)


def _inputs(config: NcmConfig) -> int:
    """Channels of what every block sees of the references: both pictures, both features, time."""
    return 6 + 2 * config.image_features + 1


def _block(config: NcmConfig, index: int) -> IFBlock:
    guided = _is_guided(config, index)
    answers = config.last_features or index < len(config.widths) - 1
    return IFBlock(
        _inputs(config) + (MASK + HIDDEN + FLOW if index else 0),
        config.widths[index],
        depth=config.depths[index] if config.depths else 8,
        image=2 * config.pyramid[_level(config, index)] if guided else 0,
        motion=config.motion_features if guided else 0,
        quality=QUALITY_WIDTH if config.quality_input else 0,
        hidden=HIDDEN if answers else 0,
        double=config.double_resolution,
    )


def _teacher(config: NcmConfig) -> IFBlock:
    return IFBlock(_inputs(config) + MASK + HIDDEN + FLOW + 3, config.teacher_width, double=config.double_resolution)


def _is_guided(config: NcmConfig, index: int) -> bool:
    """Whether a block sees pyramid and correspondences: the coarse ones do, the fine ones in one ablation."""
    return bool(config.pyramid) and (index < config.coarse_blocks or config.fine_matching)


def _level(config: NcmConfig, index: int) -> int:
    """The pyramid's level for a block: that of its scale. A fine block sees the same one, resized, at K_f = (2, 1)."""
    coarse = config.coarse_scales[: config.coarse_blocks]
    return (*coarse, *config.fine_scales)[index].bit_length() - 1
