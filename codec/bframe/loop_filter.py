# SPDX-License-Identifier: MIT
"""The in-loop filter of B-frames with a payload: it takes out part of the errors that their residual left.

It is the filter of anchors that sees neighbours, with other pictures beside: both references, aligned with the decoded
B-frame, and the prediction, which tells where a residual was sent. Its strengths are sent with the payload. B-frames
that refer to this one see it filtered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entropy import EntropyError, Prior, Tape, choices

from ..bitstream.syntax import FULL_STRENGTH
from ..video.colour import Planes
from .neighbour_filter import NeighbourConfig, NeighbourFilter, differences

# How often each strength, in eighths, is chosen, about.
STRENGTHS = choices([[0.04, 0.01, 0.02, 0.03, 0.06, 0.09, 0.13, 0.19, 0.43]])


@dataclass(frozen=True, kw_only=True)
class LoopFilterConfig(NeighbourConfig):
    """Sizes of the in-loop filter of B-frames."""

    reach: int = 1  # neighbours are both references

    @property
    def seen(self) -> int:
        """How many pictures the filter sees beside the B-frame: both references and the prediction."""
        return super().seen + 1


class LoopFilter(NeighbourFilter):
    """Tells errors of a decoded B-frame from what was in the picture; before training it finds none."""

    def change(self, decoded: Tensor, references: Sequence[Tensor], predicted: Tensor, noise: Tensor) -> Tensor:
        """What is to be added to the packed planes of B-frames (B,6,h,w) in [0,1].

        So are those of both references, not aligned, and of what was predicted. noise (B,) is the anchors' RMS error.
        """
        change: Tensor = self(decoded, [*differences(decoded, references), predicted - decoded], noise)
        return change


@torch.no_grad()
def nearest(known: NeighbourFilter) -> NeighbourFilter:
    """What a filter of anchors makes of its nearest two neighbours alone: a loop filter can start from it."""
    model = NeighbourFilter(NeighbourConfig(width=known.config.width, blocks=known.config.blocks, reach=1))
    theirs = known.state_dict()
    for name, value in model.state_dict().items():
        value.copy_(theirs[name][tuple(map(slice, value.shape))])  # the nearest come first
    return model


def code_strengths(tape: Tape, strengths: Tensor | None, used: Tensor) -> Tensor:
    """(B,3) eighths of the changes of Y, U and V on a tape; strengths are None where they are read.

    `used` (B,) bool says which pictures are filtered; the others get 0. EntropyError for one that cannot be.
    """
    zeros = torch.zeros(len(used), 3, 1, 1, device=used.device)
    mask = used.view(-1, 1, 1, 1).expand_as(zeros)
    given = None if strengths is None else strengths.to(zeros)[..., None, None]
    found = tape.code("loop_filter.strengths", given, Prior(zeros, zeros, STRENGTHS, mask)).symbols[..., 0, 0]
    if found.min() < 0 or found.max() > FULL_STRENGTH:
        raise EntropyError("a strength of the loop filter beyond the largest")
    return found


def strength_bits(strengths: Tensor) -> Tensor:
    """What `code_strengths` takes for strengths (B,3), in bits (B,)."""
    return STRENGTHS.bits(strengths, torch.zeros_like(strengths)).sum(1)


def best_strengths(changes: Planes, errors: Sequence[Tensor]) -> Tensor:
    """(B,3): eighths of the changes of planes (B,1,.,.) that leave least of their squared errors."""
    best = [
        (change * error).sum((1, 2, 3)) / change.square().sum((1, 2, 3)).clamp(min=1e-9)
        for change, error in zip(changes, errors, strict=True)
    ]
    return (FULL_STRENGTH * torch.stack(best, 1)).round().clamp(0, FULL_STRENGTH)


def strengthened(planes: Planes, changes: Planes, strengths: Tensor) -> Planes:
    """Planes of pictures (B,1,.,.) and so many eighths (B,3) of the changes to them."""
    y, u, v = (
        plane + change * (own / FULL_STRENGTH).view(-1, 1, 1, 1)
        for plane, change, own in zip(planes, changes, strengths.to(planes[0]).unbind(1), strict=True)
    )
    return y, u, v
