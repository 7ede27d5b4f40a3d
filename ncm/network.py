# SPDX-License-Identifier: MIT
"""The whole network: two references in, the frame between them out (Jia 2022, Fig. 3)."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .config import NcmConfig
from .estimator import QUALITY_WIDTH, CoarseToFine
from .ifblock import Motion
from .rife40 import Rife40Flow
from .subpixel import SubpixelSynthesis
from .synthesis import Synthesis, blend
from .warp import warp


class Prediction(NamedTuple):
    """The frame (B,3,H,W), nominally in [0,1], and the motion after each block; the frame was made with the last.

    Without fine blocks (`lite`) the earlier motions are there in training only. What else was made on the way, where
    it is known: both references `warped` (B,3,H,W) along the last motion, and their image `features` (B,C,H,W).
    """

    frame: Tensor
    steps: list[Motion]
    warped: tuple[Tensor, Tensor] | None = None
    features: tuple[Tensor, Tensor] | None = None

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
        self.tile = 0  # pixels; see `in_tiles`
        quality = QUALITY_WIDTH if config.quality_input else 0
        self.flow = Rife40Flow(config.widths) if config.estimator == "rife40" else CoarseToFine(config)
        self.synthesis = _synthesis(config, quality)
        self.quality = QualityEmbedding() if quality else None

    def forward(
        self, past: Tensor, future: Tensor, time: float | Tensor = 0.5, noise: Tensor | None = None
    ) -> Prediction:
        """The frame between past and future (B,3,H,W), nominally in [0,1] and not clipped; H, W multiples of 32.

        time in (0,1), a number or (B,); noise (B,) is the RMS error of the references in [0,1] units, absent = clean.
        In extrapolation `past` and `future` are the older and the newer reference, the frame comes after both, and
        time tells how far the newer one is on the way from the older one to the frame: 1/2 for the next frame.
        ValueError if the sizes do not fit. Source: paper, section 3; A.1 for flips, A.3 for extrapolation.
        """
        if past.shape != future.shape or past.shape[-1] % self.multiple or past.shape[-2] % self.multiple:
            shapes = f"{tuple(past.shape)} and {tuple(future.shape)}"
            raise ValueError(f"references of {shapes}: not alike or not multiples of {self.multiple}")
        quality, plane = self.embed_quality(past, noise), time_plane(past, time)
        prediction = self._predict(past, future, plane, quality)
        if self.config.flip_average and not self.training:
            prediction = _mean(prediction, _turned(self._predict(_turn(past), _turn(future), plane, quality)))
        return prediction

    def _predict(self, past: Tensor, future: Tensor, time: Tensor, quality: Tensor | None) -> Prediction:
        features = self.flow.features(past, future) if isinstance(self.flow, CoarseToFine) else None
        known = () if features is None else (features,)
        steps = self.flow(past, future, time, quality, *known)
        warped = warped_along(past, future, steps[-1])
        half = self.config.half_synthesis and not self.training
        with torch.autocast(past.device.type, torch.bfloat16) if half else nullcontext():
            frame = self.synthesis(past, future, *warped, steps[-1].flow, steps[-1].mask, quality)
        return Prediction(frame, steps, warped, features)

    def in_tiles(self, side: int) -> None:
        """Make predictions from now on by tiles of about so many pixels a side, 0 for all at once.

        They differ by rounding alone, and take less memory. The small networks have no parts that gain by it.
        """
        self.tile = side
        for part in (self.flow, self.synthesis):
            if isinstance(part, CoarseToFine | Synthesis):
                part.tile = side

    def embed_quality(self, past: Tensor, noise: Tensor | None) -> Tensor | None:
        """The embedding (B,16) of the references' noise (B,), absent = clean; None if there is no such input."""
        if self.quality is None:
            return None
        return self.quality(past.new_zeros(past.shape[0]) if noise is None else noise)


def _synthesis(config: NcmConfig, quality: int) -> nn.Module:
    if config.synthesis == "subpixel":
        return SubpixelSynthesis(config.context_width, quality=quality)
    return Synthesis(config.context_width, quality=quality, double=config.double_resolution)


def _turn(x: Tensor) -> Tensor:
    """(B,C,H,W) upside down: flipped vertically and horizontally."""
    return x.flip(-2, -1)


def _turned(prediction: Prediction) -> Prediction:
    """The prediction for pictures that were upside down, turned back; their flows point the other way."""
    steps = [Motion(-_turn(flow), _turn(mask), _turn(hidden)) for flow, mask, hidden in prediction.steps]
    return Prediction(_turn(prediction.frame), steps)


def _mean(one: Prediction, other: Prediction) -> Prediction:
    steps = [
        Motion(*((a + b) / 2 for a, b in zip(*pair, strict=True))) for pair in zip(one.steps, other.steps, strict=True)
    ]
    return Prediction((one.frame + other.frame) / 2, steps)


def time_plane(past: Tensor, time: float | Tensor) -> Tensor:
    """The time as a plane (B,1,H,W) for pictures past (B,C,H,W)."""
    value = torch.as_tensor(time, dtype=past.dtype, device=past.device).reshape(-1, 1, 1, 1)
    return value.expand(past.shape[0], 1, *past.shape[-2:])


def warped_along(past: Tensor, future: Tensor, motion: Motion) -> tuple[Tensor, Tensor]:
    """Both references (B,C,H,W) along a motion, past first."""
    return warp(past, motion.flow[:, :2]), warp(future, motion.flow[:, 2:])


def blend_of(past: Tensor, future: Tensor, motion: Motion) -> Tensor:
    """The blend (B,3,H,W) of both references along a motion, without synthesis (paper, equation 1)."""
    return blend(*warped_along(past, future, motion), motion.mask)


def build(config: NcmConfig) -> FrameSynthesis:
    """A network of the given sizes with fresh weights, ready for inference; every addition to RIFE starts at zero."""
    return FrameSynthesis(config).eval()
