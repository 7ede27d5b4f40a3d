# SPDX-License-Identifier: MIT
"""What matching tells the blocks: image features f_I and motion features f_M (Jia 2022, 3.2 and Fig. 5, right)."""

import torch
from torch import Tensor

from .config import NcmConfig
from .features import FeaturePyramid, MotionFeatures
from .matching import match_along, match_neighbours
from .warp import resize_flow, warp


class Guide:
    """The pyramids of two pictures (B,3,h,w) and their correspondences, asked once by every block on that size."""

    def __init__(
        self,
        past: Tensor,
        future: Tensor,
        config: NcmConfig,
        *,
        pyramid: FeaturePyramid,
        motion: MotionFeatures | None,
    ) -> None:
        self.config, self.motion = config, motion
        self.past, self.future = pyramid(past), pyramid(future)
        self.fixed: Tensor | None = None  # correspondences around each pixel: one matching for all blocks
        if motion is not None and not config.matching_along_flow:
            self.fixed = match_neighbours(
                self.past[-1], self.future[-1], scales=config.matching_scales, window=config.matching_window
            )

    def __call__(self, level: int, flow: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """f_I, level `level` of both pyramids warped (B,2C,h/2^level,w/2^level), and f_M (B,C,h/8,w/8).

        flow (B,4,.,.), in pixels of its own size, is what the blocks know so far; absent in the first one.
        """
        past, future = self.past[level], self.future[level]
        if flow is not None:
            here = resize_flow(flow, (past.shape[-2], past.shape[-1]))
            past, future = warp(past, here[:, :2]), warp(future, here[:, 2:])
        return torch.cat([past, future], 1), self._motion_features(flow)

    def _motion_features(self, flow: Tensor | None) -> Tensor | None:
        if self.motion is None:
            return None
        past, future = self.past[-1], self.future[-1]
        size = (past.shape[-2], past.shape[-1])
        small = past.new_zeros(past.shape[0], 4, *size) if flow is None else resize_flow(flow, size)
        corr = self.fixed
        if corr is None:
            scales, window = self.config.matching_scales, self.config.matching_window
            corr = match_along(past, future, small, scales=scales, window=window)
        return self.motion(corr, small)
