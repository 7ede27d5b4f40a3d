# SPDX-License-Identifier: MIT
"""The whole network: two references in, the frame between them out (Jia 2022, Fig. 3)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import NcmConfig
from .estimator import QUALITY_WIDTH, CoarseToFine
from .ifblock import Motion
from .rife40 import Rife40Flow
from .synthesis import Synthesis, blend
from .warp import warp


class Prediction(NamedTuple):
    """The frame (B,3,H,W) in [0,1] and the motion after each block, the last one being what the frame was made with."""

    frame: Tensor
    steps: list[Motion]

    @property
    def motion(self) -> Motion:
        """Flow (pixels), mask logit and features after the last block."""
        return self.steps[-1]


class QualityEmbedding(nn.Module):
    """(B,) RMS error of the references, in [0,1] units, 0 = clean -> (B,16)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, QUALITY_WIDTH)

    def forward(self, noise: Tensor) -> Tensor:
        level = 20 * noise  # about 1 at 26 dB
        return torch.tanh(self.linear(torch.stack([level, level**2, level.sqrt()], 1)))


class FrameSynthesis(nn.Module):
    """Estimate intermediate flow between two references and synthesise the frame at time t."""

    multiple = 32  # heights and widths must divide by this; whoever has the picture pads it

    def __init__(self, config: NcmConfig) -> None:
        super().__init__()
        self.config = config
        quality = QUALITY_WIDTH if config.quality_input else 0
        self.flow = Rife40Flow(config.widths) if config.estimator == "rife40" else CoarseToFine(config)
        self.synthesis = Synthesis(config.context_width, quality=quality)
        self.quality = QualityEmbedding() if quality else None

    def forward(
        self, past: Tensor, future: Tensor, time: float | Tensor = 0.5, noise: Tensor | None = None
    ) -> Prediction:
        """The frame between past and future (B,3,H,W) in [0,1], H and W multiples of 32.

        time in (0,1), a number or (B,); noise (B,) is the RMS error of the references in [0,1] units, absent = clean.
        ValueError if the sizes do not fit. Source: paper, section 3.
        """
        if past.shape != future.shape or past.shape[-1] % self.multiple or past.shape[-2] % self.multiple:
            shapes = f"{tuple(past.shape)} and {tuple(future.shape)}"
            raise ValueError(f"references of {shapes}: not alike or not multiples of {self.multiple}")
        quality = self.embed_quality(past, noise)
        steps = self.flow(past, future, time_plane(past, time), quality)
        motion = steps[-1]
        return Prediction(self.synthesis(past, future, motion.flow, motion.mask, quality), steps)

    def embed_quality(self, past: Tensor, noise: Tensor | None) -> Tensor | None:
        """The embedding (B,16) of the references' noise (B,), absent = clean; None if there is no such input."""
        if self.quality is None:
            return None
        return self.quality(past.new_zeros(past.shape[0]) if noise is None else noise)


def time_plane(past: Tensor, time: float | Tensor) -> Tensor:
    """The time as a plane (B,1,H,W) for pictures past (B,C,H,W)."""
    value = torch.as_tensor(time, dtype=past.dtype, device=past.device).reshape(-1, 1, 1, 1)
    return value.expand(past.shape[0], 1, *past.shape[-2:])


def blend_of(past: Tensor, future: Tensor, motion: Motion) -> Tensor:
    """The blend (B,3,H,W) of both references along a motion, without synthesis (paper, equation 1)."""
    return blend(warp(past, motion.flow[:, :2]), warp(future, motion.flow[:, 2:]), motion.mask)


def build(config: NcmConfig) -> FrameSynthesis:
    """A network of the given sizes with fresh weights, ready for inference; every addition to RIFE starts at zero."""
    return FrameSynthesis(config).eval()
