# SPDX-License-Identifier: MIT
"""One sheet that shows how a frame between two others is made: flows, mask, warped frames, prediction."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ncm import FrameSynthesis, Prediction, warp
from ncm.pictures import padded, to_rgb

from ..arguments import checked
from ..device import repeatable
from ..errors import InputError
from ..files import PathLike
from .picture_files import Rgb, picture_target, read_pair, write_picture
from .synthesis import EXTRAPOLATION, INTERPOLATION, model_for

GAP, TITLE = 4, 14  # pixels between panels, and of a line above each
COLUMNS = 3


class Panel(NamedTuple):
    """A picture and what it shows."""

    title: str
    picture: Rgb


@checked
def show_motion(
    first: PathLike,
    second: PathLike,
    dst: PathLike,
    *,
    time: float = 0.5,
    extrapolate: bool = False,
    model: str | None = None,
    tta: bool = False,
    device: str = "auto",
) -> None:
    """Write a sheet for the frame at `time` between two pictures, or for the one after both. Raises a CodecError."""
    if not 0 < time < 1:
        raise InputError(f"--time {time:g}: give one between 0 and 1")
    if extrapolate and time != 0.5:
        raise InputError("--time is for frames between; leave it out with --extrapolate")
    target = picture_target(dst, first, second)
    a, b = read_pair(first, second)
    network = model_for(EXTRAPOLATION if extrapolate else INTERPOLATION, model, device=device, tta=tta).network
    write_picture(target, sheet(panels(network, a, b, time)))


@repeatable
@torch.inference_mode()
def panels(network: FrameSynthesis, first: Rgb, second: Rgb, time: float) -> list[Panel]:
    """What a network makes of two pictures, and from what."""
    device, height, width = next(network.parameters()).device, *first.shape[:2]
    past, future = (padded(to_rgb(picture, device), network.multiple) for picture in (first, second))
    made: Prediction = network(past, future, time)
    to_past, to_future = made.motion.flow[:, :2], made.motion.flow[:, 2:]
    shown = {
        "warped past": warp(past, to_past),
        "warped future": warp(future, to_future),
        "mask: white is past": torch.sigmoid(made.motion.mask).expand(-1, 3, -1, -1),
        "prediction": made.frame,
    }
    flows = {"flow to past": to_past, "flow to future": to_future}
    found = {title: _coloured(title, flow[..., :height, :width]) for title, flow in flows.items()}
    found |= {title: Panel(title, _bytes(rgb[..., :height, :width])) for title, rgb in shown.items()}
    order = ("flow to past", "mask: white is past", "flow to future", "warped past", "prediction", "warped future")
    return [found[title] for title in order]


def _coloured(title: str, flow: Tensor) -> Panel:
    """A flow (1,2,H,W) on the colour wheel of Baker 2011, its longest vector in full colour."""
    from torchvision.utils import flow_to_image

    longest = float(flow.square().sum(1).sqrt().max())
    picture = flow_to_image(flow[0].float()).permute(1, 2, 0).cpu().numpy()
    return Panel(f"{title}, at most {longest:.1f} px", picture)


def _bytes(rgb: Tensor) -> Rgb:
    bytes_: Rgb = rgb[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    return bytes_


def sheet(panels: list[Panel], columns: int = COLUMNS) -> Rgb:
    """Panels of one size in rows on white, each under its title."""
    height, width = panels[0].picture.shape[:2]
    rows = -(-len(panels) // columns)
    image = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + TITLE + GAP) - GAP), "white")
    draw = ImageDraw.Draw(image)
    for number, panel in enumerate(panels):
        x, y = number % columns * (width + GAP), number // columns * (height + TITLE + GAP)
        draw.text((x + 2, y + 1), panel.title, fill="black")
        image.paste(Image.fromarray(panel.picture), (x, y + TITLE))
    return np.array(image)
