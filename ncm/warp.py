# SPDX-License-Identifier: MIT
"""The project's only warp and its only resampling of pictures and flows."""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(ref: Tensor, flow: Tensor) -> Tensor:
    """Sample ref (B,C,H,W) at p + flow(p); flow (B,2,H,W) in pixels, x first, edges repeated.

    Source: backward warping of Jia 2022, equation 1.
    """
    height, width = ref.shape[-2:]
    # Coordinates stay in float32 under autocast: bfloat16 has no room for a pixel position.
    flow = flow.float()
    steps = flow.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
    grid = flow * steps.view(1, 2, 1, 1)
    grid[:, 0] += torch.linspace(-1, 1, width, device=flow.device)
    grid[:, 1] += torch.linspace(-1, 1, height, device=flow.device).unsqueeze(1)
    # Not stacked but permuted: what grid_sample reads need not lie in its order, and writing it so is half of the work.
    grid = grid.permute(0, 2, 3, 1)
    sampled = F.grid_sample(ref.float(), grid, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled.to(ref.dtype)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear (B,C,H,W) -> (B,C,*size); pixel centres aligned, no antialiasing, as the RIFE networks were trained."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear flow (B,2n,H,W) -> (B,2n,*size), its values (pixels, x and y in turn) scaled with the axes."""
    height, width = flow.shape[-2:]
    if (height, width) == size:
        return flow
    factors = flow.new_tensor([size[1] / width, size[0] / height]).repeat(flow.shape[1] // 2)
    return resize(flow, size) * factors.view(1, -1, 1, 1)
