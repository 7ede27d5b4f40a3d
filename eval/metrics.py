# SPDX-License-Identifier: MIT
"""PSNR and SSIM of RGB pictures as the literature of frame interpolation takes them.

A picture's PSNR is that of its mean squared error over all three channels, a data set's the mean over its pictures.
SSIM has a Gaussian window of 11 and sigma 1.5 that also spans the channels, edges repeated: RIFE's benchmark scripts
measure so (`ssim_matlab`), and with them most papers since. A window within each channel gives other figures.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import codec

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


class Score(NamedTuple):
    """PSNR in dB and SSIM."""

    psnr: float
    ssim: float


def round_to_bytes(rgb: Tensor) -> Tensor:
    """RGB in [0,1] as an 8-bit picture would hold it."""
    return rgb.clamp(0, 1).mul(255).round() / 255


def score(prediction: Tensor, target: Tensor) -> Score:
    """Both measures of RGB (1,3,H,W) in [0,1]."""
    mse = float((prediction - target).square().mean())
    return Score(codec.psnr(mse), ssim(prediction, target))


def ssim(a: Tensor, b: Tensor) -> float:
    """SSIM of RGB (1,3,H,W) in [0,1], one window over rows, columns and channels."""
    mean_a, mean_b = _blur(a), _blur(b)
    variances = _blur(a * a) - mean_a**2 + _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return float((luminance * (2 * covariance + C2) / (variances + C2)).mean())


def _blur(x: Tensor) -> Tensor:
    """(1,3,H,W) under the Gaussian window along channels, rows and columns."""
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = (window / window.sum()).view(1, 1, -1, 1, 1)
    x = F.pad(x[:, None], (WINDOW // 2,) * 6, mode="replicate")  # (1,1,C+10,H+10,W+10)
    for shape in ((1, 1, -1, 1, 1), (1, 1, 1, -1, 1), (1, 1, 1, 1, -1)):
        x = F.conv3d(x, window.view(shape))
    return x[:, 0]
