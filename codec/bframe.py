# SPDX-License-Identifier: MIT
"""B-frames from the two decoded pictures around them: planes in, network, planes out."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ncm import Prediction

from .errors import InputError, StreamError
from .frame import Planes, VideoInfo, Yuv420, crop_planes, in_levels, pad, rgb_to_planes, rounded, yuv_to_rgb
from .models import Model
from .packets import BFramePacket
from .postfilter import packed, unpacked
from .syntax import FULL_STRENGTH

if TYPE_CHECKING:
    from .bblocks import Blocks

# On a GPU convolutions would otherwise keep ten bits of a float (TF32), and may sum in another order the next time:
# the B-frames of two machines, or of two runs, would differ by more than a level here and there.
repeatable = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def choose_device(name: str, *, exact: bool = False) -> torch.device:
    """The device of this name; 'auto' is CUDA where there is one. InputError if torch does not know or have it.

    `exact` asks for one that has float64, in which networks of whole numbers are carried; Apple's GPUs do not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device, dtype=torch.float64 if exact else torch.float32)
    except (RuntimeError, AssertionError, TypeError) as err:
        raise InputError(f"--device {name!r} cannot be used here ({str(err).splitlines()[0]}); try cpu") from err
    return device


class Anchor(NamedTuple):
    """A decoded anchor: as its codec left it, the same on every machine, and as it is shown, perhaps filtered."""

    decoded: Yuv420
    shown: Yuv420


class Between(NamedTuple):
    """Where a B-frame stands: its references, `span` pictures apart, its `time` between them in (0,1), and its anchors.

    References are RGB (1,3,H,W), padded as the network needs it; `noise` is the RMS error of the anchors in [0,1] RGB,
    0 if unknown. The anchors, as decoded, are what the references show, or further away where those are B-frames.
    """

    past: Tensor
    future: Tensor
    time: float
    noise: float
    anchors: tuple[Yuv420, Yuv420]
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
    `free` that of the prediction. `blocks` were found to be worth copying, if any were.
    """

    picture: Yuv420
    packet: BFramePacket | None
    trials: list[Trial]
    cost: float
    free: float
    blocks: "Blocks | None" = None


Score = Callable[[Yuv420], float]  # what the distortion of a decoded picture costs, in bits a pixel


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

    def write_none(self, where: Between, score: Score) -> Choice:
        """The prediction as the choice that is made without a payload."""
        picture = self.predict(*where[:4])
        cost = score(picture)
        return Choice(picture, None, [], cost, cost)

    def read(self, where: Between, packet: BFramePacket) -> Yuv420:
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


def predictor(model: Model, info: VideoInfo) -> Predictor:
    """What makes B-frames with this model: a `BFrameCoder` if the model can code them, else a `Predictor`.

    InputError if the device of a model that can has no float64.
    """
    made = Predictor(model, info)
    if model.codec is None:
        return made
    choose_device(str(made.device), exact=True)
    from .bcoding import BFrameCoder  # CompressAI takes seconds to import

    return BFrameCoder(model, info)
