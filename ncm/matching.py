# SPDX-License-Identifier: MIT
"""Neighbour correspondence matching (Jia 2022, 3.2.2, equations 2 to 4)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def match_neighbours(past: Tensor, future: Tensor, *, scales: int = 4, window: int = 3) -> Tensor:
    """Correspondences (B, scales*window^4, h, w) of features (B,C,h,w), channel-wise dot products over sqrt(C).

    At scale k the pixel (i,j) looks at position (i,j)/2^k of the features averaged down by 2^k, in a window centred
    there, all pairs of one position in `past` and one in `future` (past's position varies slowest).
    Source: equations 3 and 4; the division by sqrt(C) is ours, so that the products start at unit scale.
    """
    return torch.cat([_match_scale(past, future, k, window) for k in range(scales)], 1)


def _match_scale(past: Tensor, future: Tensor, k: int, window: int) -> Tensor:
    batch, channels, height, width = past.shape
    around_past = _neighbourhood(past, k, window)  # (B,h*w,d*d,C)
    around_future = _neighbourhood(future, k, window)
    products = around_past @ around_future.transpose(-1, -2) * channels**-0.5  # (B,h*w,d*d,d*d)
    return products.flatten(2).transpose(1, 2).reshape(batch, window**4, height, width)


def _neighbourhood(feature: Tensor, k: int, window: int) -> Tensor:
    """The d*d vectors around position (i,j)/2^k of the feature at scale k, for every (i,j): (B,h*w,d*d,C)."""
    height, width = feature.shape[-2:]
    if k:
        feature = F.avg_pool2d(feature, 2**k, ceil_mode=True, count_include_pad=False)
    radius = window // 2
    rows, cols = feature.shape[-2:]
    offsets = range(-radius, radius + 1)
    y = torch.arange(height, device=feature.device, dtype=torch.float32) / 2**k
    x = torch.arange(width, device=feature.device, dtype=torch.float32) / 2**k
    views = [_sample(feature, y + dy, x + dx, rows, cols) for dy in offsets for dx in offsets]
    return torch.stack(views, 1).flatten(3).permute(0, 3, 1, 2)


def _sample(feature: Tensor, y: Tensor, x: Tensor, rows: int, cols: int) -> Tensor:
    """Bilinear samples of (B,C,rows,cols) on the grid y times x (pixels), edges repeated: (B,C,len(y),len(x))."""
    return _lerp(_lerp(feature, y.clamp(0, rows - 1), 2), x.clamp(0, cols - 1), 3)


def _lerp(feature: Tensor, at: Tensor, dim: int) -> Tensor:
    low = at.floor().long()
    high = (low + 1).clamp(max=feature.shape[dim] - 1)
    weight = (at - low).to(feature.dtype).view([-1 if d == dim else 1 for d in range(4)])
    first = feature.index_select(dim, low)
    return first + (feature.index_select(dim, high) - first) * weight
