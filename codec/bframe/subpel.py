# SPDX-License-Identifier: MIT
"""Motion compensation with vectors in quarter pixels, by HEVC's filters (ITU-T H.265, 8.5.3.3.3).

Pictures are handled as units: (N,64), the 64 pixels of an 8x8 square together, squares by sample, row and column.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

UNIT = 8  # pixels to a side
STEPS = 4  # of a vector in a pixel
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


class Quarters:
    """A plane (B,1,H,W), sides multiples of 8, at all positions in quarter pixels."""

    def __init__(self, plane: Tensor) -> None:
        self.count, _, self.height, self.width = plane.shape
        across = [_filtered(plane, right, -1) for right in range(STEPS)]
        shifted = torch.cat([_filtered(x, down, -2) for x in across for down in range(STEPS)], 1)
        flat = F.pad(shifted, (UNIT,) * 4, mode="replicate").flatten()
        self._rows = flat.as_strided((len(flat) - UNIT + 1, UNIT), (1, 1))  # eight pixels from each, overlapping

    def copied(self, vectors: Tensor) -> Tensor:
        """Units (N,64) that vectors (B,2,H/8,W/8), x and y in quarter pixels, point at; edges repeated.

        If there are vectors for n times as many samples, each sample is used n times.
        """
        vectors = vectors.int()
        phase, along = vectors % STEPS, vectors.div(STEPS, rounding_mode="floor")
        rows, columns = (self._whole(n, UNIT, vectors) for n in (self.height, self.width))
        # What lies outside is the edge repeated, however far away.
        y = (rows[:, None] + along[:, 1]).clamp_(-UNIT, self.height)
        x = (columns + along[:, 0]).clamp_(-UNIT, self.width)
        sample = self._whole(len(vectors), 1, vectors) % self.count
        plane = STEPS**2 * sample.view(-1, 1, 1) + STEPS * phase[:, 0] + phase[:, 1]
        stride = self.width + 2 * UNIT
        first = (plane * (self.height + 2 * UNIT) + y + UNIT) * stride + x + UNIT
        places = first[..., None] + stride * self._whole(UNIT, 1, vectors)
        return self._rows.index_select(0, places.flatten()).view(-1, UNIT**2)

    @staticmethod
    def _whole(stop: int, step: int, like: Tensor) -> Tensor:
        return torch.arange(0, stop, step, dtype=like.dtype, device=like.device)


def copy_along(picture: Tensor, vectors: Tensor) -> Tensor:
    """A picture (B,C,H,W) motion-compensated by vectors (B,2,H/8,W/8) in quarter pixels, x and y; edges repeated.

    Vectors of n times as many samples give n pictures for each: (nB,C,H,W), all first ones first.
    """
    shape = (len(vectors), 1, *picture.shape[2:])
    # A colour at a time: its sixteen planes are large.
    return torch.cat(
        [plane_of(Quarters(plane).copied(vectors), shape) for plane in picture.chunk(picture.shape[1], 1)], 1
    )


def units_of(plane: Tensor) -> Tensor:
    """(N,64): the units of a plane (B,1,H,W)."""
    count, _, height, width = plane.shape
    units = plane.reshape(count, height // UNIT, UNIT, width // UNIT, UNIT).transpose(2, 3)
    return units.reshape(-1, UNIT**2)


def plane_of(units: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The plane (B,1,H,W) of this shape that has these units."""
    count, _, height, width = shape
    rows = units.view(count, height // UNIT, width // UNIT, UNIT, UNIT).transpose(2, 3)
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
