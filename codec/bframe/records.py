# SPDX-License-Identifier: MIT
"""Records of one B-frame: its references and anchors, the attempts to code it, and what was chosen."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ..bitstream.units import BFramePacket
from ..video.picture import Yuv420

if TYPE_CHECKING:  # CompressAI takes seconds to import
    from .block_motion import Blocks


class Anchor(NamedTuple):
    """A decoded anchor: as its codec left it, the same on every machine, and as it is shown, perhaps filtered."""

    decoded: Yuv420
    shown: Yuv420


class Interval(NamedTuple):
    """Where a B-frame stands: its references, `span` pictures apart, its `time` between them in (0,1), and its anchors.

    References are RGB (1,3,H,W), padded as the network needs it; `noise` is the RMS error of the anchors in [0,1] RGB,
    0 if unknown. The anchors, as decoded, are what the references show, or further away where those are B-frames.
    """

    past: Tensor
    future: Tensor
    time: float
    noise: float
    anchor_pictures: tuple[Yuv420, Yuv420]
    span: int


class Trial(NamedTuple):
    """A B-frame as one attempt codes it: cost in bits a pixel, distortion included; error in MSE of RGB."""

    picture: Yuv420
    mode: int
    data: bytes
    cost: float
    error: float


class Choice(NamedTuple):
    """A B-frame as it will be shown, and its payload; None if the prediction is better or nothing would be sent.

    `trials` are what was tried, in order, the prediction left out. `cost` is in bits a pixel, distortion included;
    `free` that of the prediction. `blocks` are the motion-compensated blocks that were found, if any were.
    """

    picture: Yuv420
    packet: BFramePacket | None
    trials: list[Trial]
    cost: float
    free: float
    blocks: "Blocks | None" = None


GiveUp = Callable[[float], bool]  # whether the score of a prediction says that no payload will pay
Score = Callable[[Yuv420], float]  # what the distortion of a decoded picture costs, in bits a pixel
