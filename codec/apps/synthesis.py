# SPDX-License-Identifier: MIT
"""Pictures of one video between or after two others, by a network."""

import torch
from torch import Tensor

from ncm.effects import DEFAULTS

from ..bframe.model import Model
from ..bframe.predictor import Predictor
from ..device import choose_device, repeatable
from ..errors import InputError
from ..models.open import averaged, load
from ..video.picture import VideoInfo, Yuv420

INTERPOLATION, EXTRAPOLATION = "interpolation", "extrapolation"


def model_for(
    task: str, name: str | None, *, device: str = "auto", tta: bool = False, option: str = "--model"
) -> Model:
    """The model of this name, or the default of its task. CodecError if it is missing or made for another task.

    `tta` averages the answers for the pictures and for them upside down, at twice the time (paper, A.1). `option` is
    what the name was given by.
    """
    model = load(name or DEFAULTS[task], choose_device(device))
    made_for = model.network.config.task
    if made_for != task:
        raise InputError(f"{option} {name}: is made for {made_for}; for {task} there is {DEFAULTS[task]}")
    return averaged(model) if tta else model


class Synthesiser(Predictor):
    """Makes pictures of one video out of references as `reference` gives them, with a model of either task."""

    @repeatable
    @torch.inference_mode()
    def rgb(self, past: Tensor, future: Tensor, time: float = 0.5) -> Tensor:
        """RGB (1,3,H,W) at `time` in (0,1) between two references; in extrapolation after both, at time 1/2."""
        return self.model.network(past, future, time).frame

    def picture(self, rgb: Tensor) -> Yuv420:
        """Padded RGB as a picture of the video."""
        return self._shown(rgb)

    def synthesised(self, past: Yuv420, future: Yuv420, time: float = 0.5) -> Yuv420:
        """The picture at `time` in (0,1) between two others; in extrapolation the one after both, at time 1/2."""
        return self.picture(self.rgb(self.reference(past), self.reference(future), time))


def synthesiser_for(
    task: str, name: str | None, info: VideoInfo, *, device: str, tta: bool, option: str = "--model"
) -> Synthesiser:
    """What makes pictures of a video, with a model as `model_for` finds it. CodecError as there."""
    return Synthesiser(model_for(task, name, device=device, tta=tta, option=option), info)
