# SPDX-License-Identifier: MIT
"""Overlapped block motion compensation."""

import torch
from torch import Tensor

from .block_motion import BOTH, FUTURE, NETWORK, PAST, Blocks
from .subpel import UNIT, Samples, picture_of, pixels_of

EDGE = 0.4  # weight of the prediction by a neighbour's vector in the row next to it, half of that two rows on,
AGREEING = 6.0  # and half where the two are so many times the noise of the references apart; best of 3 to 8


def compensated(past: Tensor, future: Tensor, predicted: Tensor, blocks: Blocks, *, noise: Tensor) -> Tensor:
    """The prediction (B,3,H,W) with motion-compensated blocks in it; noise (B,) is the RMS error of the references.

    At its edges a block is a weighted mean of its own prediction and those that its neighbours' vectors, or the
    network, would give there.
    A neighbour that disagrees by more than noise explains weighs little: an object ends there.
    Source: Orchard and Sullivan, "Overlapped block motion compensation", 1994; weights by agreement are ours.
    """
    sources = _with_neighbours(torch.cat(blocks.fine, 1))
    places = (sources[:, 0] != NETWORK).any(0).nonzero()[:, 0]  # all others are the prediction
    if not len(places):
        return predicted
    units = pixels_of(predicted)
    own, *others = _by_sources(past, future, units[places], sources[:, :, places], places)
    expected = (AGREEING * noise.to(own) + 1 / 255).square().repeat_interleave(len(units) // len(predicted))
    change, total = torch.zeros_like(own), torch.ones_like(own[:, :1])
    for other, edge in zip(others, _edges(own), strict=True):
        difference = other - own
        weight = edge / (1 + difference.square().mean(1, keepdim=True) / expected[places, None, None])
        change, total = change + weight * difference, total + weight
    return picture_of(units.index_copy(0, places, own + change / total), predicted.shape)


def _by_sources(past: Tensor, future: Tensor, predicted: Tensor, sources: Tensor, places: Tensor) -> Tensor:
    """(5,N,C,64): units at `places` (N,) as each of their `sources` (5,5,N), kind and vectors, makes them.

    predicted (N,C,64) is what the network makes.
    """
    kinds, *vectors = sources.transpose(0, 1).flatten(1)
    places, predicted = places.repeat(len(sources)), predicted.repeat(len(sources), 1, 1)
    made = torch.zeros_like(predicted)
    for picture, kind, (x, y) in ((past, PAST, vectors[:2]), (future, FUTURE, vectors[2:])):
        used = ((kinds == kind) | (kinds == BOTH)).nonzero()[:, 0]
        if len(used):
            made[used] += Samples(picture).along(places[used], torch.stack([x, y], 1)[used])
    kinds = kinds[:, None, None]
    made = torch.where(kinds == NETWORK, predicted, torch.where(kinds == BOTH, made / 2, made))
    return made.view(len(sources), -1, *made.shape[1:])


def _with_neighbours(x: Tensor) -> Tensor:
    """(5,C,units): what is given for blocks (B,C,h,w), then for the one above each, below, to the left and right."""
    above, below = torch.cat([x[:, :, :1], x[:, :, :-1]], 2), torch.cat([x[:, :, 1:], x[:, :, -1:]], 2)
    left, right = torch.cat([x[..., :1], x[..., :-1]], 3), torch.cat([x[..., 1:], x[..., -1:]], 3)
    return torch.stack([x, above, below, left, right]).transpose(1, 2).flatten(2)


def _edges(like: Tensor) -> list[Tensor]:
    """Weights of neighbours within a unit (64,), in the order of `_with_neighbours`."""
    ramp = like.new_tensor([EDGE * 2 ** (-n / 2) for n in range(UNIT)])
    down, across = ramp.repeat_interleave(UNIT), ramp.repeat(UNIT)
    return [down, down.flip(0), across, across.flip(0)]
