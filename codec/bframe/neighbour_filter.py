# SPDX-License-Identifier: MIT
"""A post-filter that sees the neighbouring decoded pictures too: what one picture lost, the others may have kept.

It is the post-filter of `postfilter`, with more to look at: its neighbours, aligned with the picture, and perhaps what
a network predicts between the nearest two. `AnchorFilter` applies it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncm import FrameSynthesis

from ..learned.zeroed import zeroed
from ..video.colour import in_levels, packed, planes_to_rgb, rgb_to_planes, unpacked
from ..video.picture import Colour, Yuv420
from .alignment import aligned
from .postfilter import PLANES, QUIET, Block, PostFilter, PostFilterConfig, loudness, with_loudness

TRUSTED = 3.0  # RMS difference from the picture, by its noise, at which a neighbour counts by 1/e
AROUND = 5  # samples of packed planes, across, over which the difference is measured


@dataclass(frozen=True, kw_only=True)
class NeighbourConfig(PostFilterConfig):
    """Sizes of a filter that sees neighbours. An unknown key is a TypeError, a senseless value a ValueError."""

    reach: int = 2  # neighbours on each side
    network: str = ""  # whose prediction, from the nearest on both sides, is one more neighbour; none by default

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach < 1:
            raise ValueError(f"reach {self.reach} must be 1 and more")

    @property
    def places(self) -> tuple[int, ...]:
        """Where neighbours are, in the order in which the filter sees them: -1, 1, -2, 2 and so on."""
        return tuple(side * away for away in range(1, self.reach + 1) for side in (-1, 1))

    @property
    def seen(self) -> int:
        """How many pictures the filter sees beside the one that it filters."""
        return len(self.places) + bool(self.network)


class Weighed(NamedTuple):
    """How an aligned neighbour differs from the picture (B,6,h,w), in units of the noise, times how far it is trusted.

    That trust (B,1,h,w) is from 0 to 1.
    """

    difference: Tensor
    trust: Tensor


class NeighbourFilter(nn.Module):
    """Tells errors from what was in the picture, by its neighbours too; `start_from` takes over another filter.

    `network` is the one that the config names. It belongs to another weights file, so it is not part of this module.
    """

    def __init__(self, config: NeighbourConfig, network: FrameSynthesis | None = None) -> None:
        super().__init__()
        assert (network is not None) == bool(config.network)
        self.config = config
        self._others = (network,)  # in a tuple, where torch does not find it
        self.path: Path | None = None  # of its weights file, if it has one
        self.first = nn.Conv2d(PLANES + 1, config.width, 3, padding=1)
        self.beside = zeroed(nn.Conv2d(config.seen * (PLANES + 1), config.width, 3, padding=1, bias=False))
        self.gain = zeroed(nn.Conv2d(1, config.width, 1))
        self.blocks = nn.Sequential(*(Block(config.width) for _ in range(config.blocks)))
        self.last = zeroed(nn.Conv2d(config.width, PLANES, 3, padding=1))
        self.shares = zeroed(nn.Conv2d(config.width, 2 * config.seen, 3, padding=1))

    @property
    def network(self) -> FrameSynthesis | None:
        """The network that predicts a further neighbour; its weights are not part of this module."""
        return self._others[0]

    @torch.no_grad()
    def start_from(self, known: "PostFilter | NeighbourFilter") -> None:
        """Take the weights of a filter that sees less; a fresh filter of ours then answers what that one does.

        ValueError unless it has the same width, no more blocks and no more neighbours.
        """
        fits = known.config.width == self.config.width and known.config.blocks <= self.config.blocks
        if not fits or (isinstance(known, NeighbourFilter) and known.config.seen > self.config.seen):
            raise ValueError(f"a filter of {known.config} does not fit into one of {self.config}")
        own = self.state_dict()
        for name, value in known.state_dict().items():
            own[name][tuple(map(slice, value.shape))] = value  # what neighbours more add comes last, and is zero

    def forward(self, planes: Tensor, differences: Sequence[Tensor], noise: Tensor) -> Tensor:
        """What is to be added to packed planes (B,6,h,w) in [0,1]; noise (B,) is their RMS error in RGB.

        `differences` are those of the function of that name, and of what the network predicts if the config names one.
        """
        noise = noise.view(-1, 1, 1, 1)
        loud = loudness(noise)
        near = [weighed(difference / noise.clamp(min=QUIET)) for difference in differences]
        beside = torch.cat([part for neighbour in near for part in neighbour], 1)
        features = F.relu(self.first(with_loudness(planes, loud)) + self.beside(beside)) * (1 + self.gain(loud))
        features = self.blocks(features)
        change = self.last(features).float()
        return (change + self._pull(change, near, self.shares(features).float())) * noise

    def _pull(self, change: Tensor, near: Sequence[Weighed], shares: Tensor) -> Tensor:
        """What neighbours move a picture by (B,6,h,w) that `change` has been added to, by their shares (B,2n,h,w)."""
        pull = torch.zeros_like(change)
        for neighbour, share in zip(near, torch.split(shares, 2, 1), strict=True):
            share = share[:, [0, 0, 0, 0, 1, 1]]  # one for luma, one for chroma
            pull = pull + share * (neighbour.difference - neighbour.trust * change)
        return pull


def planes_of(picture: Yuv420, device: torch.device | str = "cpu") -> Tensor:
    """Packed planes (1,6,h,w) in [0,1] of a picture with even sizes."""
    return packed(in_levels(picture, device)) / ((1 << picture.bit_depth) - 1)


def differences(planes: Tensor, neighbours: Sequence[Tensor | None]) -> list[Tensor]:
    """Packed neighbours (B,6,h,w) in [0,1], aligned with a picture, less this; zero where None says there is none."""
    return [torch.zeros_like(planes) if one is None else aligned(planes, one) - planes for one in neighbours]


def predicted(
    network: FrameSynthesis, past: Tensor, future: Tensor, noise: Tensor, time: float, colour: Colour, bit_depth: int
) -> Tensor:
    """The packed planes (B,6,h,w) in [0,1] that a network predicts between two decoded pictures, which are so too.

    noise (B,) is their RMS error in RGB; `time` is in (0,1) between them.
    """
    peak, (height, width) = (1 << bit_depth) - 1, past.shape[2:]
    edges = (0, -width % (network.multiple // 2), 0, -height % (network.multiple // 2))
    references = (
        planes_to_rgb(unpacked(peak * F.pad(planes, edges, mode="replicate")), colour, bit_depth)
        for planes in (past, future)
    )
    frame = network(*references, time, noise).frame
    return packed(rgb_to_planes(frame, colour, bit_depth))[..., :height, :width] / peak


def weighed(difference: Tensor) -> Weighed:
    """How far to trust a neighbour, by its difference (B,6,h,w) in units of the noise; not at all if there is none."""
    squares = difference[:, :4].square().mean(1, keepdim=True)
    around = F.avg_pool2d(squares, AROUND, 1, AROUND // 2, count_include_pad=False)
    there = difference.flatten(1).any(1).view(-1, 1, 1, 1)
    trust = torch.exp(-around / TRUSTED**2) * there
    return Weighed(difference * trust, trust)
