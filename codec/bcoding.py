# SPDX-License-Identifier: MIT
"""Payloads of B-frames: what the encoder writes if it is worth its bits, and what the decoder makes of it."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from entropy import EntropyError, Read, Tape, Write
from ncm import Prediction

from .bcodec import BFrameCodec
from .bfeatures import AnchorFeatures, anchor_features, luma_plane
from .bframe import Between, Predictor
from .errors import StreamError
from .frame import Yuv420, pad, yuv_to_rgb
from .metrics import rgb_of
from .packets import BFramePacket

MODE = 0  # the one way there is to code a B-frame
PACKET_OVERHEAD = 3  # bytes that a payload costs besides its own, about
LEVEL_STEPS = 32  # of the stream's quality byte in one quality of the model


class Choice(NamedTuple):
    """A B-frame as it will be shown, and its payload; None if the prediction is better or nothing would be sent."""

    picture: Yuv420
    packet: BFramePacket | None


class BFrameCoder(Predictor):
    """Reads and writes the B-frames of one video with a model that has a B-frame codec."""

    @property
    def codec(self) -> BFrameCodec:
        """The model's codec."""
        assert self.model.codec is not None  # `predictor` sees to it
        return self.model.codec

    def level(self, slope: float) -> int:
        """The quality byte for a slope, bits a pixel for a unit of MSE of [0,1] RGB: that of the nearest lambda."""
        lambdas = self.codec.config.lambdas
        exact = np.interp(math.log(slope), np.log(lambdas), np.arange(len(lambdas)))
        return round(float(exact) * LEVEL_STEPS)

    @torch.inference_mode()
    def read(self, where: Between, packet: BFramePacket) -> Yuv420:
        """The B-frame that a payload describes. StreamError if it cannot be read."""
        if packet.mode != MODE or packet.quality > (len(self.codec.config.lambdas) - 1) * LEVEL_STEPS:
            raise StreamError(f"payload of mode {packet.mode}, quality {packet.quality}; the model knows none such")
        try:
            tape = Read(packet.data)
            frame = self._run(tape, where, packet.quality)
            tape.finish()
        except EntropyError as error:
            raise StreamError(f"its payload cannot be read ({error})") from error
        return self._shown(frame)

    @torch.inference_mode()
    def write(self, where: Between, source: Yuv420, poc: int, *, slope: float) -> Choice:
        """Code a source picture if slope * MSE + bits per pixel is less with the payload than without."""
        prediction = self._prediction(*where[:4])
        free = self._shown(prediction.frame)
        tape, quality = Write(), self.level(slope)
        target = yuv_to_rgb(pad(source, self.model.network.multiple), self.info.colour, self.device)
        shown = self._shown(self._run(tape, where, quality, target=target, prediction=prediction))
        packet = BFramePacket(poc, MODE, quality, tape.finish())
        bits = 8 * (len(packet.data) + PACKET_OVERHEAD) / (self.info.width * self.info.height)
        saved = slope * (self._error(source, free) - self._error(source, shown))
        return Choice(shown, packet) if packet.data and bits < saved else Choice(free, None)

    def _run(
        self,
        tape: Tape,
        where: Between,
        quality: int,
        *,
        target: Tensor | None = None,
        prediction: Prediction | None = None,
    ) -> Tensor:
        noise = torch.tensor([where.noise], device=self.device)
        return self.codec(
            tape,
            where.past.rgb,
            where.future.rgb,
            time=where.time,
            noise=noise,
            quality=quality / LEVEL_STEPS,
            target=target,
            prediction=prediction,
            exact=self._features(where),
        ).frame

    def _features(self, where: Between) -> AnchorFeatures:
        """Of the anchors, not of references that are B-frames: those differ from machine to machine by a level."""
        past, future = (luma_plane(anchor.picture.y, self.info.bit_depth) for anchor in where.anchors)
        return anchor_features(past, future, torch.tensor([where.noise])).to(self.device)

    def _error(self, source: Yuv420, shown: Yuv420) -> float:
        """Mean squared error of RGB in [0,1], as it will be measured."""
        return float((rgb_of(source, self.info.colour) - rgb_of(shown, self.info.colour)).square().mean())
