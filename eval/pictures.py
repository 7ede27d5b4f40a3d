# SPDX-License-Identifier: MIT
"""Pictures for a report: frames out of streams as they are shown, and what the networks made them from."""

import base64
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast

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


def shown(frames: Iterable[tuple[int, codec.Frame]], colour: codec.Colour) -> dict[int, Layers]:
    """Frames with their POCs, in RGB."""
    return {poc: Layers({"decoded": _bytes(codec.rgb_of(frame.picture, colour))}) for poc, frame in frames}


def frames_of(source: codec.VideoSource, pocs: Iterable[int]) -> Iterator[tuple[int, codec.Frame]]:
    """The frames at these POCs; those past the end are left out, and nothing is read past the last of them."""
    wanted = set(pocs)
    return ((poc, frame) for poc, frame in enumerate(islice(source, max(wanted) + 1)) if poc in wanted)


def decoded(stream: Path, pocs: Iterable[int], matrix: str) -> dict[int, Layers]:
    """Frames of a stream; of B-frames also motion, mask and what payloads added to the prediction."""
    wanted = set(pocs)
    between = range(min(wanted), max(wanted) + 1)
    bframes = iter(codec.info(stream).bframes_for(between))
    with codec.open(stream, workers=0) as video:
        size, colour = (video.info.height, video.info.width), codec.Colour(matrix, video.info.colour.full_range)
        with _listening(video.model, bframes, wanted) as made:
            frames = cast(Iterator[codec.Frame], video[between.start : between.stop])
            numbered = zip(between, frames, strict=False)  # the video may end before
            found = shown(((poc, frame) for poc, frame in numbered if poc in wanted), colour)
    for poc, outputs in made.items():
        if poc in found:
            _add_layers(found[poc], outputs, size)
    return found


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
