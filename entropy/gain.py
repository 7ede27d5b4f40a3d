# SPDX-License-Identifier: MIT
"""One model for all rates: a learned factor a channel for each quality, interpolated between them."""

import math

import torch
from torch import Tensor, nn


class Gain(nn.Module):
    """quality (B,) in [0, qualities - 1] -> factors (B,channels,1,1), geometric between neighbouring qualities.

    Factors start evenly spaced in logarithm, the last `span` times the first and their geometric mean 1.
    Source: Cui et al., "Asymmetric gained deep image compression with continuous rate adaptation", CVPR 2021.
    """

    def __init__(self, qualities: int, channels: int, *, span: float = 1.0) -> None:
        super().__init__()
        self.qualities = qualities
        half = math.log(span) / 2 if qualities > 1 else 0.0
        self.log_factor = nn.Parameter(torch.linspace(-half, half, qualities).unsqueeze(1).repeat(1, channels))

    def forward(self, quality: Tensor) -> Tensor:
        low = quality.floor().long().clamp(max=max(self.qualities - 2, 0))
        high = (low + 1).clamp(max=self.qualities - 1)
        weight = (quality - low).to(self.log_factor.dtype).unsqueeze(1)
        log_factor = torch.lerp(self.log_factor[low], self.log_factor[high], weight)
        return log_factor.exp()[:, :, None, None]


def quality_vector(quality: float | Tensor, qualities: int, batch: int, device: torch.device) -> Tensor:
    """A quality or one a sample as (B,) float64. ValueError outside [0, qualities - 1]."""
    vector = torch.as_tensor(quality, dtype=torch.float64, device=device).expand(batch)
    if not ((vector >= 0) & (vector <= qualities - 1)).all():
        raise ValueError(f"quality {quality} is not in [0, {qualities - 1}]")
    return vector
