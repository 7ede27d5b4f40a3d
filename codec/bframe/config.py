# SPDX-License-Identifier: MIT
"""Sizes of the B-frame codec."""

from dataclasses import dataclass

from ..learned.latents import check_lambdas, quantiser_step
from .loop_filter import LoopFilterConfig
from .postfilter import PostFilterConfig


@dataclass(frozen=True, kw_only=True)
class BFrameConfig:
    """Sizes of a B-frame codec. An unknown key is a TypeError, a value that makes no sense a ValueError."""

    widths: tuple[int, ...] = (32, 48, 64)  # contexts and features at 1/2, 1/4, 1/8; the small coder has no first
    latents: int = 96  # channels at 1/8
    hyper: int = 32  # channels at 1/32
    coder_width: int = 64  # within the entropy model of the frame
    scale_width: int = 0  # the same of its exact part; 0 = as wide
    motion_latents: int = 0  # channels of the coded motion residual; 0 = motion is as NCM predicts it
    motion_width: int = 32  # features of the motion coder and its entropy model
    postfilter_width: int = 0  # features of the filter of decoded anchors; 0 = there is none
    postfilter_blocks: int = 4
    loop_filter_width: int = 0  # features of the filter of decoded B-frames; 0 = there is none
    loop_filter_blocks: int = 5
    lambdas: tuple[float, ...] = (32, 64, 128, 256, 512, 1024, 2048, 4096)  # one a quality: lambda * MSE + bpp

    def __post_init__(self) -> None:
        if len(self.widths) not in (2, 3):
            raise ValueError(f"widths is {self.widths}; there are three scales, or two in the small coder")
        check_lambdas(self.lambdas)

    @property
    def small(self) -> bool:
        """Whether contexts and residual are those of the small coder."""
        return len(self.widths) == 2

    @property
    def postfilter(self) -> PostFilterConfig | None:
        """Sizes of the filter of decoded anchors, if there is one."""
        width, blocks = self.postfilter_width, self.postfilter_blocks
        return PostFilterConfig(width=width, blocks=blocks) if width else None

    @property
    def loop_filter(self) -> LoopFilterConfig | None:
        """Sizes of the filter of decoded B-frames, if there is one."""
        width, blocks = self.loop_filter_width, self.loop_filter_blocks
        return LoopFilterConfig(width=width, blocks=blocks) if width else None

    @property
    def step(self) -> float:
        """The frame's quantiser step to begin with."""
        return quantiser_step(self.lambdas)
