# SPDX-License-Identifier: MIT
"""The project's only warp and its only resampling of pictures and flows.

While a network is exported for pictures of any size, sizes are symbols instead of whole numbers. What differs then is
said where it does.
"""

from itertools import cycle

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(ref: Tensor, flow: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Sample ref (B,C,H,W) at p + flow(p); flow (B,2,H,W) in pixels, x first, edges repeated.

    Mode "bicubic" blurs less between samples. Source: backward warping of Jia 2022, equation 1.
    """
    grid = _places(flow)
    sampled = F.grid_sample(ref.float(), grid, mode=mode, padding_mode="border", align_corners=True)
    return sampled.to(ref.dtype)


def _places(flow: Tensor) -> Tensor:
    """(B,H,W,2): where flow (B,2,H,W) in pixels, x first, points, as `grid_sample` wants it, -1 and 1 being corners."""
    height, width = flow.shape[-2:]
    # Coordinates stay in float32 under autocast: bfloat16 has no room for a pixel position.
    flow = flow.float()
    if not isinstance(height, int) or not isinstance(width, int):
        return _symbolic_places(flow)
    steps = flow.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)])
    grid = flow * steps.view(1, 2, 1, 1)
    grid[:, 0] += torch.linspace(-1, 1, width, device=flow.device)
    grid[:, 1] += torch.linspace(-1, 1, height, device=flow.device).unsqueeze(1)
    # Not stacked but permuted: what grid_sample reads need not lie in its order, and writing it so is half of the work.
    return grid.permute(0, 2, 3, 1)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear (B,C,H,W) -> (B,C,*size); pixel centres aligned, no antialiasing, as the RIFE networks were trained."""
    if same_size(x, size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear flow (B,2n,H,W) -> (B,2n,*size), its values (pixels, x and y in turn) scaled with the axes."""
    if same_size(flow, size):
        return flow
    height, width = flow.shape[-2:]
    factors = [size[1] / width, size[0] / height]
    if not all(isinstance(factor, float) for factor in factors):  # a tensor would hold them for one size alone
        x_and_y = zip(resize(flow, size).split(1, 1), cycle(factors))  # type: ignore[no-untyped-call]
        return torch.cat([x * factor for x, factor in x_and_y], 1)
    return resize(flow, size) * flow.new_tensor(factors).repeat(flow.shape[1] // 2).view(1, -1, 1, 1)


def same_size(x: Tensor, size: tuple[int, int]) -> bool:
    """Whether x (...,H,W) has this size; of symbols, whether it has it whatever they stand for."""
    rows, columns = x.shape[-2] == size[0], x.shape[-1] == size[1]
    if isinstance(rows, bool) and isinstance(columns, bool):
        return rows and columns
    from torch.fx.experimental.symbolic_shapes import statically_known_true  # takes its time to import

    return statically_known_true(rows) and statically_known_true(columns)


def _symbolic_places(flow: Tensor) -> Tensor:
    """What `_places` answers, by operators that take a symbol for a size."""
    parts = []
    for axis, part in ((-1, flow[:, :1]), (-2, flow[:, 1:])):
        step = 2 / (flow.shape[axis] - 1)
        line = torch.arange(flow.shape[axis], dtype=flow.dtype, device=flow.device) * step - 1
        parts.append(part * step + (line if axis == -1 else line.unsqueeze(1)))
    return torch.cat(parts, 1).permute(0, 2, 3, 1)
