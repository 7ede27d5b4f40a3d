# SPDX-License-Identifier: MIT
"""The encoder's search for the motion-compensated blocks of a B-frame: which ones, their references, their vectors."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..compiled import Array, array, on_all_rows
from .block_costs import FINEST, KIND_BITS, ROUGH, VECTOR_BITS, Pictures, choose, look_around
from .block_motion import NETWORK, SIZE, SPLIT, Blocks, enlarged, quarter_steps
from .subpel import STEPS, quarters_of

COARSE = 4  # pixels of the first, full search
SEARCH_RANGE = 12  # of these, to each side
LUMA = (0.2126, 0.7152, 0.0722)
LUMA_LAMBDA = 2.0  # times lambda: errors of luma are accompanied by those of chroma
SHORTER = 0.0036  # levels in [0,1], over a block, for each step of a vector: among equals the shortest wins
LEAST_ONE, LEAST_BOTH = (KIND_BITS + n * VECTOR_BITS for n in (2, 4))  # of a block with one vector, with two


class _Best(NamedTuple):
    """For every block of one size: kind, vectors of that kind, and cost in bits, as planes (B,.,h,w)."""

    kinds: Tensor
    vectors: Tensor
    cost: Tensor


class BlockSearch:
    """Searches for the blocks that lower the estimated cost of coding one picture between two references.

    target, past and future are (B,3,H,W); slope (B,) is lambda; weight (B,1,H,W) or (1,1,1,1) is what errors weigh, 0
    where pictures are padding. Costs are bits, and distortion in bits.
    Only those blocks are searched for whose prediction by the network costs more than a vector: no other can win.
    Vectors of the blocks around are tried for each block too, as neighbours mostly move alike.
    The search is the CPU's, whatever computes the networks: it branches for every block.
    """

    def __init__(self, past: Tensor, future: Tensor, target: Tensor, *, slope: Tensor, weight: Tensor) -> None:
        # The power of a coefficient from which on its bits pay; 3, as errors are means over the colours.
        threshold = 3 / (2 * math.log(2) * LUMA_LAMBDA * slope.view(-1, 1, 1, 1))
        self.luma = _luma(target)
        self.references = [_luma(picture) for picture in (past, future)]
        weights = (weight / threshold).sqrt().expand_as(self.luma)
        quarters = quarters_of(torch.cat(self.references))
        count, _, height, width = target.shape
        planes = array(self.luma).ravel(), array(weights).ravel(), array(quarters).ravel()
        self.pictures = Pictures(*planes, (count, height, width))

    def find(self, *, flow: Tensor, predicted: Tensor, start: Blocks | None = None) -> Blocks | None:
        """The blocks that lower the cost, None if none does.

        flow (B,4,H,W) in pixels and `predicted` are the network's. The search is close to the blocks to start from; if
        there are none, a wide one finds where to start.
        """
        luma = array(_luma(predicted)).ravel()
        places, parts = (_Places(self.pictures, flow, luma, size) for size in (SIZE, SIZE // 2))
        vectors = self._wide(places) if start is None else start.vectors
        whole = places.best(_around(vectors), FINEST, (LEAST_ONE, LEAST_BOTH))
        part_vectors = enlarged(whole.vectors, 2) if start is None else start.part_vectors
        small = parts.best(_around(part_vectors), FINEST, (LEAST_ONE, LEAST_BOTH))
        parts_cost = 4 * F.avg_pool2d(small.cost, 2) + KIND_BITS
        kinds = torch.where(parts_cost < whole.cost, SPLIT, whole.kinds)
        return Blocks(kinds, whole.vectors, small.kinds, small.vectors) if (kinds != NETWORK).any() else None

    def _wide(self, places: "_Places") -> Tensor:
        """The best vectors (B,4,h,w) of blocks of `SIZE` to each of the references, sought everywhere."""
        past, future = (self._far_in(reference) for reference in self.references)
        far = [np.stack([past[..., n, :], future[..., n, :]], 3) for n in range(2)]
        return places.best([np.zeros_like(far[0]), *far], ROUGH, (LEAST_ONE, math.inf)).vectors

    def _far_in(self, reference: Tensor) -> Array:
        """The two best vectors (B,h,w,2,2) of a full search in one of the references, in small pictures."""
        small, other = (F.avg_pool2d(x, COARSE) for x in (self.luma, reference))
        padded = F.pad(other, (SEARCH_RANGE,) * 4, mode="replicate")
        count, _, height, width = self.luma.shape
        found = np.empty((count, height // SIZE, width // SIZE, 2, 2), np.int64)
        steps = np.arange(-SEARCH_RANGE, SEARCH_RANGE + 1)
        lengths = (SHORTER * np.hypot(steps, steps[:, None])).astype(np.float32)
        on_all_rows(look_around, count * found.shape[1], array(small[:, 0]), array(padded[:, 0]), lengths, found)
        return STEPS * COARSE * found


class _Places:
    """Blocks of one size in pictures that are searched; `predicted` (B*H*W,) is luma as the network predicts it."""

    def __init__(self, pictures: Pictures, flow: Tensor, predicted: Array, size: int) -> None:
        self.pictures, self.predicted = pictures, predicted
        self.planes = quarter_steps(flow, size)
        self.near = _vectors(self.planes)

    def best(self, starts: Sequence[Array], steps: Array, least: tuple[float, float]) -> _Best:
        """The best of all kinds for every block; vectors start at the network's and at `starts` (B,h,w,2,2)."""
        vectors = np.empty_like(self.near)
        kinds, bits = np.empty(vectors.shape[:3], np.int64), np.empty(vectors.shape[:3])
        given = self.near, np.stack([self.near, *starts], 4), steps, least
        on_all_rows(choose, bits.shape[0] * bits.shape[1], self.pictures, self.predicted, *given, kinds, vectors, bits)
        return _Best(self._plane(kinds), self._plane(vectors), self._plane(bits).float())

    def _plane(self, found: Array) -> Tensor:
        """(B,C,h,w) of what was found for blocks (B,h,w,...)."""
        tensor = torch.from_numpy(found).to(self.planes.device)
        return tensor.flatten(3).permute(0, 3, 1, 2) if tensor.dim() > 3 else tensor[:, None]


def _vectors(planes: Tensor) -> Array:
    """(B,h,w,2,2): vectors of blocks to both references, of planes (B,4,h,w)."""
    return array(planes.permute(0, 2, 3, 1)).reshape(len(planes), *planes.shape[2:], 2, 2)


def _around(planes: Tensor) -> list[Array]:
    """Vectors (B,h,w,2,2) of planes (B,4,h,w): of the blocks, and of those to the left, right, above and below.

    Edges are repeated.
    """
    rows, columns = (torch.arange(-1, side + 1, device=planes.device).clamp(0, side - 1) for side in planes.shape[2:])
    left, right = planes[..., columns[:-2]], planes[..., columns[2:]]
    return list(map(_vectors, [planes, left, right, planes[..., rows[:-2], :], planes[..., rows[2:], :]]))


def _luma(picture: Tensor) -> Tensor:
    return (picture * picture.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
