# SPDX-License-Identifier: MIT
"""B-frames from the two decoded pictures around them: planes in, network, planes out."""

import torch
from torch import Tensor

from .errors import InputError
from .frame import VideoInfo, Yuv420, crop, pad, rgb_to_yuv, yuv_to_rgb
from .models import Model


def choose_device(name: str) -> torch.device:
    """The device of this name; 'auto' is CUDA where there is one. InputError if torch does not know or have it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as err:
        raise InputError(f"--device {name!r} cannot be used here ({str(err).splitlines()[0]}); try cpu") from err
    return device


class Predictor:
    """Predict B-frames of one video with one model."""

    def __init__(self, model: Model, info: VideoInfo) -> None:
        self.model = model
        self.info = info
        self.device = next(model.network.parameters()).device

    @torch.inference_mode()
    def reference(self, picture: Yuv420) -> Tensor:
        """RGB (1,3,H,W) of a decoded picture, padded as the network needs it."""
        return yuv_to_rgb(pad(picture, self.model.network.multiple), self.info.colour, self.device)

    @torch.inference_mode()
    def predict(self, past: Tensor, future: Tensor, time: float, noise: float) -> Yuv420:
        """The B-frame at `time` in (0,1) between two references from `reference`.

        `noise` is the RMS error of the references in [0,1] RGB, 0 if unknown.
        """
        level = torch.tensor([noise], device=self.device)
        rgb = self.model.network(past, future, time, level).frame
        return crop(rgb_to_yuv(rgb, self.info.colour, self.info.bit_depth), self.info.width, self.info.height)
