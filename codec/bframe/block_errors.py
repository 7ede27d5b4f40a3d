# SPDX-License-Identifier: MIT
"""Mean absolute differences of blocks at all places of a search, the inner loops of alignment.

Sums are rounded as those of torch's `avg_pool2d`, to the bit: all in the same order.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..compiled import Array, array, compiled, on_all_rows


def block_errors(current: Tensor, neighbour: Tensor, *, radius: int, block: int, around: int) -> tuple[Tensor, Tensor]:
    """Costs (B,n*n,h,w) of blocks at all places up to `radius` away, row by row, and the best place (B,1,h,w).

    They are mean absolute differences of pictures (B,1,H,W), and these are means over blocks up to `around` away.
    Blocks are 2 or 4 samples wide and high, smaller at the right and lower edge. The neighbour's edges are repeated.
    """
    count, _, height, width = current.shape
    padded = F.pad(neighbour, (radius,) * 4, mode="replicate")
    down, across, places = -(-height // block), -(-width // block), (2 * radius + 1) ** 2
    errors, costs = np.empty((2, count, places, down, across), np.float32)
    best = np.empty((count, 1, down, across), np.int64)
    on_all_rows(_add_up, count * down, array(current[:, 0]), array(padded[:, 0]), block, errors)
    on_all_rows(_spread, count * down, errors, around, costs, best)
    return torch.from_numpy(costs), torch.from_numpy(best)


@compiled
def _add_up(rows: tuple[int, int], current: Array, padded: Array, block: int, errors: Array) -> None:
    """Into `errors` (B,n*n,h,w): those of some rows of blocks, counted over all samples."""
    _, height, width = current.shape
    _, places, down, across = errors.shape
    reach = padded.shape[1] - height + 1
    line, whole = np.empty(across * block, np.float32), width // block
    for row in range(*rows):
        sample, i = divmod(row, down)
        top, bottom = i * block, min(i * block + block, height)
        for place in range(places):
            total = errors[sample, place, i]
            total[:] = 0
            for y in range(top, bottom):
                here = current[sample, y]
                there = padded[sample, y + place // reach, place % reach : place % reach + width]
                for x in range(width):
                    line[x] = abs(there[x] - here[x])
                # Sums of four and of two are written out: as loops they would not become vector instructions.
                if block == 4:
                    for x in range(whole):
                        two = (total[x] + line[4 * x]) + line[4 * x + 1]
                        total[x] = (two + line[4 * x + 2]) + line[4 * x + 3]
                else:
                    for x in range(whole):
                        total[x] = (total[x] + line[2 * x]) + line[2 * x + 1]
                for x in range(whole * block, width):
                    total[whole] += line[x]
            for x in range(across):
                total[x] /= (bottom - top) * (min(block * (x + 1), width) - block * x)


@compiled
def _spread(rows: tuple[int, int], errors: Array, around: int, costs: Array, best: Array) -> None:
    """Into `costs`: means of `errors` over the blocks around; into `best` (B,1,h,w): where they are least."""
    _, places, down, across = errors.shape
    least = np.empty(across, np.float32)
    for row in range(*rows):
        sample, i = divmod(row, down)
        least[:] = math.inf
        first, last = max(i - around, 0), min(i + around, down - 1)
        for place in range(places):
            total = costs[sample, place, i]
            total[:] = 0
            for y in range(first, last + 1):
                for away in range(-around, around + 1):
                    start, end = max(-away, 0), min(across - away, across)
                    into, error = total[start:end], errors[sample, place, y, start + away : end + away]
                    for x in range(len(into)):
                        into[x] += error[x]
            for x in range(across):
                total[x] /= (last - first + 1) * (min(x + around, across - 1) - max(x - around, 0) + 1)
                if total[x] < least[x]:
                    least[x], best[sample, 0, i, x] = total[x], place
