# SPDX-License-Identifier: MIT
"""Motion compensation with vectors in quarter pixels, by HEVC's filters (ITU-T H.265, 8.5.3.3.3).

Pictures are handled as units: (N,64), the 64 pixels of an 8x8 square together, squares by sample, row and column.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

UNIT = 8  # pixels to a side
SHIFT = 2  # bits of a vector behind the point
STEPS = 1 << SHIFT  # of a vector in a pixel
TAPS = [  # for luma at quarter positions, of the samples from 3 before to 4 behind
    [tap / 64 for tap in taps]
    for taps in (
        (0, 0, 0, 64, 0, 0, 0, 0),
        (-1, 4, -10, 58, 17, -5, 1, 0),
        (-1, 4, -11, 40, 40, -11, 4, -1),
        (0, 1, -5, 17, 58, -10, 4, -1),
    )
]
BEFORE, BEHIND = 3, 4
PATCH = UNIT + BEFORE + BEHIND  # samples to a side that a unit is made of
AT_ONCE = {"cpu": 1024}  # units, so that their patches stay in the cache;
MANY = 1 << 16  # elsewhere, as starting a piece of work takes longer than the work


def quarters_of(planes: Tensor) -> Tensor:
    """(B,16,H+16,W+16): planes (B,1,H,W) at all positions in quarter pixels, 4 * right + down, edges repeated."""
    count, _, height, width = planes.shape
    # Each is padded where it will stay: all sixteen twice would be half a gigabyte of a 1080p picture.
    padded = planes.new_empty(count, STEPS**2, height + 2 * UNIT, width + 2 * UNIT)
    for right in range(STEPS):
        across = _filtered(planes, right, -1)
        for down in range(STEPS):
            shifted = F.pad(_filtered(across, down, -2), (UNIT,) * 4, mode="replicate")
            padded[:, STEPS * right + down] = shifted[:, 0]
    return padded


class Samples:
    """Pictures (B,C,H,W), sides multiples of 8, of which units are wanted here and there, at quarter positions."""

    def __init__(self, picture: Tensor) -> None:
        _, self.colours, self.height, self.width = picture.shape
        padded = F.pad(picture, (BEFORE, BEHIND) * 2, mode="replicate")
        flat = padded.permute(0, 3, 2, 1).flatten()  # columns first, all colours of a sample together
        length = PATCH * self.colours
        self._columns = flat.as_strided((len(flat) - length + 1, length), (1, 1))  # from each sample, overlapping
        self._filters = _filters(picture.device)

    def along(self, places: Tensor, vectors: Tensor) -> Tensor:
        """Units (N,C,64) that vectors (N,2), x and y in quarter pixels, point at from the units `places` (N,).

        Units are counted by picture, row and column. Edges are repeated.
        """
        at_once = AT_ONCE.get(places.device.type, MANY)
        parts = zip(torch.split(places, at_once), torch.split(vectors, at_once), strict=True)
        return torch.cat([self._along(*part) for part in parts])

    def _along(self, places: Tensor, vectors: Tensor) -> Tensor:
        down, across = self.height // UNIT, self.width // UNIT
        x, filter_x = _within(UNIT * (places % across), vectors[:, 0], self.width)
        y, filter_y = _within(UNIT * (places // across % down), vectors[:, 1], self.height)
        first = places // (across * down) * (self.width + BEFORE + BEHIND) + x
        columns = first[:, None] + torch.arange(PATCH, device=x.device)
        starts = self.colours * (columns * (self.height + BEFORE + BEHIND) + y[:, None])
        patches = self._columns.index_select(0, starts.flatten()).view(-1, PATCH, PATCH * self.colours)
        across_done = (self._filters[filter_x] @ patches).view(-1, UNIT, PATCH, self.colours)
        rows = across_done.permute(0, 2, 3, 1).reshape(-1, PATCH, self.colours * UNIT)
        units = (self._filters[filter_y] @ rows).view(-1, UNIT, self.colours, UNIT)
        return units.transpose(1, 2).reshape(-1, self.colours, UNIT**2)


def _within(first: Tensor, vectors: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where the patches begin, in the padded picture, of units moved from `first` (N,) by vectors (N,), along one side.

    And which of `_filters` makes the units of them.
    """
    phase, along = vectors % STEPS, vectors.div(STEPS, rounding_mode="floor")
    moved = (first + along).clamp(-UNIT, side)  # what lies outside is the edge repeated, however far away
    inside = moved.clamp(0, side - UNIT)
    return inside, phase * (2 * UNIT + 1) + moved - inside + UNIT


@cache
def _filters(device: torch.device) -> Tensor:
    """(4 * 17,8,15): what makes eight samples of fifteen, by phase, and by how far they are outside of the picture."""
    rows = []
    for taps in TAPS:
        for outside in range(-UNIT, UNIT + 1):
            firsts = [min(max(n + outside, 0), UNIT - 1) for n in range(UNIT)]
            rows.append([[0.0] * first + taps + [0.0] * (UNIT - 1 - first) for first in firsts])
    return torch.tensor(rows, device=device)


def pixels_of(picture: Tensor) -> Tensor:
    """(N,C,64): the units of pictures (B,C,H,W), N by picture, row and column."""
    _, colours, height, width = picture.shape
    units = picture.reshape(-1, colours, height // UNIT, UNIT, width // UNIT, UNIT).permute(0, 2, 4, 1, 3, 5)
    return units.reshape(-1, colours, UNIT**2)


def picture_of(units: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The pictures (B,C,H,W) of this shape that have these units."""
    count, colours, height, width = shape
    rows = units.view(count, height // UNIT, width // UNIT, colours, UNIT, UNIT).permute(0, 3, 1, 4, 2, 5)
    return rows.reshape(shape)


def _filtered(picture: Tensor, phase: int, dim: int) -> Tensor:
    """A picture (B,C,H,W) at positions so many quarters to the right (dim -1) or down (dim -2)."""
    if not phase:
        return picture
    padded = F.pad(picture, (BEFORE, BEHIND, 0, 0) if dim == -1 else (0, 0, BEFORE, BEHIND), mode="replicate")
    out = torch.zeros_like(picture)
    for n, tap in enumerate(TAPS[phase]):
        if tap:
            out.add_(padded.narrow(dim, n, picture.shape[dim]), alpha=tap)
    return out
