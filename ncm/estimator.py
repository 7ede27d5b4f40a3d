# SPDX-License-Identifier: MIT
"""Intermediate flow, coarse to fine (Jia 2022, 3.3): matching blocks on a small picture, plain ones on the full one."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import NcmConfig
from .features import FeaturePyramid, ImageFeatures, MotionFeatures
from .ifblock import FLOW, HIDDEN, MASK, IFBlock, Motion
from .matching import match_neighbours
from .warp import resize, resize_flow, warp

QUALITY_WIDTH = 16
COARSE_MULTIPLE = 16  # the coarsest block (K = 4) halves its input twice more


class References(NamedTuple):
    """Both references at one size: pictures (B,3,H,W), their features (B,C,H,W), and the time plane (B,1,H,W)."""

    past: Tensor
    future: Tensor
    past_features: Tensor
    future_features: Tensor
    time: Tensor

    def at(self, size: tuple[int, int]) -> "References":
        """The same at another size."""
        return References(*(resize(x, size) for x in self))

    def warped(self, flow: Tensor) -> Tensor:
        """Pictures, then features, of past and future sampled along flow (B,4,H,W)."""
        past = warp(torch.cat([self.past, self.past_features], 1), flow[:, :2])
        future = warp(torch.cat([self.future, self.future_features], 1), flow[:, 2:])
        return torch.cat([past[:, :3], future[:, :3], past[:, 3:], future[:, 3:]], 1)


class Pyramids(NamedTuple):
    """What matching knows of the coarse pictures: both pyramids and their correspondences."""

    past: list[Tensor]
    future: list[Tensor]
    correspondences: Tensor


class CoarseToFine(nn.Module):
    """Flow and mask between two references, one IFBlock after the other."""

    def __init__(self, config: NcmConfig) -> None:
        super().__init__()
        self.config = config
        features = config.image_features
        first, later = 6 + 2 * features + 1, 6 + 2 * features + 1 + MASK + HIDDEN + FLOW
        quality = QUALITY_WIDTH if config.quality_input else 0
        self.encode = ImageFeatures(features)
        for index, width in enumerate(config.widths):
            coarse = index < config.coarse_blocks and bool(config.pyramid)
            level = config.coarse_scales[index].bit_length() - 1 if coarse else 0
            block = IFBlock(
                later if index else first,
                width,
                image=2 * config.pyramid[level] if coarse else 0,
                motion=config.motion_features if coarse else 0,
                quality=quality,
            )
            self.add_module(f"block{index}", block)
        self.teacher = IFBlock(later + 3, config.teacher_width) if config.teacher_width else None
        self.pyramid = FeaturePyramid(config.pyramid) if config.pyramid else None
        channels = config.matching_scales * config.matching_window**4
        self.motion = MotionFeatures(channels, config.motion_features) if config.motion_features else None

    def forward(self, past: Tensor, future: Tensor, time: Tensor, quality: Tensor | None = None) -> list[Motion]:
        """The motion after each block, in full-size pixels; past, future (B,3,H,W), time (B,1,H,W) in (0,1)."""
        refs = References(past, future, self.encode(past), self.encode(future), time)
        steps: list[Motion] = []
        if self.config.coarse_blocks:
            steps = self._coarse(refs, quality)
        scales = self.config.fine_scales
        if self.config.coarse_blocks and self._is_far(refs.past):
            scales = self.config.fine_scales_far
        for index, scale in enumerate(scales, start=self.config.coarse_blocks):
            steps.append(self._step(index, scale, refs, steps[-1] if steps else None, quality))
        return steps

    def teach(self, past: Tensor, future: Tensor, time: Tensor, motion: Motion, target: Tensor) -> Motion:
        """The motion refined with sight of the current frame, target (B,3,H,W) (paper 3.5)."""
        if self.teacher is None:
            raise ValueError("this network was built without a teacher block")
        refs = References(past, future, self.encode(past), self.encode(future), time)
        x = torch.cat([refs.warped(motion.flow), time, motion.mask, motion.hidden, target], 1)
        delta = self.teacher(x, motion.flow, 1)
        return Motion(motion.flow + delta.flow, delta.mask, delta.hidden)

    def coarse_size(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the coarse picture: short side about a, a multiple of 16 (paper 3.3)."""
        short = min(height, width)
        ratio = min(self.config.coarse_ratio, self.config.coarse_short_side / short)
        return _round_up(height * ratio, COARSE_MULTIPLE), _round_up(width * ratio, COARSE_MULTIPLE)

    def _is_far(self, picture: Tensor) -> bool:
        height, width = picture.shape[-2:]
        return self.coarse_size(height, width)[0] / height < 0.5

    def _coarse(self, refs: References, quality: Tensor | None) -> list[Motion]:
        full = (refs.past.shape[-2], refs.past.shape[-1])
        small = refs.at(self.coarse_size(*full))
        pyramids = self._match(small)
        steps: list[Motion] = []
        for index, scale in enumerate(self.config.coarse_scales):
            steps.append(self._step(index, scale, small, steps[-1] if steps else None, quality, pyramids))
        return [Motion(resize_flow(m.flow, full), resize(m.mask, full), resize(m.hidden, full)) for m in steps]

    def _match(self, refs: References) -> Pyramids | None:
        if self.pyramid is None:
            return None
        past, future = self.pyramid(refs.past), self.pyramid(refs.future)
        scales, window = self.config.matching_scales, self.config.matching_window
        return Pyramids(past, future, match_neighbours(past[-1], future[-1], scales=scales, window=window))

    def _step(
        self,
        index: int,
        scale: int,
        refs: References,
        motion: Motion | None,
        quality: Tensor | None,
        pyramids: Pyramids | None = None,
    ) -> Motion:
        block: IFBlock = getattr(self, f"block{index}")
        image, features = self._guide(scale, motion, pyramids)
        if motion is None:
            x = torch.cat(refs, 1)
            return block(x, None, scale, image=image, motion=features, quality=quality)
        x = torch.cat([refs.warped(motion.flow), refs.time, motion.mask, motion.hidden], 1)
        delta = block(x, motion.flow, scale, image=image, motion=features, quality=quality)
        return Motion(motion.flow + delta.flow, delta.mask, delta.hidden)

    def _guide(
        self, scale: int, motion: Motion | None, pyramids: Pyramids | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """The paper's f_I (both pyramids at 1/scale, warped) and f_M for one block."""
        if pyramids is None:
            return None, None
        level = scale.bit_length() - 1
        past, future = pyramids.past[level], pyramids.future[level]
        corr = pyramids.correspondences
        flow = corr.new_zeros(corr.shape[0], 4, *corr.shape[-2:])
        if motion is not None:
            here = resize_flow(motion.flow, (past.shape[-2], past.shape[-1]))
            past, future = warp(past, here[:, :2]), warp(future, here[:, 2:])
            flow = resize_flow(motion.flow, (corr.shape[-2], corr.shape[-1]))
        return torch.cat([past, future], 1), self.motion(corr, flow) if self.motion is not None else None


def _round_up(value: float, multiple: int) -> int:
    return max(multiple, -int(-value // multiple) * multiple)
