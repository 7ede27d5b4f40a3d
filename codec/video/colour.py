# SPDX-License-Identifier: MIT
"""YUV planes to RGB and back: the only such conversion of the project."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .picture import Colour, Yuv420, chroma_size, dtype_of

Planes: TypeAlias = tuple[Tensor, Tensor, Tensor]  # Y, U and V (B,1,.,.) in levels that are not yet rounded
# Luma weights of red and blue. A video that does not say is taken for bt709, and still does not say afterwards.
MATRICES = {
    "bt709": (0.2126, 0.0722),
    "bt601": (0.299, 0.114),
    "bt2020": (0.2627, 0.0593),
    "unspecified": (0.2126, 0.0722),
}


class Scale(NamedTuple):
    """How 0 to 1 become levels of 8 bit: span and zero of the limited range, and zero of the full one."""

    span: int
    zero: int
    full_zero: int


LUMA, CHROMA = Scale(219, 16, 0), Scale(224, 128, 128)


def yuv_to_rgb(picture: Yuv420, colour: Colour, device: torch.device | str = "cpu") -> Tensor:
    """RGB (1,3,H,W) float32, nominally in [0,1] and not clipped; the picture's sizes must be even."""
    return planes_to_rgb(in_levels(picture, device), colour, picture.bit_depth)


def planes_to_rgb(planes: Planes, colour: Colour, bit_depth: int) -> Tensor:
    """RGB (B,3,H,W), nominally in [0,1] and not clipped, of Y (B,1,H,W), U and V (B,1,H/2,W/2) in levels."""
    y, u, v = planes
    y = _from_levels(y, LUMA, colour, bit_depth)
    chroma = _from_levels(torch.cat([u, v], 1), CHROMA, colour, bit_depth)
    cb, cr = _double(_double(chroma, 2), 3).chunk(2, dim=1)
    kr, kb = MATRICES[colour.matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return torch.cat([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], 1)


def in_levels(picture: Yuv420, device: torch.device | str = "cpu") -> Planes:
    """Y, U and V of a picture (1,1,.,.) float32, in levels."""
    y, u, v = (torch.from_numpy(plane.astype(np.float32)).to(device)[None, None] for plane in picture.planes)
    return y, u, v


def all_in_levels(pictures: Sequence[Yuv420], device: torch.device | str = "cpu") -> Planes:
    """Y, U and V of pictures of one size (B,1,.,.) float32, in levels."""
    planes = zip(*(picture.planes for picture in pictures), strict=True)
    y, u, v = (torch.from_numpy(np.stack(plane).astype(np.float32)).to(device)[:, None] for plane in planes)
    return y, u, v


def crop_rgb(rgb: Tensor, width: int, height: int) -> Tensor:
    """The top left width x height of RGB (B,3,H,W)."""
    return rgb[..., :height, :width]


def luma_levels(rgb: Tensor, colour: Colour, bit_depth: int) -> Tensor:
    """The luma planes of RGB (B,3,H,W) as `rgb_to_yuv` makes them, whole numbers (B,1,H,W) where the RGB is."""
    return _in_levels(_luma(rgb, colour), LUMA, colour, bit_depth).round().clamp(0, (1 << bit_depth) - 1)


def rgb_to_yuv(rgb: Tensor, colour: Colour, bit_depth: int) -> Yuv420:
    """The planes of RGB (1,3,H,W) with even sizes, rounded and clipped; chroma is the mean of 2x2 samples."""
    return rounded(rgb_to_planes(rgb, colour, bit_depth), bit_depth)


def rgb_to_planes(rgb: Tensor, colour: Colour, bit_depth: int) -> Planes:
    """Y (B,1,H,W), U and V (B,1,H/2,W/2), in levels, of RGB (B,3,H,W) with even sizes."""
    kr, kb = MATRICES[colour.matrix]
    y, (red, _, blue) = _luma(rgb, colour), rgb.float().chunk(3, dim=1)
    chroma = torch.cat([(blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))], 1)
    u, v = _in_levels(F.avg_pool2d(chroma, 2), CHROMA, colour, bit_depth).chunk(2, dim=1)
    return _in_levels(y, LUMA, colour, bit_depth), u, v


def plane_weights(colour: Colour) -> tuple[float, float, float]:
    """What sums of squared errors of Y, U and V, in levels, add to that of RGB, up to a factor."""
    kr, kb = MATRICES[colour.matrix]
    area = 4 if colour.full_range else 4 * (LUMA.span / CHROMA.span) ** 2  # a sample of chroma is seen in four pixels

    def weight(k: float) -> float:
        """In one of red and blue the whole difference is seen, in green what balances it."""
        return area * (2 * (1 - k)) ** 2 * (1 + (k / (1 - kr - kb)) ** 2) / 3

    return 1.0, weight(kb), weight(kr)


def crop_planes(planes: Planes, width: int, height: int) -> Planes:
    """Y, U and V of the top left width x height luma samples of a picture; odd sizes of chroma round up."""
    y, u, v = planes
    cw, ch = chroma_size(width, height)
    return y[..., :height, :width], u[..., :ch, :cw], v[..., :ch, :cw]


def rounded(planes: Planes, bit_depth: int) -> Yuv420:
    """Planes (1,1,.,.) in levels as a picture, rounded and clipped."""
    return all_rounded(planes, bit_depth)[0]


def all_rounded(planes: Planes, bit_depth: int) -> list[Yuv420]:
    """Planes (B,1,.,.) in levels as pictures, rounded and clipped."""
    peak = (1 << bit_depth) - 1
    whole = [x[:, 0].round().clamp(0, peak).cpu().numpy().astype(dtype_of(bit_depth)) for x in planes]
    return [Yuv420(y, u, v, bit_depth) for y, u, v in zip(*whole, strict=True)]


def _luma(rgb: Tensor, colour: Colour) -> Tensor:
    kr, kb = MATRICES[colour.matrix]
    red, green, blue = rgb.float().chunk(3, dim=1)
    return kr * red + (1 - kr - kb) * green + kb * blue


def _in_levels(x: Tensor, scale: Scale, colour: Colour, bit_depth: int) -> Tensor:
    """Luma or chroma in levels, not rounded."""
    shift, peak = bit_depth - 8, (1 << bit_depth) - 1
    if colour.full_range:
        return x * peak + (scale.full_zero << shift)
    return x * (scale.span << shift) + (scale.zero << shift)


def _from_levels(x: Tensor, scale: Scale, colour: Colour, bit_depth: int) -> Tensor:
    """What `_in_levels` was given: luma in [0,1] or chroma in [-1/2,1/2], nominally."""
    shift, peak = bit_depth - 8, (1 << bit_depth) - 1
    if colour.full_range:
        return (x - (scale.full_zero << shift)) / peak
    return (x - (scale.zero << shift)) / (scale.span << shift)


def _double(x: Tensor, dim: int) -> Tensor:
    """Twice as many samples along one axis: c + (prev - next) / 8, then c - (prev - next) / 8.

    A straight line through each sample's neighbours, sampled at -1/4 and +1/4: the mean of each pair is the sample
    again, so that planes -> RGB -> planes is exact up to rounding (bilinear weights would blur the chroma a little
    at every conversion).
    """
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
    padded = torch.cat([first, x, last], dim)
    slope = (padded.narrow(dim, 0, x.shape[dim]) - padded.narrow(dim, 2, x.shape[dim])) / 8
    return torch.stack([x + slope, x - slope], dim + 1).flatten(dim, dim + 1)


def packed(planes: Planes) -> Tensor:
    """Luma (B,1,2h,2w) as four planes of half the size, then U and V: (B,6,h,w)."""
    y, u, v = planes
    return torch.cat([F.pixel_unshuffle(y, 2), u, v], 1)


def unpacked(planes: Tensor) -> Planes:
    """Y (B,1,2h,2w), U and V (B,1,h,w) from planes (B,6,h,w): the four phases of luma, then U and V."""
    return F.pixel_shuffle(planes[:, :4], 2), planes[:, 4:5], planes[:, 5:]
