# SPDX-License-Identifier: MIT
"""Pictures as integer 4:2:0 planes, and the only YUV <-> RGB, padding and cropping code of the project."""

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Plane: TypeAlias = NDArray[Any]  # uint8 or uint16
Planes: TypeAlias = tuple[Tensor, Tensor, Tensor]  # Y, U and V (1,1,.,.) in levels that are not yet rounded

# Luma weights of red and blue. A video that does not say is taken for bt709, and still does not say afterwards.
MATRICES = {
    "bt709": (0.2126, 0.0722),
    "bt601": (0.299, 0.114),
    "bt2020": (0.2627, 0.0593),
    "unspecified": (0.2126, 0.0722),
}
# MatrixCoefficients of Rec. ITU-T H.273; of the two codes of bt601 the one for 525 lines.
MATRIX_CODES = {"bt709": 1, "unspecified": 2, "bt601": 6, "bt2020": 9}


class Scale(NamedTuple):
    """How 0 to 1 become levels of 8 bit: span and zero of the limited range, and zero of the full one."""

    span: int
    zero: int
    full_zero: int


LUMA, CHROMA = Scale(219, 16, 0), Scale(224, 128, 128)


@dataclass(frozen=True, eq=False)
class Yuv420:
    """One picture: y (H,W), u and v (ceil(H/2),ceil(W/2)), uint8 at 8 bit and uint16 at 9 to 16 bit."""

    y: Plane
    u: Plane
    v: Plane
    bit_depth: int = 8

    @property
    def width(self) -> int:
        """Columns of luma."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Rows of luma."""
        return int(self.y.shape[0])

    @property
    def planes(self) -> tuple[Plane, Plane, Plane]:
        """y, u, v."""
        return self.y, self.u, self.v

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Yuv420):
            return NotImplemented
        return self.bit_depth == other.bit_depth and all(map(np.array_equal, self.planes, other.planes))

    def tobytes(self) -> bytes:
        """The planes one after the other, 16-bit samples little-endian: one frame of a .yuv file."""
        return b"".join(np.ascontiguousarray(p, dtype=p.dtype.newbyteorder("<")).tobytes() for p in self.planes)

    def digest(self) -> bytes:
        """Eight bytes of SHA-256 over `tobytes`: by it a decoder can tell that it shows what the encoder saw."""
        return hashlib.sha256(self.tobytes()).digest()[:8]


class Frame(NamedTuple):
    """A picture and its presentation time in units of its video's time base."""

    pts: int
    picture: Yuv420


@dataclass(frozen=True)
class Colour:
    """How YUV maps to RGB: the matrix, a key of MATRICES, and whether samples use the full range."""

    matrix: str = "unspecified"
    full_range: bool = False


@dataclass(frozen=True)
class VideoInfo:
    """What all frames of a video share. Times are counted in time_base seconds; frame_rate is the nominal one."""

    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    bit_depth: int = 8
    colour: Colour = Colour()

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self.width * self.height


def dtype_of(bit_depth: int) -> type[np.uint8] | type[np.uint16]:
    """The sample type that holds this bit depth."""
    return np.uint8 if bit_depth == 8 else np.uint16


def chroma_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a 4:2:0 chroma plane; odd sizes round up."""
    return (width + 1) // 2, (height + 1) // 2


def split_planes(samples: Plane, width: int, height: int, bit_depth: int) -> Yuv420:
    """A Yuv420 over the flat samples of one .yuv frame."""
    cw, ch = chroma_size(width, height)
    y, u, v = np.split(samples, [width * height, width * height + cw * ch])
    return Yuv420(y.reshape(height, width), u.reshape(ch, cw), v.reshape(ch, cw), bit_depth)


def pad(picture: Yuv420, multiple: int, minimum: int = 0) -> Yuv420:
    """Repeat the right and bottom edges until both sizes are multiples of an even number and at least `minimum`."""
    assert multiple % 2 == 0
    width, height = (max(-(-s // multiple) * multiple, minimum) for s in (picture.width, picture.height))
    if (width, height) == (picture.width, picture.height):
        return picture
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    y, u, v = (
        np.pad(p, ((0, h - p.shape[0]), (0, w - p.shape[1])), mode="edge")
        for p, (h, w) in zip(picture.planes, sizes, strict=True)
    )
    return Yuv420(y, u, v, picture.bit_depth)


def crop(picture: Yuv420, width: int, height: int) -> Yuv420:
    """The top left width x height of a picture; views, not copies."""
    cw, ch = chroma_size(width, height)
    return replace(picture, y=picture.y[:height, :width], u=picture.u[:ch, :cw], v=picture.v[:ch, :cw])


def yuv_to_rgb(picture: Yuv420, colour: Colour, device: torch.device | str = "cpu") -> Tensor:
    """RGB (1,3,H,W) float32, nominally in [0,1] and not clipped; the picture's sizes must be even."""
    shift, peak = picture.bit_depth - 8, (1 << picture.bit_depth) - 1
    y, u, v = in_levels(picture, device)
    if colour.full_range:
        y, chroma = y / peak, (torch.cat([u, v], 1) - (128 << shift)) / peak
    else:
        y, chroma = (y - (16 << shift)) / (219 << shift), (torch.cat([u, v], 1) - (128 << shift)) / (224 << shift)
    cb, cr = _double(_double(chroma, 2), 3).chunk(2, dim=1)
    kr, kb = MATRICES[colour.matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return torch.cat([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], 1)


def in_levels(picture: Yuv420, device: torch.device | str = "cpu") -> Planes:
    """Y, U and V of a picture (1,1,.,.) float32, in levels."""
    y, u, v = (torch.from_numpy(plane.astype(np.float32)).to(device)[None, None] for plane in picture.planes)
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
    """Y (1,1,H,W), U and V (1,1,H/2,W/2) of RGB (1,3,H,W) with even sizes."""
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
    """Of planes, those of the top left width x height of their picture."""
    y, u, v = planes
    cw, ch = chroma_size(width, height)
    return y[..., :height, :width], u[..., :ch, :cw], v[..., :ch, :cw]


def rounded(planes: Planes, bit_depth: int) -> Yuv420:
    """Planes (1,1,.,.) in levels as a picture, rounded and clipped."""
    peak = (1 << bit_depth) - 1
    whole = [x[0, 0].round().clamp(0, peak).cpu().numpy().astype(dtype_of(bit_depth)) for x in planes]
    return Yuv420(whole[0], whole[1], whole[2], bit_depth)


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


def blank(info: VideoInfo) -> Yuv420:
    """A mid-grey picture, for when there is nothing better to show."""
    cw, ch = chroma_size(info.width, info.height)
    half, dtype = 1 << (info.bit_depth - 1), dtype_of(info.bit_depth)
    chroma = np.full((ch, cw), half, dtype)
    return Yuv420(np.full((info.height, info.width), half, dtype), chroma, chroma, info.bit_depth)
