# SPDX-License-Identifier: MIT
"""One path for training, writing and reading: a network calls `tape.code`, and only the tape differs.

Estimate   training and rate control: quantises softly and adds up bits by name
DryRun     answers what `Write` does, and keeps nothing
Write      collects the symbols of one frame and makes one rANS string of them (`strings`)
Read       takes them from that string; the same calls return the same tensors
"""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from .rounding import bounded, round_through
from .tables import Table

LIMIT = 2**15 - 1  # largest magnitude of a symbol: far above any real one, far below where the coder's bypass overflows


class Coded(NamedTuple):
    """What both sides know of a latent once it is coded: whole-number symbols, and value = mean + symbols."""

    symbols: Tensor
    value: Tensor


class Tape(Protocol):
    """Where latents pass on their way from encoder to decoder."""

    def code(
        self,
        name: str,
        y: Tensor | None,
        *,
        mean: Tensor,
        position: Tensor,
        table: Table,
        mask: Tensor | None = None,
        rdoq_lambda: float | Tensor | None = None,
    ) -> Coded:
        """Code y (any shape, that of `mean`) as round(y - mean); y is None where it is read.

        `position` says for each element which distribution of `table` its symbol has. Elements outside `mask` and
        elements whose distribution is certainly zero are not coded: their symbol is 0, their value the mean.
        `rdoq_lambda` (a number, or one an element) is lambda for rate-distortion optimised quantisation (RDOQ), in bits
        for the square of a quantiser step. The writer takes the symbol next to the nearest one, towards zero, where
        that saves more bits than the added error costs. The reader need not know.
        """


def precise(x: Tensor) -> Tensor:
    """x in float32 or better: a symbol of 16 bits does not fit into the halves of autocast."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def quantise(y: Tensor, mean: Tensor, *, rows: Tensor, table: Table, rdoq_lambda: float | Tensor | None) -> Tensor:
    """Symbols of y - mean: the nearest whole numbers, at most LIMIT in size; the gradient is passed straight through.

    `rdoq_lambda`, bits for the square of a quantiser step, turns RDOQ on. A symbol is then one step nearer to zero
    where that saves more bits than the added error costs.
    Source: rate-distortion optimised quantisation, as HEVC's reference encoder does it, one element at a time.
    """
    difference = bounded((y - mean).to(mean.dtype), -LIMIT, LIMIT)
    symbols = round_through(difference)
    if rdoq_lambda is None:
        return symbols
    return symbols - _rdoq_steps(difference, symbols, rows, table, rdoq_lambda)


@torch.no_grad()
def _rdoq_steps(difference: Tensor, symbols: Tensor, rows: Tensor, table: Table, rdoq_lambda: float | Tensor) -> Tensor:
    """-1, 0 or 1 for each symbol: the step towards zero where it saves more bits than lambda times the added error."""
    where = symbols.nonzero(as_tuple=True)  # nearly all are zero and stay so: their bits need not be known
    nearest, row, off = symbols[where], rows[where], difference[where]
    step = nearest.sign()
    smaller = nearest - step
    saved = table.bits(nearest, row) - table.bits(smaller, row)
    added = (off - smaller).square() - (off - nearest).square()
    weight = rdoq_lambda.expand_as(symbols)[where] if isinstance(rdoq_lambda, Tensor) else rdoq_lambda
    steps = torch.zeros_like(symbols)
    steps[where] = step * (weight * added < saved)
    return steps


def coded_elements(rows: Tensor, table: Table, mask: Tensor | None) -> Tensor:
    """Which elements have a symbol in the stream."""
    coded = rows >= table.first_coded
    return coded if mask is None else coded & mask


class Estimate:
    """Bits without a coder, differentiable. `bits[name]` is (B,): bits of each sample.

    "noise"   rate and value with additive uniform noise (Ballé 2017)
    "mixed"   rate with noise, value rounded straight-through (Minnen and Singh 2020)
    "round"   both rounded, certain zeros dropped, scales of the tables: what Write would do
    Symbols are rounded in every mode, since the exact networks take nothing else.
    """

    def __init__(self, mode: Literal["noise", "mixed", "round"] = "mixed") -> None:
        if mode not in ("noise", "mixed", "round"):
            raise ValueError(f"no mode {mode!r}; there are noise, mixed, round")
        self.mode = mode
        self.bits: dict[str, Tensor] = {}

    def total(self, prefix: str = "") -> Tensor:
        """Bits of each sample (B,) of everything whose name starts so. KeyError if nothing has been coded so."""
        chosen = [bits for name, bits in self.bits.items() if name.startswith(prefix)]
        if not chosen:
            raise KeyError(f"nothing coded as {prefix!r}; there are {', '.join(self.bits)}")
        return torch.stack(chosen).sum(0)

    def code(
        self,
        name: str,
        y: Tensor | None,
        *,
        mean: Tensor,
        position: Tensor,
        table: Table,
        mask: Tensor | None = None,
        rdoq_lambda: float | Tensor | None = None,
    ) -> Coded:
        """Add the bits of y to `bits[name]`, and return its symbols and value, both of the shape of y.

        `position` says for each element which distribution of `table` its symbol has. Elements outside `mask` count no
        bits: their symbol is 0, their value the mean. `rdoq_lambda`, bits for the square of a quantiser step, turns
        RDOQ on. ValueError without y.
        """
        if y is None:
            raise ValueError(f"{name}: bits of a latent cannot be estimated without the latent")
        mean, rows = precise(mean), table.rows(position)
        symbols = quantise(y, mean, rows=rows, table=table, rdoq_lambda=rdoq_lambda)
        counted = torch.ones_like(mean) if mask is None else mask.to(mean.dtype)
        noisy = symbols if self.mode == "round" else (y - mean).to(mean.dtype) + torch.rand_like(mean) - 0.5
        if self.mode == "round":
            counted = coded_elements(rows, table, mask).to(mean.dtype)
            bits = table.bits(symbols, position + (rows - position).detach())
        elif self.mode == "noise" or rdoq_lambda is None:
            bits = table.bits(noisy, position)
        else:  # scales learn from the symbols that there will be; what makes y, from the smoother rate of noise
            smooth = table.bits(noisy, position.detach())
            bits = table.bits(symbols.detach(), position) + smooth - smooth.detach()
        self._add(name, bits * counted)
        symbols = symbols * counted
        return Coded(symbols, mean + (noisy * counted if self.mode == "noise" else symbols))

    def _add(self, name: str, bits: Tensor) -> None:
        sums = bits.flatten(1).sum(1)
        self.bits[name] = self.bits[name] + sums if name in self.bits else sums


class DryRun:
    """Counts nothing and keeps nothing: symbols and values are those of `Write`, for who wants to see them alone."""

    def code(
        self,
        name: str,
        y: Tensor | None,
        *,
        mean: Tensor,
        position: Tensor,
        table: Table,
        mask: Tensor | None = None,
        rdoq_lambda: float | Tensor | None = None,
    ) -> Coded:
        """The symbols of y and value = mean + symbols, both of the shape of y, as `Write.code` returns them.

        ValueError without y.
        """
        if y is None:
            raise ValueError(f"{name}: a latent cannot be rounded without the latent")
        rows = table.rows(position)
        return rounded(y, mean, coded_elements(rows, table, mask), rows=rows, table=table, rdoq_lambda=rdoq_lambda)


def rounded(
    y: Tensor, mean: Tensor, coded: Tensor, *, rows: Tensor, table: Table, rdoq_lambda: float | Tensor | None
) -> Coded:
    """What both sides will know of y: its symbols, 0 where it is not `coded`, and value = mean + symbols."""
    mean = precise(mean)
    symbols = quantise(y, mean, rows=rows, table=table, rdoq_lambda=rdoq_lambda) * coded.to(mean.dtype)
    return Coded(symbols, mean + symbols)
