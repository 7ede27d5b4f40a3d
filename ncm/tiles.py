# SPDX-License-Identifier: MIT
"""Convolutions over a large picture tile by tile, so that their features need the memory of one tile.

A tile is computed with a margin as wide as the function sees. So the answer is that of the whole picture, up to the
rounding of sums.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor

GRID = 32  # pixels: what sizes must divide by, and places of tiles too


def by_tiles(function: Callable[..., Tensor], inputs: Sequence[Tensor], side: int, sees: int) -> Tensor:
    """function(*inputs), a map as large as the first input (B,C,H,W), computed in tiles of about `side` pixels.

    The function `sees` so many pixels far. Other inputs may be of that size over a power of two. 0 for a side computes
    all at once.
    """
    margin = -(-sees // GRID) * GRID
    height, width = inputs[0].shape[-2:]
    if not side or max(height, width) <= side:
        return function(*inputs)
    whole: Tensor | None = None
    for top, bottom in _spans(height, side):
        for left, right in _spans(width, side):
            y, x = max(0, top - margin), max(0, left - margin)
            window = y, min(height, bottom + margin), x, min(width, right + margin)
            part = function(*(_cut(each, window, height // each.shape[-2]) for each in inputs))
            if whole is None:
                whole = part.new_empty(*part.shape[:2], height, width)
            whole[..., top:bottom, left:right] = part[..., top - y : bottom - y, left - x : right - x]
    assert whole is not None
    return whole


def _cut(x: Tensor, window: tuple[int, int, int, int], ratio: int) -> Tensor:
    """The part of a map (B,C,h,w) in a window (top, bottom, left, right) in pixels `ratio` times finer than its own."""
    top, bottom, left, right = (edge // ratio for edge in window)
    return x[..., top:bottom, left:right]


def _spans(length: int, side: int) -> Iterator[tuple[int, int]]:
    """Spans of about equal length, at most about `side`, that begin on the grid."""
    count = -(-length // max(side, GRID))
    edges = [round(length * number / count / GRID) * GRID for number in range(count)] + [length]
    yield from pairwise(edges)
