# SPDX-License-Identifier: MIT
"""Motion search for encoders: a pyramid of block costs. Nothing is learnt, so it is right from the first step on."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from ncm import resize_flow, warp

SEARCH_RANGE = 4  # samples searched to every side at the coarsest scale, 1/16: 64 pixels
SCALES = (16, 8, 4, 2)
FRACTIONS = (0.5, 0.25)  # of a sample at the finest scale, after whole ones
WINDOW = 5  # samples, the side of a block
LAZINESS = 0.002  # what a move by one sample must save, in [0,1]: without it flat parts wander


@torch.no_grad()
def motion_search(current: Tensor, reference: Tensor) -> Tensor:
    """Flow (B,2,H/2,W/2) in full-size pixels from current to reference (B,3,H,W); sizes divide by 16."""
    flow = current.new_zeros(len(current), 2, current.shape[2] // SCALES[0], current.shape[3] // SCALES[0])
    for scale in SCALES:
        a, b = (F.avg_pool2d(x.mean(1, keepdim=True), scale) for x in (current, reference))
        flow = resize_flow(flow, (a.shape[2], a.shape[3]))
        flow = _refine(a, b, flow, step=1.0, reach=SEARCH_RANGE if scale == SCALES[0] else 1)
    for fraction in FRACTIONS:
        flow = _refine(a, b, flow, step=fraction, reach=1)
    return flow * SCALES[-1]


def _refine(current: Tensor, reference: Tensor, flow: Tensor, *, step: float, reach: int) -> Tensor:
    """The best of the flows around a flow, and of none at all, for every sample; in samples of these pictures."""
    moves = [(step * dx, step * dy) for dx, dy in itertools.product(range(-reach, reach + 1), repeat=2)]
    candidates = [flow + flow.new_tensor(move).view(1, 2, 1, 1) for move in moves]
    toll = [LAZINESS * (abs(dx) + abs(dy)) for dx, dy in moves]
    costs = [_cost(current, reference, c) + t for c, t in zip(candidates, toll, strict=True)]
    costs.append(_cost(current, reference, torch.zeros_like(flow)))
    best = torch.cat(costs, 1).argmin(1, keepdim=True)  # (B,1,h,w)
    stack = torch.stack([*candidates, torch.zeros_like(flow)], 2)
    return stack.gather(2, best.unsqueeze(1).expand(-1, 2, -1, -1, -1)).squeeze(2)


def _cost(current: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
    """Mean absolute error (B,1,h,w) of the block around every sample."""
    error = (warp(reference, flow) - current).abs()
    return F.avg_pool2d(error, WINDOW, 1, WINDOW // 2, count_include_pad=False)
