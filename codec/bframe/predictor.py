# SPDX-License-Identifier: MIT
"""B-frames from the two decoded pictures around them: planes in, network, planes out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ncm import Prediction

from ..bitstream.units import BFramePacket
from ..device import repeatable
from ..errors import StreamError
from ..video.colour import (
    Planes,
    all_in_levels,
    all_rounded,
    crop_planes,
    planes_to_rgb,
    rgb_to_planes,
    rounded,
)
from ..video.picture import VideoInfo, Yuv420, pad
from .anchor_filter import AnchorFilter
from .judge import Judge
from .model import Model
from .neighbour_filter import NeighbourFilter
from .records import Choice, Interval, ToWrite


class Predictor:
    """Predict B-frames of one video with one model; `BFrameCoder` also reads and writes what corrects them.

    `anchor_filter` is None if the model has no filter; `neighbours`, if given, is what it filters anchors with that
    have neighbours.
    """

    def __init__(self, model: Model, info: VideoInfo, neighbours: NeighbourFilter | None = None) -> None:
        self.model = model
        self.info = info
        self.device = model.device
        alone = model.codec.postfilter if model.codec is not None else None
        if neighbours is not None and neighbours.network is not None:
            neighbours.network.in_tiles(model.network.tile)
        self.anchor_filter = None if alone is None else AnchorFilter(alone, neighbours, info, half=model.half)

    @repeatable
    @torch.no_grad()
    def reference(self, picture: Yuv420) -> Tensor:
        """A picture as a reference: RGB (1,3,H,W), padded as the network needs it, on the network's device."""
        return self._padded([picture])

    @repeatable
    @torch.no_grad()
    def predict(self, past: Tensor, future: Tensor, time: float, noise: float) -> Yuv420:
        """The B-frame at `time` in (0,1) between two references; `noise` is their RMS error, 0 if unknown."""
        return self._shown(self._prediction(past, future, time, noise).frame)

    def references(self, intervals: Sequence[Interval]) -> tuple[Tensor, Tensor]:
        """Both references (B,3,H,W) of B-frames as the network takes them; each picture is converted once."""
        pictures = {id(picture): picture for interval in intervals for picture in (interval.past, interval.future)}
        rgb = self._padded(list(pictures.values()))
        place = {key: number for number, key in enumerate(pictures)}
        past, future = ([place[id(interval[side])] for interval in intervals] for side in (0, 1))
        return rgb[past], rgb[future]

    @repeatable
    @torch.no_grad()
    def between(self, intervals: Sequence[Interval]) -> list[Yuv420]:
        """The B-frames of intervals by prediction, all at once."""
        return self._all_shown(self._predictions(intervals, *self.references(intervals)).frame)

    def write(self, wanted: ToWrite) -> Choice:
        """How a B-frame is best coded."""
        return self.write_all([wanted])[0]

    def write_all(self, wanted: Sequence[ToWrite]) -> list[Choice]:
        """Predictions as the choices, without payloads, at their scores in bits a pixel: this model codes no payloads.

        Without a score, that is slope * MSE of RGB in [0,1] against the source.
        """
        pictures = self.between([one.interval for one in wanted])
        costs = Judge(wanted, self.info.colour, self.device).scores(pictures)
        return [Choice(picture, None, [], cost, cost) for picture, cost in zip(pictures, costs, strict=True)]

    def read(self, interval: Interval, packet: BFramePacket) -> Yuv420:
        """The B-frame that a payload describes. StreamError if it cannot be read."""
        return self.read_all([interval], [packet])[0]

    def read_all(self, intervals: Sequence[Interval], packets: Sequence[BFramePacket]) -> list[Yuv420]:
        """The B-frames that payloads describe, all at once. StreamError if one of them cannot be read."""
        raise StreamError(f"model {self.model.name!r} reads no B-frame payloads")

    def _padded(self, pictures: Sequence[Yuv420]) -> Tensor:
        """RGB (B,3,H,W) of pictures, padded as the network needs it."""
        padded = [pad(picture, self.model.network.multiple) for picture in pictures]
        return planes_to_rgb(all_in_levels(padded, self.device), self.info.colour, self.info.bit_depth)

    def _prediction(self, past: Tensor, future: Tensor, time: float, noise: float) -> Prediction:
        return self.model.network(past, future, time, torch.tensor([noise], device=self.device))

    def _predictions(self, intervals: Sequence[Interval], past: Tensor, future: Tensor) -> Prediction:
        return self.model.network(past, future, *self._times_and_noises(intervals))

    def _times_and_noises(self, intervals: Sequence[Interval]) -> tuple[Tensor, Tensor]:
        """Both (B,), of the intervals."""
        time = torch.tensor([interval.time for interval in intervals], device=self.device)
        return time, torch.tensor([interval.noise for interval in intervals], device=self.device)

    def _planes(self, rgb: Tensor) -> Planes:
        """Y, U and V of a padded picture, in levels, without the padding."""
        return crop_planes(rgb_to_planes(rgb, self.info.colour, self.info.bit_depth), self.info.width, self.info.height)

    def _all_shown(self, rgb: Tensor) -> list[Yuv420]:
        return all_rounded(self._planes(rgb), self.info.bit_depth)

    def _shown(self, rgb: Tensor) -> Yuv420:
        return rounded(self._planes(rgb), self.info.bit_depth)
