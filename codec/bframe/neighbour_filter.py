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
from ..video.colour import Planes, in_levels, packed, planes_to_rgb, rgb_to_planes, unpacked
from ..video.picture import Colour, Yuv420
from .alignment import aligned
from .postfilter import PLANES, QUIET, Block, PostFilter, PostFilterConfig, loudness, with_loudness

TRUSTED = 3.0  # RMS difference from the picture, by its noise, at which a neighbour counts by 1/e
AGREEING = 1.3  # the same of a prediction, from the picture as it is filtered so far
MADE = 3  # pictures that `predicted` makes
START = 0.2  # of what a prediction that agrees differs by is taken before training
LUMA_CHROMA = [0, 0, 0, 0, 1, 1]  # which share each of the packed planes has
EVEN = 1e-4  # of a map's power, added to it where weights are found, so that maps nearly alike get no huge ones
AROUND = 5  # samples of packed planes, across, over which the difference is measured


@dataclass(frozen=True, kw_only=True)
class NeighbourConfig(PostFilterConfig):
    """Sizes of a filter that sees neighbours. An unknown key is a TypeError, a senseless value a ValueError."""

    reach: int = 2  # neighbours on each side
    network: str = ""  # what it makes of the nearest on both sides are three more neighbours; none by default
    luma_corrections: int = 0
    chroma_corrections: int = 0  # of each of U and V

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reach < 1:
            raise ValueError(f"reach {self.reach} must be 1 and more")
        if min(self.corrections) < 0:
            raise ValueError(f"corrections {self.corrections} must not be below 0")

    @property
    def places(self) -> tuple[int, ...]:
        """Where neighbours are, in the order in which the filter sees them: -1, 1, -2, 2 and so on."""
        return tuple(side * away for away in range(1, self.reach + 1) for side in (-1, 1))

    @property
    def corrections(self) -> tuple[int, int, int]:
        """How many corrections there are of Y, U and V."""
        return self.luma_corrections, self.chroma_corrections, self.chroma_corrections

    @property
    def seen(self) -> int:
        """How many pictures the filter sees beside the one that it filters."""
        return len(self.places) + MADE * bool(self.network)


class Weighed(NamedTuple):
    """How an aligned neighbour differs from the picture (B,6,h,w), in units of the noise, times how far it is trusted.

    That trust (B,1,h,w) is from 0 to 1.
    """

    difference: Tensor
    trust: Tensor


class NeighbourFilter(nn.Module):
    """Tells errors from what was in the picture, by its neighbours too; `start_from` takes over another filter.

    Corrections are further maps, by which no picture is better in the mean. Each may be added, with a weight that an
    encoder finds for the pictures at hand.
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
        luma, u, v = config.corrections
        self.corrections = nn.Conv2d(config.width, 4 * luma + u + v, 3, padding=1) if luma or u else None
        if network is not None:
            nn.init.constant_(self.shares.bias[-2:], START)  # type: ignore[index]

    @property
    def network(self) -> FrameSynthesis | None:
        """The network that predicts a further neighbour; its weights are not part of this module."""
        return self._others[0]

    @torch.no_grad()
    def start_from(self, known: "PostFilter | NeighbourFilter") -> None:
        """Take the weights of a filter that sees less; a fresh filter of ours then answers what that one does.

        But for what a prediction adds from the start. Corrections are left out if ours has none. ValueError unless it
        has the same width, no more blocks and no more neighbours, and the same corrections, if both have some.
        """
        fits = known.config.width == self.config.width and known.config.blocks <= self.config.blocks
        own = self.state_dict()
        if isinstance(known, NeighbourFilter):
            corrects = {known.config.corrections, self.config.corrections} - {(0, 0, 0)}
            fits = fits and known.config.seen <= self.config.seen and len(corrects) < 2
        if not fits:
            raise ValueError(f"a filter of {known.config} does not fit into one of {self.config}")
        for name, value in known.state_dict().items():
            if name in own:
                own[name][tuple(map(slice, value.shape))] = value  # what further neighbours add comes last

    def forward(self, planes: Tensor, differences: Sequence[Tensor], noise: Tensor) -> Tensor:
        """What is to be added to packed planes (B,6,h,w) in [0,1], and then the corrections: (B,6+n,h,w).

        n is 4 for each correction of luma, then 1 for each of U and of V. noise (B,) is the RMS error in RGB.
        `differences` are those of the function of that name, and of what is `predicted` if the config names a network.
        """
        noise = noise.view(-1, 1, 1, 1)
        loud = loudness(noise)
        differences = [difference / noise.clamp(min=QUIET) for difference in differences]
        near = [weighed(difference) for difference in differences]
        beside = torch.cat([part for neighbour in near for part in neighbour], 1)
        features = F.relu(self.first(with_loudness(planes, loud)) + self.beside(beside)) * (1 + self.gain(loud))
        features = self.blocks(features)
        shares = [share[:, LUMA_CHROMA] for share in torch.split(self.shares(features).float(), 2, 1)]
        change = self.last(features).float()
        if self.network is None:
            change = change + _pull(change, near, shares)
        else:
            change = change + _pull(change, near[:-1], shares[:-1])
            change = change + shares[-1] * _agreeing(differences[-1], change)
        if self.corrections is not None:
            change = torch.cat([change, self.corrections(features).float()], 1)
        return change * noise


def _pull(change: Tensor, near: Sequence[Weighed], shares: Sequence[Tensor]) -> Tensor:
    """What neighbours move a picture by (B,6,h,w) that `change` has been added to, by their shares."""
    pull = torch.zeros_like(change)
    for neighbour, share in zip(near, shares, strict=True):
        pull = pull + share * (neighbour.difference - neighbour.trust * change)
    return pull


def _agreeing(difference: Tensor, change: Tensor) -> Tensor:
    """What a prediction still differs by from a picture that `change` has been added to, where both agree.

    A prediction is not aligned with the picture, and wrong in places. So it must agree better than a neighbour.
    """
    left = difference - change
    return left * trust(left, AGREEING) * _there(difference)


def planes_of(picture: Yuv420, device: torch.device | str = "cpu") -> Tensor:
    """Packed planes (1,6,h,w) in [0,1] of a picture with even sizes."""
    return packed(in_levels(picture, device)) / ((1 << picture.bit_depth) - 1)


def by_plane(added: Tensor, corrections: Sequence[int]) -> Planes:
    """What a filter answers (B,6+n,h,w), for Y (B,1+a,2h,2w), U (B,1+b,h,w) and V (B,1+c,h,w).

    The change comes first, then the corrections; a, b and c are how many these are.
    """
    luma, u, v = corrections
    change, more_y, more_u, more_v = torch.split(added, [PLANES, 4 * luma, u, v], 1)
    y = F.pixel_shuffle(torch.cat([change[:, :4], more_y], 1), 2)
    return y, torch.cat([change[:, 4:5], more_u], 1), torch.cat([change[:, 5:], more_v], 1)


def differences(planes: Tensor, neighbours: Sequence[Tensor | None]) -> list[Tensor]:
    """Packed neighbours (B,6,h,w) in [0,1], aligned with a picture, less this; zero where None says there is none."""
    return [torch.zeros_like(planes) if one is None else aligned(planes, one) - planes for one in neighbours]


def predicted(
    network: FrameSynthesis, past: Tensor, future: Tensor, noise: Tensor, time: float, colour: Colour, bit_depth: int
) -> list[Tensor]:
    """What a network makes of two decoded pictures, packed planes (B,6,h,w) in [0,1]: packed planes, too.

    Both pictures along its motion, and last the frame that it predicts. noise (B,) is their RMS error in RGB; `time` is
    in (0,1) between them.
    """
    peak, (height, width) = (1 << bit_depth) - 1, past.shape[2:]
    edges = (0, -width % (network.multiple // 2), 0, -height % (network.multiple // 2))
    references = (
        planes_to_rgb(unpacked(peak * F.pad(planes, edges, mode="replicate")), colour, bit_depth)
        for planes in (past, future)
    )
    made = network(*references, time, noise)
    assert made.warped is not None  # only averaged predictions have none
    pictures = [*made.warped, made.frame]
    return [packed(rgb_to_planes(each, colour, bit_depth))[..., :height, :width] / peak for each in pictures]


def weighed(difference: Tensor) -> Weighed:
    """How far to trust a neighbour, by its difference (B,6,h,w) in units of the noise; not at all if there is none."""
    found = trust(difference, TRUSTED) * _there(difference)
    return Weighed(difference * found, found)


def trust(difference: Tensor, size: float) -> Tensor:
    """(B,1,h,w): 1 where luma differs by nothing around, 1/e where by an RMS of `size`, both in units of the noise."""
    squares = difference[:, :4].square().mean(1, keepdim=True)
    around = F.avg_pool2d(squares, AROUND, 1, AROUND // 2, count_include_pad=False)
    return torch.exp(-around / size**2)


def _there(difference: Tensor) -> Tensor:
    """(B,1,1,1) bool: which samples differ at all; where a neighbour is missing, nothing does."""
    return difference.flatten(1).any(1).view(-1, 1, 1, 1)
