# SPDX-License-Identifier: MIT
"""Overlapped block motion compensation."""

import torch
from torch import Tensor

from .block_motion import FUTURE, NETWORK, PAST, Blocks, copied, enlarged
from .subpel import UNIT, copy_along

EDGE = 0.4  # weight of the prediction by a neighbour's vector in the row next to it, half of that two rows on,
AGREEING = 6.0  # and half where the two are so many times the noise of the references apart; best of 3 to 8


def compensated(past: Tensor, future: Tensor, predicted: Tensor, blocks: Blocks, *, noise: Tensor) -> Tensor:
    """The prediction (B,3,H,W) with motion-compensated blocks in it; noise (B,) is the RMS error of the references.

    At its edges a block is a weighted mean of its own prediction and those that its neighbours' vectors, or the
    network, would give there.
    A neighbour that disagrees by more than noise explains weighs little: an object ends there.
    Source: Orchard and Sullivan, "Overlapped block motion compensation", 1994; weights by agreement are ours.
    """
    kinds, vectors = blocks.fine
    kinds, vectors = _with_neighbours(kinds), _with_neighbours(torch.where(copied(kinds), vectors, 0))
    from_past, from_future = (copy_along(x, v) for x, v in zip((past, future), vectors.chunk(2, 1), strict=True))
    kinds, predicted = enlarged(kinds, UNIT), predicted.repeat(5, 1, 1, 1)
    copy = torch.where(
        kinds == PAST, from_past, torch.where(kinds == FUTURE, from_future, (from_past + from_future) / 2)
    )
    own, *others = torch.where(kinds == NETWORK, predicted, copy).chunk(5)
    expected = (AGREEING * noise.to(own) + 1 / 255).square().view(-1, 1, 1, 1)
    change, total = torch.zeros_like(own), torch.ones_like(own[:, :1])
    for other, edge in zip(others, _edges(own), strict=True):
        difference = other - own
        weight = edge / (1 + difference.square().mean(1, keepdim=True) / expected)
        change, total = change + weight * difference, total + weight
    return own + change / total  # exactly the prediction where no block near is compensated


def _with_neighbours(x: Tensor) -> Tensor:
    """(5B,C,h,w): what is given for blocks, and for each the same of the one above, below, to the left and right."""
    above, below = torch.cat([x[:, :, :1], x[:, :, :-1]], 2), torch.cat([x[:, :, 1:], x[:, :, -1:]], 2)
    left, right = torch.cat([x[..., :1], x[..., :-1]], 3), torch.cat([x[..., 1:], x[..., -1:]], 3)
    return torch.cat([x, above, below, left, right])


def _edges(picture: Tensor) -> list[Tensor]:
    """Weights of neighbours in the order of `_with_neighbours`, to be broadcast to a picture (B,3,H,W)."""
    ramp = picture.new_tensor([EDGE * 2 ** (-n / 2) for n in range(UNIT)])
    down, across = (ramp.repeat(n // UNIT) for n in picture.shape[2:])
    return [down[:, None], down.flip(0)[:, None], across, across.flip(0)]
