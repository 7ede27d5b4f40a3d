# SPDX-License-Identifier: MIT
"""Integer CDF tables that live in the checkpoint, and the zero-mean family of scales."""

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .rounding import bounded, half_up

PRECISION = 16  # bits of a CDF; CompressAI's coder knows no other
TOTAL = 1 << PRECISION
TAIL_MASS = 2.0**-12  # what lies outside a table and is left to the coder's bypass
MANY_BITS = 16.0  # no entry of a table costs more; beyond it the bypass takes over, which costs 4 bits a nibble
FAR = 5.0  # standard deviations


class Lists(NamedTuple):
    """Tables as CompressAI's coder takes them: CDF rows, their lengths, and the symbol that each row begins with."""

    cdfs: list[list[int]]
    lengths: list[int]
    offsets: list[int]


class Table(Protocol):
    """What a tape needs to know of a distribution. `position` says, for each element, which row or scale it has."""

    first_coded: int  # rows below it are certainly zero: skipped, not coded

    def rows(self, position: Tensor) -> Tensor:
        """Row of every element, whole numbers."""

    def bits(self, value: Tensor, position: Tensor) -> Tensor:
        """Bits of every element, differentiable in value and position."""

    def lists(self) -> Lists:
        """The integer tables. RuntimeError if they have not been built yet."""


class CdfTables(nn.Module):
    """Rows of 16-bit CDFs as int32 buffers: built once, stored in the checkpoint, never computed again on loading.

    A float that differs in its last bit would give another table on another machine, and another picture.
    """

    cdf: Tensor
    length: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, shape in (("cdf", (0, 0)), ("length", (0,)), ("offset", (0,))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int32))
        self._lists: Lists | None = None

    def store(self, lists: Lists) -> None:
        """Take these tables. ValueError if a row is no CDF."""
        check(lists)
        width = max(lists.lengths)
        padded = [row[:n] + [0] * (width - n) for row, n in zip(lists.cdfs, lists.lengths, strict=True)]
        device = self.cdf.device
        self.cdf = torch.tensor(padded, dtype=torch.int32, device=device)
        self.length = torch.tensor(lists.lengths, dtype=torch.int32, device=device)
        self.offset = torch.tensor(lists.offsets, dtype=torch.int32, device=device)
        self._lists = None

    def lists(self) -> Lists:
        """The tables as lists, converted once. RuntimeError if there are none, ValueError if a row is no CDF."""
        if self._lists is None:
            if not len(self.length):
                raise RuntimeError("these tables have not been built: freeze the model before writing or reading")
            lists = Lists(self.cdf.tolist(), self.length.tolist(), self.offset.tolist())
            check(lists)
            self._lists = lists
        return self._lists

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: object) -> None:
        # Sizes depend on what was trained, so the buffers take the size of what is loaded.
        for name in ("cdf", "length", "offset"):
            if (loaded := state.get(prefix + name)) is not None:
                setattr(self, name, torch.zeros_like(loaded, dtype=torch.int32, device=self.cdf.device))
        super()._load_from_state_dict(state, prefix, *rest)
        self._lists = None


def check(lists: Lists) -> None:
    """ValueError unless every row is a 16-bit CDF: the coder follows these numbers in memory without looking."""
    if not len(lists.cdfs) == len(lists.lengths) == len(lists.offsets):
        raise ValueError(f"{len(lists.cdfs)} CDFs, {len(lists.lengths)} lengths, {len(lists.offsets)} offsets")
    for number, (row, length) in enumerate(zip(lists.cdfs, lists.lengths, strict=True)):
        used = row[: max(length, 0)]
        rising = all(a < b for a, b in itertools.pairwise(used))
        if not 3 <= length <= len(row) or used[0] != 0 or used[-1] != TOTAL or not rising:
            raise ValueError(f"row {number} of the CDF tables does not rise from 0 to {TOTAL} in {length} steps")


def quantised_cdf(masses: list[float]) -> list[int]:
    """CDF of len(masses) + 1 integers from 0 to 65536, every symbol at least 1 wide, from masses that sum to 1."""
    spare, total, cdf = TOTAL - len(masses), 0.0, [0]
    for number, mass in enumerate(masses, start=1):
        total += mass
        cdf.append(number + round(spare * min(total, 1.0)))
    cdf[-1] = TOTAL
    return cdf


Family = Literal["laplace", "gaussian"]


def laplace_tail(x: float, scale: float) -> float:
    """P(X > x) for x >= 0, standard deviation `scale`."""
    return 0.5 * math.exp(-x * math.sqrt(2) / scale)


def gaussian_tail(x: float, scale: float) -> float:
    """P(X > x) for x >= 0, standard deviation `scale`."""
    return 0.5 * math.erfc(x / (scale * math.sqrt(2)))


def laplace_log_mass(value: Tensor, scale: Tensor) -> Tensor:
    """Natural logarithm of P(value - 1/2 < X < value + 1/2), standard deviation `scale`; precise in the tails."""
    size, rate = value.abs(), math.sqrt(2) / scale
    near = size.clamp(max=0.5)
    inner = torch.log1p(-0.5 * (torch.exp((near - 0.5) * rate) + torch.exp(-(near + 0.5) * rate)))
    outer = (0.5 - size.clamp(min=0.5)) * rate + torch.log(-torch.expm1(-rate)) - math.log(2)
    return torch.where(size < 0.5, inner, outer)


def gaussian_log_mass(value: Tensor, scale: Tensor) -> Tensor:
    """Natural logarithm of P(value - 1/2 < X < value + 1/2), standard deviation `scale`; precise in the tails."""
    low, width = (value.abs() - 0.5) / scale, 1 / scale
    near = low.clamp(max=FAR)
    inner = torch.log(0.5 * (torch.erfc(near / math.sqrt(2)) - torch.erfc((near + width) / math.sqrt(2))))
    # Beyond, erfc runs out of digits (and the gradient of torch's log_ndtr is wrong): the asymptotic series of Mills.
    far = low.clamp(min=FAR)
    density = -far.square() / 2 - math.log(2 * math.pi) / 2
    outer = (
        density + torch.log((1 - 1 / (far.square() + 3)) / far) + torch.log(-torch.expm1(-width * (far + width / 2)))
    )
    return torch.where(low < FAR, inner, outer)


FAMILIES: dict[str, tuple[Callable[[float, float], float], Callable[[Tensor, Tensor], Tensor]]] = {
    "laplace": (laplace_tail, laplace_log_mass),
    "gaussian": (gaussian_tail, gaussian_log_mass),
}


def zero_mean_row(tail: Callable[[float, float], float], scale: float) -> tuple[list[int], int]:
    """(CDF, first symbol) of a symmetric distribution of standard deviation `scale`, in double precision."""
    reach = 2
    while 2 * tail(reach + 0.5, scale) > TAIL_MASS:
        reach += 1
    half = [tail(k - 0.5, scale) - tail(k + 0.5, scale) for k in range(1, reach + 1)]
    masses = [*reversed(half), 1 - 2 * tail(0.5, scale), *half, 2 * tail(reach + 0.5, scale)]
    return quantised_cdf(masses), -reach


class ScaleTables(CdfTables):
    """Zero-mean distributions on a ladder of standard deviations, in quantisation steps, evenly spaced in logarithm.

    A position is a real number in [0, levels - 1]; its nearest whole number is the row. Row 0 is "certainly zero".
    ValueError for a family that is not known.
    """

    first_coded = 1

    def __init__(
        self, family: Family = "laplace", *, levels: int = 64, lowest: float = 0.06, highest: float = 64.0
    ) -> None:
        super().__init__()
        if family not in FAMILIES:
            raise ValueError(f"no family {family!r}; there are {', '.join(FAMILIES)}")
        tail, self._log_mass = FAMILIES[family]
        self.levels = levels
        self._log_lowest = math.log(lowest)
        self._step = math.log(highest / lowest) / (levels - 1)
        rows = [zero_mean_row(tail, math.exp(self._log_lowest + self._step * i)) for i in range(levels)]
        self.store(Lists([cdf for cdf, _ in rows], [len(cdf) for cdf, _ in rows], [first for _, first in rows]))

    def position(self, scale: float) -> float:
        """Where a standard deviation stands on the ladder."""
        return (math.log(scale) - self._log_lowest) / self._step

    def scale(self, position: Tensor) -> Tensor:
        """Standard deviation at a position, which is clipped to the ladder."""
        return torch.exp(self._log_lowest + self._step * bounded(position, 0, self.levels - 1))

    def rows(self, position: Tensor) -> Tensor:
        """Nearest row, halves upwards: exact, because the exact networks answer with binary fractions."""
        return half_up(position.detach()).clamp(0, self.levels - 1).int()

    def bits(self, value: Tensor, position: Tensor) -> Tensor:
        """Bits of every element at continuous positions, differentiable in value and position.

        Beyond 16 bits they grow by a logarithm only, about as the coder's bypass does.
        """
        position = position.to(value.dtype)
        bits = self._log_mass(value, self.scale(position)) / -math.log(2)
        beyond = MANY_BITS + 4 * torch.log2(bits.clamp(min=MANY_BITS) / MANY_BITS)
        return torch.where(bits < MANY_BITS, bits, beyond)
