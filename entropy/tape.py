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


class Prior(NamedTuple):
    """What both sides know of a latent before it is coded: for each element, the distribution of its symbol.

    A symbol is round(y - mean), and its distribution is the one of `table` that `position` says. Elements outside
    `mask`, and those that are certainly zero, are not coded: their symbol is 0, their value the mean.
    """

    mean: Tensor  # of the shape of the latent, as are position and mask
    position: Tensor
    table: Table
    mask: Tensor | None = None

    def rows(self) -> Tensor:
        """Row of `table` of every element, whole numbers."""
        return self.table.rows(self.position)

    def coded(self, rows: Tensor) -> Tensor:
        """Which elements have a symbol in the stream, bool, given their rows."""
        coded = rows >= self.table.first_coded
        return coded if self.mask is None else coded & self.mask


class Coded(NamedTuple):
    """What both sides know of a latent once it is coded: whole-number symbols, and value = mean + symbols."""

    symbols: Tensor
    value: Tensor


class Tape(Protocol):
    """Where latents pass on their way from encoder to decoder."""

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """Symbols and value of y, both of its shape, as the prior says; y is None where it is read.

        `rdoq_lambda` (a number, or one an element) is lambda for rate-distortion optimised quantisation (RDOQ), in bits
        for the square of a quantiser step. The writer takes the symbol next to the nearest one, towards zero, where
        that saves more bits than the added error costs. The reader need not know.
        """


def precise(x: Tensor) -> Tensor:
    """x in float32 or better: a symbol of 16 bits does not fit into the halves of autocast."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def quantise(y: Tensor, prior: Prior, rows: Tensor, rdoq_lambda: float | Tensor | None) -> Tensor:
    """Symbols of y - mean: the nearest whole numbers, at most LIMIT in size; the gradient is passed straight through.

    `rdoq_lambda`, bits for the square of a quantiser step, turns RDOQ on. A symbol is then one step nearer to zero
    where that saves more bits than the added error costs.
    Source: rate-distortion optimised quantisation, as HEVC's reference encoder does it, one element at a time.
    """
    mean = precise(prior.mean)
    difference = bounded((y - mean).to(mean.dtype), -LIMIT, LIMIT)
    symbols = round_through(difference)
    if rdoq_lambda is None:
        return symbols
    return symbols - _rdoq_steps(difference, symbols, rows, prior.table, rdoq_lambda)


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

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """Add the bits of y to `bits[name]`, and return its symbols and value, both of the shape of y.

        Elements outside the prior's mask count no bits. ValueError without y.
        """
        if y is None:
            raise ValueError(f"{name}: bits of a latent cannot be estimated without the latent")
        rows = prior.rows()
        symbols = quantise(y, prior, rows, rdoq_lambda)
        mean, position, table = precise(prior.mean), prior.position, prior.table
        counted = torch.ones_like(mean) if prior.mask is None else prior.mask.to(mean.dtype)
        noisy = symbols if self.mode == "round" else (y - mean).to(mean.dtype) + torch.rand_like(mean) - 0.5
        if self.mode == "round":
            counted = prior.coded(rows).to(mean.dtype)
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

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """The symbols of y and value = mean + symbols, both of the shape of y, as `Write.code` returns them.

        ValueError without y.
        """
        if y is None:
            raise ValueError(f"{name}: a latent cannot be rounded without the latent")
        rows = prior.rows()
        return rounded(y, prior, rows, prior.coded(rows), rdoq_lambda)


def rounded(y: Tensor, prior: Prior, rows: Tensor, coded: Tensor, rdoq_lambda: float | Tensor | None) -> Coded:
    """What both sides will know of y: its symbols, 0 where it is not `coded`, and value = mean + symbols."""
    mean = precise(prior.mean)
    symbols = quantise(y, prior, rows, rdoq_lambda) * coded.to(mean.dtype)
    return Coded(symbols, mean + symbols)
