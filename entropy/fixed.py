# SPDX-License-Identifier: MIT
"""Distributions that are given, not learned: of choices, and of numbers around zero."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .tables import PRECISION, TOTAL, Lists, check, quantised_cdf

LARGEST_MAGNITUDE = 255  # largest magnitude within a row of `around_zero`; the coder's bypass takes what is larger
TAIL = 1 / 8  # share of the wide part of `around_zero`,
WIDER = 4  # and how much wider it is


class FixedTables:
    """A Table of rows of probabilities; the position of an element is its row.

    The last entry of a row stands for all symbols beyond it. The same on every machine if the probabilities come from
    additions, products and quotients alone, which round alike everywhere.
    """

    first_coded = 0

    def __init__(self, rows: Sequence[Sequence[float]], firsts: Sequence[int]) -> None:
        cdfs = [quantised_cdf(list(row)) for row in rows]
        self._lists = Lists(cdfs, [len(cdf) for cdf in cdfs], list(firsts))
        check(self._lists)
        width = max(self._lists.lengths) - 1
        widths = [[high - low for low, high in pairwise(cdf)] for cdf in cdfs]
        self._widths = torch.tensor([row + [0] * (width - len(row)) for row in widths])
        self._firsts = torch.tensor(list(firsts))
        self._escapes = torch.tensor([len(row) - 1 for row in widths])

    def rows(self, position: Tensor) -> Tensor:
        """Table row of every element, int32: its position, which names the row."""
        return position.int()

    def bits(self, value: Tensor, position: Tensor) -> Tensor:
        """Bits of whole numbers; what is beyond a row costs its last entry, the bypass left out. Without gradient."""
        row = position.long()
        place = torch.round(value.detach()).long() - self._firsts.to(row.device)[row]
        escape = self._escapes.to(row.device)[row]
        place = torch.where((place < 0) | (place > escape), escape, place)
        width = self._widths.to(row.device)[row, place]
        return PRECISION - torch.log2(width.to(value.dtype))

    def lists(self) -> Lists:
        """The integer tables for the coder: CDF rows, their lengths, and each row's first symbol."""
        return self._lists


def choices(rows: Sequence[Sequence[float]]) -> FixedTables:
    """A table of symbols 0, 1, ... whose probabilities are those of each row."""
    rest = 1 / TOTAL  # of what no writer writes
    return FixedTables([[*(mass * (1 - rest) for mass in row), rest] for row in rows], [0] * len(rows))


def around_zero(sizes: Sequence[float]) -> FixedTables:
    """Symmetric rows, each a sum of two geometric distributions; magnitudes are `size` - 1 in the mean, about."""
    rows, firsts = [], []
    for size in sizes:
        masses = [(1 - TAIL) * a + TAIL * b for a, b in zip(_geometric(size), _geometric(WIDER * size), strict=True)]
        rest = 1 - sum(masses) - sum(masses[1:])
        rows.append([*reversed(masses[1:]), *masses, max(rest, 0.0)])
        firsts.append(-LARGEST_MAGNITUDE)
    return FixedTables(rows, firsts)


def _geometric(size: float) -> list[float]:
    """P(0), P(1), ..., P(LARGEST_MAGNITUDE) of a two-sided geometric distribution; P(-k) = P(k)."""
    ratio = (size - 1) / size if size > 1 else 0.0
    mass, masses = (1 - ratio) / (1 + ratio), []
    for _ in range(LARGEST_MAGNITUDE + 1):
        masses.append(mass)
        mass *= ratio
    return masses
