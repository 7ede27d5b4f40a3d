# SPDX-License-Identifier: MIT
"""Strips of pictures for papers: a row a method, a column a frame or a scene."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

import codec
from eval.command import check_output

KINDS = {".png": "PNG", ".jpg": "JPEG"}
GAP, LABEL = 3, 13  # pixels between pictures, and of the line above a row


class Window(NamedTuple):
    """A part of a picture."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, rgb: Tensor) -> Tensor:
        """The part of RGB (1,3,H,W)."""
        return rgb[..., self.y : self.y + self.height, self.x : self.x + self.width]


def busiest(frames: Sequence[Tensor], width: int, height: int) -> Window:
    """The window of RGB frames (1,3,H,W) in which most moves, to a multiple of eight pixels."""
    change = sum((b - a).abs().mean(1, keepdim=True) for a, b in pairwise(frames))
    assert isinstance(change, Tensor)
    width, height = min(width, change.shape[-1]), min(height, change.shape[-2])
    means = F.avg_pool2d(change, (height, width), stride=8)[0, 0]
    row, column = divmod(int(means.argmax()), means.shape[1])
    return Window(8 * column, 8 * row, width, height)


def strip(rows: Mapping[str, Sequence[Tensor]], zoom: int = 1) -> Image.Image:
    """A picture of rows of RGB (1,3,h,w), all of one size, each row under its name; `zoom` repeats pixels."""
    height, width = (zoom * side for side in next(iter(rows.values()))[0].shape[-2:])
    columns = max(map(len, rows.values()))
    size = columns * (width + GAP) - GAP, len(rows) * (height + LABEL + GAP) - GAP
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for number, (name, pictures) in enumerate(rows.items()):
        y = number * (height + LABEL + GAP)
        draw.text((1, y), name, fill="black")
        for column, rgb in enumerate(pictures):
            image.paste(
                _image(rgb).resize((width, height), Image.Resampling.NEAREST), (column * (width + GAP), y + LABEL)
            )
    return image


def _image(rgb: Tensor) -> Image.Image:
    array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = (
        rgb[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    )
    return Image.fromarray(array)


def check_picture(path: Path) -> None:
    """OutputError if a picture cannot be written there, or has no suffix that is known."""
    check_output(path, "picture", KINDS)


def save(image: Image.Image, path: Path) -> None:
    """Write a .png or .jpg whole. OutputError if it cannot be written."""
    check_picture(path)
    with codec.replacing(path) as file:
        image.save(file, KINDS[path.suffix.lower()], quality=90)
