# SPDX-License-Identifier: MIT
"""Pictures for a report: frames out of streams as they are shown, and what the networks made them from."""

import base64
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import codec

GAIN = 4  # how many times a residual is amplified
Rgb = NDArray[np.uint8]  # (H,W,3)


@dataclass
class Layers:
    """A frame and what it was made from, by name; `notes` says how to read them."""

    pictures: dict[str, Rgb]
    notes: dict[str, str] = field(default_factory=dict)


def shown(source: codec.Video | codec.VideoSource, pocs: Iterable[int], matrix: str) -> dict[int, Layers]:
    """The frames at these POCs in RGB by this matrix; those past the end are left out.

    Nothing is read past the last of them, but a stream decodes the whole segment that holds it.
    """
    colour = codec.Colour(matrix, source.info.colour.full_range)
    wanted = set(pocs)
    found: dict[int, Layers] = {}
    for poc, frame in enumerate(source):
        if poc in wanted:
            found[poc] = Layers({"decoded": _bytes(codec.rgb_of(frame.picture, colour))})
        if poc >= max(wanted):
            break
    return found


def decoded(stream: Path, pocs: Iterable[int], matrix: str) -> dict[int, Layers]:
    """Frames of a stream; of B-frames also motion, mask and what payloads added to the prediction."""
    bframes = _bframes([frame.kind for frame in codec.info(stream).frames])
    wanted = set(pocs)
    with codec.open(stream) as video:
        size = (video.info.height, video.info.width)
        with _listening(video.model, bframes, wanted) as made:
            found = shown(video, wanted, matrix)
    for poc, outputs in made.items():
        if poc in found:
            _add_layers(found[poc], outputs, size)
    return found


def _bframes(kinds: list[str]) -> Iterator[int]:
    """The POCs of the B-frames in the order of decoding: between anchors, midpoints first."""

    def between(low: int, high: int) -> Iterator[int]:
        middle = (low + high) // 2
        if middle > low:
            yield middle
            yield from between(low, middle)
            yield from between(middle, high)

    anchors = [poc for poc, kind in enumerate(kinds) if kind != "B"]
    for low, high in pairwise(anchors):
        yield from between(low, high)


@contextmanager
def _listening(model: codec.Model, bframes: Iterator[int], wanted: set[int]) -> Iterator[dict[int, list[Any]]]:
    """What the networks of a model answer for the wanted B-frames, while it lasts; every B-frame asks once."""
    made: dict[int, list[Any]] = {}
    poc = -1

    def predicted(*call: Any) -> None:  # noqa: ANN401 (module, inputs, output)
        nonlocal poc
        poc = next(bframes, -1)
        if poc in wanted:
            made[poc] = [call[-1]]

    def corrected(*call: Any) -> None:  # noqa: ANN401
        if poc in wanted:  # the codec answers after the network, where there is a payload
            made[poc].append(call[-1])

    with ExitStack() as hooks:
        for module, hook in ((model.network, predicted), (model.codec, corrected)):
            if module is not None:
                hooks.callback(module.register_forward_hook(hook).remove)
        yield made


def _add_layers(layers: Layers, outputs: list[Any], size: tuple[int, int]) -> None:
    """Add to the layers what networks returned for a picture of `size`: flow, mask and prediction.

    If there was a payload, its residual is added too.
    """
    prediction, *rest = outputs
    motion = rest[0].motion if rest else prediction.motion
    flow = motion.flow[0, :2].float().cpu()
    picture, scale = _flow(_crop(flow, size))
    layers.pictures["flow"] = picture
    layers.notes["flow"] = f"motion to the past anchor, full colour is {scale:.1f} pixels"
    mask = torch.sigmoid(_crop(motion.mask[0].float().cpu(), size)).expand(3, -1, -1)
    layers.pictures["mask"] = _bytes(mask[None])
    layers.notes["mask"] = "white is taken from the past anchor, black from the future one"
    layers.pictures["prediction"] = _bytes(_crop(prediction.frame, size))
    layers.notes["prediction"] = "without any payload, as in bitfree"
    if rest:
        residual = _crop(rest[0].frame - rest[0].predicted, size)
        layers.pictures["residual"] = _bytes(0.5 + GAIN * residual)
        layers.notes["residual"] = f"what the payload changes of the prediction, {GAIN} times, grey is nothing"


def _crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x[..., : size[0], : size[1]]


def _bytes(rgb: Tensor) -> Rgb:
    """RGB (1,3,H,W) in [0,1] as bytes (H,W,3)."""
    return rgb[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()


def _flow(flow: Tensor) -> tuple[Rgb, float]:
    """Motion (2,H,W) as hue, its length as saturation; the length of full colour in pixels."""
    x, y = flow.numpy()
    length = np.hypot(x, y)
    scale = max(float(np.quantile(length, 0.99)), 0.1)
    hue = np.arctan2(y, x) / (2 * np.pi) % 1
    colours = np.stack([hue, np.minimum(length / scale, 1), np.ones_like(hue)], -1)
    return (hsv_to_rgb(colours) * 255).round().astype(np.uint8), scale


def data_url(picture: Rgb, *, lossless: bool) -> str:
    """A picture for a page that needs no other file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=lossless, quality=80 if lossless else 90)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
