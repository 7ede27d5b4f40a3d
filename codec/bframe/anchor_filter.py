# SPDX-License-Identifier: MIT
"""The post-filter at work on the decoded anchors of a segment: each alone, or with its neighbours beside it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncm import FrameSynthesis

from ..bitstream.syntax import CORRECTION_STEPS, FULL_STRENGTH, PAIRS, Sight
from ..device import repeatable
from ..video.colour import Planes, crop_planes, in_levels, rounded, unpacked
from ..video.picture import VideoInfo, Yuv420, pad
from .neighbour_filter import MADE, NeighbourFilter, by_plane, differences, planes_of, predicted
from .postfilter import PostFilter
from .wiener_filter import filtered


class Change(NamedTuple):
    """What is to be added to an anchor: to its planes, in levels, and their corrections (1,n,H,W), if there are any.

    These are signed bytes, which count `correction_step` of a level each: an encoder keeps those of a whole segment.
    """

    planes: Planes
    corrections: Planes


class AnchorFilter:
    """Filters the anchors of one video, with their neighbours if there is a filter that sees them.

    With `half`, the filters compute in bfloat16; where neighbours are is found as ever.
    """

    def __init__(
        self, alone: PostFilter, beside: NeighbourFilter | None, info: VideoInfo, *, half: bool = False
    ) -> None:
        self.alone, self.beside, self.half = alone, beside, half
        self.info = info
        self.device = next(alone.parameters()).device

    @property
    def reach(self) -> int:
        """How many anchors away the farthest neighbour is that the filter sees."""
        return 0 if self.beside is None else max(abs(step) for step in self.beside.config.places)

    @property
    def corrections(self) -> tuple[int, int, int]:
        """How many corrections the filter has of Y, U and V, where it sees neighbours."""
        return (0, 0, 0) if self.beside is None else self.beside.config.corrections

    @property
    def sights(self) -> list[Sight]:
        """What the filter can see of other anchors; least comes first."""
        network = self.beside is not None and self.beside.network is not None
        return [Sight.ALONE] + [Sight.NEIGHBOURS] * (self.beside is not None) + [Sight.PREDICTION] * network

    @repeatable
    @torch.no_grad()
    def changes(self, decoded: Mapping[int, Yuv420], poc: int, noise: float, sights: Sequence[Sight]) -> list[Change]:
        """What is to be added to one of the decoded anchors of a segment, for each of several sights.

        `noise` is the RMS error of the anchors. Neighbours are the nearest of them on either side, aligned once for all
        sights. Where a sight does not ask for them, and where there are none, the anchor is filtered alone.
        """
        planes, noises = self._planes(decoded[poc]), torch.tensor([noise], device=self.device)
        aligned: list[Tensor] = []
        if self.beside is not None and any(sights) and len(decoded) > 1:
            aligned = differences(planes, self._neighbours(decoded, poc, self.beside.config.places))
        changes = []
        for sight in sights:
            near = aligned if sight else []
            if near and self.beside is not None and self.beside.network is not None:
                seen = sight is Sight.PREDICTION
                made = self._foreseen(self.beside.network, decoded, poc, noises) if seen else [planes] * MADE
                near = [*near, *(each - planes for each in made)]
            changes.append(self._change(planes, near, noises))
        return changes

    def _change(self, planes: Tensor, near: Sequence[Tensor], noises: Tensor) -> Change:
        """What the filter for so many neighbours says of packed planes."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            if self.beside is not None and near:
                said = by_plane(self.beside(planes, near, noises), self.beside.config.corrections)
            else:
                said = unpacked(self.alone(planes, noises))
        y, u, v = crop_planes(said, self.info.width, self.info.height)
        peak = (1 << self.info.bit_depth) - 1
        return Change((y[:, :1] * peak, u[:, :1] * peak, v[:, :1] * peak), (_in_bytes(y), _in_bytes(u), _in_bytes(v)))

    def added(self, picture: Yuv420, change: Change, strengths: Sequence[int], corrections: Sequence[int]) -> Planes:
        """An anchor and so many eighths of its planes' changes and corrections, in levels, not yet rounded.

        `corrections` are those of Y, then of U and V; () if none is added.
        """
        step, rest, shown = correction_step(self.info.bit_depth) / FULL_STRENGTH, list(corrections), []
        planes = zip(in_levels(picture, self.device), *change, strengths, strict=True)
        for plane, added, maps, strength in planes:
            own, rest = rest[: maps.shape[1]], rest[maps.shape[1] :]
            plane = plane + added * (strength / FULL_STRENGTH)
            parts = zip(torch.split(maps, 1, 1), own, strict=True) if own else ()
            shown.append(sum((part * (step * weight) for part, weight in parts if weight), start=plane))
        y, u, v = shown
        return y, u, v

    def shown(self, planes: Planes, wiener: Sequence[int]) -> Yuv420:
        """What `added` returned as a picture, after the Wiener filters of these weights; () if there are none."""
        if wiener:
            planes = filtered(planes, torch.tensor(wiener, dtype=torch.float32).view(1, 3, len(PAIRS)))
        return rounded(planes, self.info.bit_depth)

    def _neighbours(self, decoded: Mapping[int, Yuv420], poc: int, steps: Iterable[int]) -> list[Tensor | None]:
        """Packed planes of the anchors so many steps from one; None where there is none."""
        pocs = sorted(decoded)
        places = [pocs.index(poc) + step for step in steps]
        return [self._planes(decoded[pocs[place]]) if 0 <= place < len(pocs) else None for place in places]

    def _foreseen(
        self, network: FrameSynthesis, decoded: Mapping[int, Yuv420], poc: int, noises: Tensor
    ) -> list[Tensor]:
        """Packed planes that a network makes of the nearest anchors; the anchor's own if a side has none."""
        before = max((other for other in decoded if other < poc), default=poc)
        after = min((other for other in decoded if other > poc), default=poc)
        if poc in (before, after):
            return [self._planes(decoded[poc])] * MADE
        past, future = self._planes(decoded[before]), self._planes(decoded[after])
        time = (poc - before) / (after - before)
        return predicted(network, past, future, noises, time, self.info.colour, self.info.bit_depth)

    def _planes(self, picture: Yuv420) -> Tensor:
        """Packed planes of a picture in [0,1], filled up to even sizes."""
        return planes_of(pad(picture, 2), self.device)


def correction_step(bit_depth: int) -> float:
    """What one step of a correction is, in levels."""
    return ((1 << bit_depth) - 1) / (255 * CORRECTION_STEPS)


def _in_bytes(said: Tensor) -> Tensor:
    """The corrections (1,n,h,w) of what a filter says of a plane (1,1+n,h,w) in [0,1], in steps."""
    return (said[:, 1:] * (255 * CORRECTION_STEPS)).round().clamp(-127, 127).to(torch.int8)
