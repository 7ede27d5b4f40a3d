# SPDX-License-Identifier: MIT
"""TCM as an anchor codec: key frames by its I-frame codec, the others by its P-frame codec from the one before.

What `decode` returns is the float picture of the network in whole numbers. Decoding repeats the encoder's float
arithmetic. With the published networks even the probabilities come from it, so another machine, torch or number of
threads may fail to read a stream; with lite these are exact, and only pictures may differ, by a little more with every
P-frame.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from entropy import EntropyError

from ...bitstream.units import AnchorPacket
from ...device import choose_device
from ...errors import AnchorError, InputError, StreamError
from ...video.colour import rgb_to_yuv, yuv_to_rgb
from ...video.picture import VideoInfo, Yuv420, crop, pad
from ..protocol import AnchorFrame
from .config import MULTIPLE
from .group import DEVICES, LEVEL_STEPS, Group, KeyHead
from .images import NAMES, QUALITY, ImageIntra
from .source import Source, find_codec, source_of
from .weights import Tcm

PARAMS = ("weights", "intra", "device")
DEFAULT_RATE = 1
X265_SLOPE = (17.26, 0.353)  # crf means the slope that x265 has at it: log2(lambda) = a - b * crf


@dataclass(eq=False)
class TcmAnchors:
    """An AnchorCodec; made by tcm_anchors, which checks the settings. Weights are loaded when they are needed."""

    level: float  # 0 = the coarsest rate
    source: Source
    image: str = ""  # of CompressAI's models, for key frames; "" = TCM's own
    device: str = "cpu"
    name: str = "tcm"
    _codecs: dict[tuple[bytes, str], Tcm] = field(default_factory=dict)
    _images: dict[tuple[str, int, str], ImageIntra] = field(default_factory=dict)

    @property
    def slope(self) -> float:
        """-dR/dD at this quality, bits a pixel for a unit of MSE of RGB: the lambda that its rate was trained for."""
        lambdas = self.source.lambdas
        return float(math.exp(np.interp(self.level, np.arange(len(lambdas)), np.log(lambdas))))

    @property
    def exact(self) -> bool:
        """Whether every machine decodes the same pictures, to the bit: it decodes in floats."""
        return False

    @property
    def regular(self) -> bool:
        """Whether anchors must be evenly spaced; it knows only the one before."""
        return False

    @property
    def remembers(self) -> bool:
        """Whether a group depends on what came before it; there is no rate control."""
        return False

    @property
    def restores(self) -> bool:
        """Whether its loop has Wiener filters of luma; its network may do the same."""
        return True

    def variant(self, *, distance: int, longest_group: int, finer: float = 0.0) -> "TcmAnchors":
        """This codec at 2^finer times its lambda, or as near to that as its rates allow.

        distance and longest_group change nothing: every picture is coded from the one before.
        """
        lambdas = self.source.lambdas
        wanted = math.log(self.slope) + finer * math.log(2)
        level = float(np.interp(wanted, np.log(lambdas), np.arange(len(lambdas))))
        return replace(self, level=_allowed(level, self.source))

    def disposable(self, packets: Sequence[AnchorPacket]) -> set[int]:
        """None: every picture is the reference of the next."""
        return set()

    def without(self, packets: Sequence[AnchorPacket], indices: set[int]) -> list[AnchorPacket]:
        """The packets of a closed group but for those of these indices; of TCM no packet is disposable."""
        return [packet for packet in packets if packet.index not in indices]

    def describe(self) -> str:
        """The settings that made the stream, in one line."""
        settings = {"preset": Path(self.source.preset).name, "level": f"{self.level:g}"}
        if self.image:
            settings["intra"] = self.image
        return " ".join([self.name, *(f"{key}={value}" for key, value in settings.items())])

    def encode(self, frames: Iterable[AnchorFrame], info: VideoInfo) -> Iterator[AnchorPacket]:
        """Packets in coding order, which is that of display. AnchorError if the network fails on a picture."""
        group: Group | None = None
        codec: Tcm | None = None
        for index, (picture, key) in enumerate(frames):
            if codec is None:
                fingerprint, codec = self.source.load(self.level, torch.device(self.device))
                self._codecs[fingerprint, self.device] = codec
            head = b""
            if key or group is None:
                group, head = self._start(codec, fingerprint)
            try:
                data = group.write(padded(picture, info, codec, self.device))
            except ValueError as error:  # a latent that is not finite
                raise AnchorError(f"{self.name} fails on anchor {index} ({error}); try other weights") from error
            yield AnchorPacket(index, key, head + data)

    def decode(self, packets: Sequence[AnchorPacket], info: VideoInfo) -> dict[int, Yuv420]:
        """The pictures of one closed group by index; what cannot be decoded is absent.

        ModelError if the weights that the key frame names are not there.
        """
        pictures: dict[int, Yuv420] = {}
        group: Group | None = None
        size = (-(-info.height // MULTIPLE) * MULTIPLE, -(-info.width // MULTIPLE) * MULTIPLE)
        for number, packet in enumerate(packets):
            if packet.index != packets[0].index + number or packet.key != (number == 0):
                break  # without the one before, a P-frame is nothing
            try:
                data = packet.data
                if group is None:
                    head, data = KeyHead.parse(data)
                    group = self._group(head)
                frame = group.read(data, size)
            except (EntropyError, StreamError):
                break
            pictures[packet.index] = crop(rgb_to_yuv(frame, info.colour, info.bit_depth), info.width, info.height)
        return pictures

    def _start(self, codec: Tcm, fingerprint: bytes) -> tuple[Group, bytes]:
        """A group to write, and the head of its key frame."""
        level = round(self.level * LEVEL_STEPS)
        head = KeyHead(self.device, level, fingerprint)
        if not self.image:
            return Group(codec, level), head.pack()
        image = self._image(self.image, QUALITY + round(self.level), self.device)
        head = KeyHead(self.device, level, fingerprint, image.name, image.quality, image.fingerprint)
        return Group(codec, level, image), head.pack()

    def _group(self, head: KeyHead) -> Group:
        """A group to read. InputError if this machine has no such device, ModelError if weights are missing."""
        device = choose_device(head.device, exact=True)
        key = (head.fingerprint, head.device)
        if key not in self._codecs:
            self._codecs[key] = find_codec(head.fingerprint, device)
        if not head.image:
            return Group(self._codecs[key], head.level)
        if head.image not in NAMES:
            raise StreamError(f"a key frame by {head.image!r}, which is no image model of CompressAI")
        image = self._image(head.image, head.image_quality, head.device)
        if image.fingerprint != head.image_fingerprint:
            raise StreamError(f"{head.image} has other weights here than where the stream was made")
        return Group(self._codecs[key], head.level, image)

    def _image(self, name: str, quality: int, device: str) -> ImageIntra:
        if (name, quality, device) not in self._images:
            self._images[name, quality, device] = ImageIntra(name, quality, device)
        return self._images[name, quality, device]


def padded(picture: Yuv420, info: VideoInfo, codec: Tcm, device: str) -> Tensor:
    """RGB (1,3,H,W) of a picture, right and bottom filled up to what the networks take."""
    rgb = yuv_to_rgb(pad(picture, 2), info.colour, device)
    right, bottom = (-side % MULTIPLE for side in (rgb.shape[3], rgb.shape[2]))
    return F.pad(rgb.clamp(0, 1), (0, right, 0, bottom), mode=codec.padding)


def tcm_anchors(
    *, preset: str | None = None, crf: float | None = None, qp: int | None = None, params: str = ""
) -> TcmAnchors:
    """TCM by `preset`: lite ships; psnr and msssim are published checkpoints, in the folder of $NCM_TCM_WEIGHTS.

    qp is the rate, 0 (lambda 256) to 3 (2048); crf means the rate with the slope that x265 has at this crf. params are
    weights=DIR, intra=MODEL of CompressAI, device=cuda. InputError or ModelError for what is not known or not there.
    """
    given = _parsed(params)
    source = source_of(preset, given.get("weights", ""))
    image = given.get("intra", "")
    if image and image not in NAMES:
        raise InputError(f"intra={image}: no image model of CompressAI; choose from {', '.join(NAMES)}")
    device = choose_device(given.get("device", "cpu"), exact=True).type
    if device not in DEVICES:
        raise InputError(f"device={device}: choose from {', '.join(DEVICES)}")
    return TcmAnchors(_level(source, crf, qp), source, image, device)


def _parsed(params: str) -> dict[str, str]:
    parsed = dict(entry.partition("=")[::2] for entry in params.split(":") if entry)
    if unknown := set(parsed) - set(PARAMS):
        raise InputError(f"tcm has no parameter {min(unknown)!r}; there are {', '.join(PARAMS)}")
    return parsed


def _level(source: Source, crf: float | None, qp: int | None) -> float:
    """The rate, counted from 0. InputError if there is no such one."""
    if crf is not None and qp is not None:
        raise InputError("crf and qp exclude each other; give one of them")
    last = len(source.lambdas) - 1
    if crf is None:
        qp = min(DEFAULT_RATE, last) if qp is None else qp
        if not 0 <= qp <= last:
            raise InputError(f"tcm has no qp {qp}; choose a rate from 0, the coarsest, to {last}")
        return float(qp)
    start, fall = X265_SLOPE
    wanted = (start - fall * crf) * math.log(2)
    level = float(np.interp(wanted, np.log(source.lambdas), np.arange(last + 1)))
    return _allowed(level, source)


def _allowed(level: float, source: Source) -> float:
    """The nearest rate that the weights have and a stream can tell."""
    return round(level * LEVEL_STEPS) / LEVEL_STEPS if source.continuous else float(round(level))
