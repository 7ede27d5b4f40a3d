# SPDX-License-Identifier: MIT
"""Quality of a decoded picture against its source, both as the integer planes that are on disk."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_msssim import ms_ssim
from torch import Tensor

from ..arguments import check_range, checked
from .colour import all_in_levels, crop_rgb, planes_to_rgb
from .picture import Colour, Plane, Yuv420, check_picture, pad

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # what each scale of MS-SSIM weighs; each has half the pixels a side
WINDOW = 11  # pixels a side, on every scale
MS_SSIM_SHORTEST = (WINDOW - 1) * 2 ** (len(SCALES) - 1) + 1  # a shorter side has no window left on the last scale
STABILISER = 0.03**2  # C2 of SSIM: where a picture varies less than this, errors weigh no more
LOSSLESS_PSNR = 100.0  # what identical planes count as, so that means stay finite


@dataclass(frozen=True)
class Quality:
    """PSNR in dB of each plane and of RGB, and MS-SSIM of RGB (NaN where a side is below 161)."""

    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_rgb: float
    ms_ssim: float

    @property
    def psnr_yuv(self) -> float:
        """(6 Y + U + V) / 8 of the planes' PSNR."""
        return (6 * self.psnr_y + self.psnr_u + self.psnr_v) / 8


@checked
def psnr(mean_squared_error: float, peak: float = 1.0) -> float:
    """PSNR in dB of a mean squared error; 100 at most, which is what identical pictures count as.

    NaN of NaN; InputError if the error is below 0, or the peak is not above 0, or one is infinite.
    """
    if math.isnan(mean_squared_error):
        return math.nan
    check_range("mean_squared_error", mean_squared_error, 0)
    check_range("peak", peak, sys.float_info.min)
    if mean_squared_error == 0:
        return LOSSLESS_PSNR
    return min(LOSSLESS_PSNR, 10 * math.log10(peak * peak / mean_squared_error))


def plane_psnr(source: Plane, decoded: Plane, bit_depth: int) -> float:
    """PSNR in dB of two integer planes with peak 2^bit_depth - 1."""
    difference: NDArray[np.float64] = source.astype(np.float64) - decoded
    return psnr(float(np.mean(difference * difference)), (1 << bit_depth) - 1)


@checked
def rgb_of(picture: Yuv420, colour: Colour) -> Tensor:
    """RGB (1,3,H,W) clipped to [0,1], at the picture's own size even if that is odd."""
    return all_rgb_of([picture], colour)


def all_rgb_of(pictures: Sequence[Yuv420], colour: Colour, device: torch.device | str = "cpu") -> Tensor:
    """RGB (B,3,H,W) of pictures of one size, as `rgb_of` makes it of one."""
    first, planes = pictures[0], all_in_levels([pad(picture, 2) for picture in pictures], device)
    return crop_rgb(planes_to_rgb(planes, colour, first.bit_depth), first.width, first.height).clamp(0, 1)


def structural_weight(rgb: Tensor) -> Tensor:
    """(B,1,H,W): what a small error weighs in MS-SSIM at each pixel of RGB (B,3,H,W), by the root; harmonic mean 1.

    SSIM divides the error within a window by its variance. Of the error of one scale half, about, is left on the next.
    The root because what is coded moves by whole steps: the best of powers 0.5, 0.8 and 1, four clips at two rates.
    Source: Wang, Simoncelli and Bovik, "Multiscale structural similarity", 2003.
    """

    def around(x: Tensor) -> Tensor:
        """Means over windows of 11x11 samples, of the same shape; edges repeated."""
        reach = WINDOW // 2
        return F.avg_pool2d(F.pad(x, (reach,) * 4, mode="replicate"), WINDOW, 1)

    total, size = torch.zeros_like(rgb[:, :1]), rgb.shape[2:]
    for scale, share in enumerate(SCALES):
        variance = (around(rgb * rgb) - around(rgb).square()).clamp(min=0)
        weight = around((1 / (2 * variance + STABILISER)).mean(1, keepdim=True))
        total += share * 0.5**scale * F.interpolate(weight, size, mode="bilinear")
        rgb = F.avg_pool2d(rgb, 2)
    root = total.sqrt()
    return root * (1 / root).mean((1, 2, 3), keepdim=True)


@checked
def compare(source: Yuv420, decoded: Yuv420, colour: Colour, *, with_ms_ssim: bool = True) -> Quality:
    """All measures of one decoded picture. RGB has peak 1 and is not rounded, as in the learned-codec literature.

    InputError if the pictures differ in size or bit depth.
    """
    check_picture("decoded", decoded, source)
    y, u, v = (plane_psnr(a, b, source.bit_depth) for a, b in zip(source.planes, decoded.planes, strict=True))
    reference, shown = rgb_of(source, colour), rgb_of(decoded, colour)
    error = float(torch.mean((reference - shown) ** 2))
    similarity = math.nan
    if with_ms_ssim and min(source.width, source.height) >= MS_SSIM_SHORTEST:
        similarity = float(ms_ssim(reference, shown, data_range=1.0))
    return Quality(y, u, v, psnr(error), similarity)
