# SPDX-License-Identifier: MIT
"""B-frames from the two decoded pictures around them: planes in, network, planes out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ncm import Prediction

from ..bitstream.syntax import FULL_STRENGTH
from ..bitstream.units import BFramePacket
from ..device import repeatable
from ..errors import StreamError
from ..video.colour import Planes, crop_planes, in_levels, packed, rgb_to_planes, rounded, unpacked, yuv_to_rgb
from ..video.metrics import rgb_of
from ..video.picture import VideoInfo, Yuv420, pad
from .model import Model
from .records import Choice, GiveUp, Interval, Score

if TYPE_CHECKING:  # CompressAI takes seconds to import
    from .block_motion import Blocks


class Predictor:
    """Predict B-frames of one video with one model; `BFrameCoder` also reads and writes what corrects them."""

    def __init__(self, model: Model, info: VideoInfo) -> None:
        self.model = model
        self.info = info
        self.device = next(model.network.parameters()).device

    @repeatable
    @torch.no_grad()
    def reference(self, picture: Yuv420) -> Tensor:
        """A picture as a reference: RGB (1,3,H,W), padded as the network needs it, on the network's device."""
        return yuv_to_rgb(pad(picture, self.model.network.multiple), self.info.colour, self.device)

    @property
    def has_postfilter(self) -> bool:
        """Whether the model can filter decoded anchors."""
        return self.model.codec is not None and self.model.codec.postfilter is not None

    @repeatable
    @torch.no_grad()
    def change(self, picture: Yuv420, noise: float) -> Planes:
        """What the model's filter would add to a decoded anchor, in levels; `noise` is the RMS error of the anchors.

        StreamError if the model has no filter.
        """
        if self.model.codec is None or self.model.codec.postfilter is None:
            raise StreamError(f"model {self.model.name!r} has no filter for anchors")
        peak = (1 << self.info.bit_depth) - 1
        y, u, v = (plane / peak for plane in in_levels(pad(picture, 2), self.device))
        change = self.model.codec.postfilter(packed((y, u, v)), torch.tensor([noise], device=self.device)) * peak
        return crop_planes(unpacked(change), self.info.width, self.info.height)

    def changed(self, picture: Yuv420, change: Planes, strengths: Sequence[int]) -> Yuv420:
        """An anchor and so many eighths of the change to each of its planes."""
        planes = zip(in_levels(picture, self.device), change, strengths, strict=True)
        y, u, v = (plane + added * (strength / FULL_STRENGTH) for plane, added, strength in planes)
        return self._rounded((y, u, v))

    @repeatable
    @torch.no_grad()
    def predict(self, past: Tensor, future: Tensor, time: float, noise: float) -> Yuv420:
        """The B-frame at `time` in (0,1) between two references; `noise` is their RMS error, 0 if unknown."""
        return self._shown(self._prediction(past, future, time, noise).frame)

    def write(
        self,
        interval: Interval,
        source: Yuv420,
        poc: int,
        *,
        slope: float,
        score: Score | None = None,
        effort: int = 0,
        structural: bool = False,
        give_up: GiveUp | None = None,
        start: "Blocks | None" = None,
    ) -> Choice:
        """The prediction as the choice, without a payload, at its score in bits a pixel: this model codes no payloads.

        Without `score`, that is slope * MSE of RGB in [0,1] against the source. The other arguments change nothing.
        """
        picture = self.predict(*interval[:4])
        cost = self._score(score, slope, source)(picture)
        return Choice(picture, None, [], cost, cost)

    def _score(self, score: Score | None, slope: float, source: Yuv420) -> Score:
        """The score that is given, else slope * MSE of RGB against a source."""
        return score or (lambda picture: slope * self._error(source, picture))

    def _error(self, source: Yuv420, shown: Yuv420) -> float:
        """Mean squared error of RGB in [0,1], as it will be measured."""
        return float((rgb_of(source, self.info.colour) - rgb_of(shown, self.info.colour)).square().mean())

    def read(self, interval: Interval, packet: BFramePacket) -> Yuv420:
        """The B-frame that a payload describes. StreamError if it cannot be read."""
        raise StreamError(f"model {self.model.name!r} reads no B-frame payloads")

    def _prediction(self, past: Tensor, future: Tensor, time: float, noise: float) -> Prediction:
        return self.model.network(past, future, time, torch.tensor([noise], device=self.device))

    def _planes(self, rgb: Tensor) -> Planes:
        """Y, U and V of a padded picture, in levels, without the padding."""
        return crop_planes(rgb_to_planes(rgb, self.info.colour, self.info.bit_depth), self.info.width, self.info.height)

    def _rounded(self, planes: Planes) -> Yuv420:
        return rounded(planes, self.info.bit_depth)

    def _shown(self, rgb: Tensor) -> Yuv420:
        return self._rounded(self._planes(rgb))
