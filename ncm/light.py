# SPDX-License-Identifier: MIT
"""Light and its code values: the transfer function of sRGB (IEC 61966-2-1)."""

import torch
from torch import Tensor


def to_light(rgb: Tensor) -> Tensor:
    """Linear light of sRGB values, both in [0,1]; values outside are clipped."""
    x = rgb.clamp(0, 1)
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def from_light(light: Tensor) -> Tensor:
    """sRGB values of linear light, both in [0,1]."""
    x = light.clamp(0, 1)
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=1e-9) ** (1 / 2.4) - 0.055)
