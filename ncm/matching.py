# SPDX-License-Identifier: MIT
"""Neighbour correspondence matching (Jia 2022, 3.2.2, equations 2 to 4)."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from .warp import warp


def match_neighbours(past: Tensor, future: Tensor, *, scales: int = 4, window: int = 3) -> Tensor:
    """Correspondences (B, scales*window^4, h, w) of features (B,C,h,w), channel-wise dot products over sqrt(C).

    At scale k the pixel (i,j) looks at position (i,j)/2^k of the features averaged down by 2^k, in a window centred
    there, all pairs of one position in `past` and one in `future` (past's position varies slowest).
    Source: equations 3 and 4; the division by sqrt(C) is ours, so that the products start at unit scale.
    """
    return torch.cat([_match_scale(past, future, k, window) for k in range(scales)], 1)


def match_along(past: Tensor, future: Tensor, flow: Tensor, *, scales: int = 4, window: int = 3) -> Tensor:
    """Correspondences (B, scales*window^4, h, w) of features (B,C,h,w), with windows centred where the flow points.

    flow (B,4,h,w) is in pixels of the features: x, y to the past, x, y to the future. Correspondences
    are channel-wise dot products over sqrt(C).
    Source: "flow-guided matching" of table 4, which the paper describes in words only (3.2.1).
    """
    return torch.cat([_match_scale_along(past, future, flow, k, window) for k in range(scales)], 1)


def _match_scale(past: Tensor, future: Tensor, k: int, window: int) -> Tensor:
    """One scale of equation 3, (B,window^4,h,w).

    Neighbours share products: how well p+a in past fits p+b in future depends on p+a and b-a alone. So each of the
    (2*window-1)^2 displacements b-a is multiplied once, over the picture and its margin, and the window^4 results are
    views of these planes: time and memory are linear in pixels, and the memory is that of the result.
    """
    height, width = past.shape[-2:]
    radius, step = window // 2, 2**k
    margin = radius * step
    past, future = spread(past, k, margin), spread(future, k, margin)
    shifts = range(-2 * radius, 2 * radius + 1)
    products = {v: _products(past, future, v[0] * step, v[1] * step) for v in itertools.product(shifts, repeat=2)}
    offsets = list(itertools.product(range(-radius, radius + 1), repeat=2))
    planes = []
    for a, b in itertools.product(offsets, repeat=2):
        vy, vx = b[0] - a[0], b[1] - a[1]
        top, left = margin + (a[0] + min(0, vy)) * step, margin + (a[1] + min(0, vx)) * step
        planes.append(products[vy, vx][:, top : top + height, left : left + width])
    return torch.stack(planes, 1)


def _products(past: Tensor, future: Tensor, dy: int, dx: int) -> Tensor:
    """past at q times future at q + (dy,dx), over sqrt(C), for all q where both exist: (B,H-|dy|,W-|dx|)."""
    (y0, y1), (x0, x1) = (max(0, -dy), max(0, dy)), (max(0, -dx), max(0, dx))
    height, width = past.shape[-2] - abs(dy), past.shape[-1] - abs(dx)
    here = past[:, :, y0 : y0 + height, x0 : x0 + width]
    there = future[:, :, y1 : y1 + height, x1 : x1 + width]
    return (here * there).sum(1) * past.shape[1] ** -0.5


def _match_scale_along(past: Tensor, future: Tensor, flow: Tensor, k: int, window: int) -> Tensor:
    past, future = spread(past, k, 0), spread(future, k, 0)
    radius, step = window // 2, 2**k
    offsets = range(-radius * step, radius * step + 1, step)
    shifts = [flow.new_tensor([dx, dy]).view(1, 2, 1, 1) for dy in offsets for dx in offsets]
    around_past = [warp(past, flow[:, :2] + shift) for shift in shifts]
    around_future = [warp(future, flow[:, 2:] + shift) for shift in shifts]
    return torch.stack([_products(a, b, 0, 0) for a in around_past for b in around_future], 1)


def spread(feature: Tensor, k: int, margin: int) -> Tensor:
    """The feature (B,C,h,w) averaged down by 2^k, then sampled at (i,j)/2^k for every pixel and a margin around.

    Bilinear, edges repeated: (B,C,h+2*margin,w+2*margin). One step of 2^k in it is one pixel at scale k.
    """
    height, width = feature.shape[-2:]
    if k:
        feature = F.avg_pool2d(feature, 2**k, ceil_mode=True, count_include_pad=False)
    y = torch.arange(-margin, height + margin, device=feature.device, dtype=torch.float32) / 2**k
    x = torch.arange(-margin, width + margin, device=feature.device, dtype=torch.float32) / 2**k
    rows, cols = feature.shape[-2:]
    return _lerp(_lerp(feature, y.clamp(0, rows - 1), 2), x.clamp(0, cols - 1), 3)


def _lerp(feature: Tensor, at: Tensor, dim: int) -> Tensor:
    low = at.floor().long()
    high = (low + 1).clamp(max=feature.shape[dim] - 1)
    weight = (at - low).to(feature.dtype).view([-1 if d == dim else 1 for d in range(4)])
    first = feature.index_select(dim, low)
    return first + (feature.index_select(dim, high) - first) * weight
