# SPDX-License-Identifier: MIT
"""Records of one B-frame: its references and anchors, the attempts to code it, and what was chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..bitstream.units import BFramePacket
from ..video.picture import Yuv420

if TYPE_CHECKING:  # CompressAI takes seconds to import
    from .block_motion import Blocks

BLOCKS, FILTERS, LOOP_FILTER = 2, 4, 8  # modes of payloads: sums of what they have; 1 was blocks with hard edges


class Anchor(NamedTuple):
    """A decoded anchor: as its codec left it, the same on every machine, and as it is shown, perhaps filtered."""

    decoded: Yuv420
    shown: Yuv420


class Interval(NamedTuple):
    """Where a B-frame stands: its references, `span` pictures apart, its `time` between them in (0,1), and its anchors.

    References are pictures as they are shown; `noise` is the RMS error of the anchors in [0,1] RGB, 0 if unknown. The
    anchors, as decoded, are what the references show, or further away where those are B-frames.
    """

    past: Yuv420
    future: Yuv420
    time: float
    noise: float
    anchor_pictures: tuple[Yuv420, Yuv420]
    span: int

    @property
    def weight(self) -> float:
        """How much more errors of this B-frame weigh than those of one that no other refers to: others take them over.

        Twice as much for each doubling of the span, a frame in the middle of three or more being a reference itself.
        """
        return max(1.0, self.span / 2)


class Trial(NamedTuple):
    """A B-frame as one attempt codes it: cost in bits a pixel, weighed score included; error in MSE of RGB."""

    picture: Yuv420
    mode: int
    data: bytes
    cost: float
    score: float
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


@dataclass(frozen=True, kw_only=True)
class ToWrite:
    """A B-frame to code: a source picture, the place where it stands, and what its bits are worth.

    It is sent if score + bits a pixel is less with a payload than without, and written for a `slope`. The score is
    slope * MSE of RGB unless another is given; if that is of structure, `structural` weighs errors by pixel as it does.
    `effort` is the number of steps of gradient descent on the latents; the best of all attempts is taken. Nothing is
    tried if `give_up` says so of the prediction's score. Blocks to `start` from were found for the same picture
    between others much like these references.
    """

    interval: Interval
    source: Yuv420
    poc: int
    slope: float
    score: Score | None = None
    effort: int = 0
    structural: bool = False
    give_up: GiveUp | None = None
    start: "Blocks | None" = None
