# SPDX-License-Identifier: MIT
"""One path for training, writing and reading: a network calls `tape.code`, and only the tape differs.

Estimate   training and rate control: quantises softly and adds up bits by name
Write      collects the symbols of one frame and makes one rANS string of them
Read       takes them from that string; the same calls return the same tensors
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from .compress import BufferedRansEncoder, RansDecoder
from .errors import EntropyError
from .rounding import bounded, round_through
from .tables import TOTAL, Lists, Table

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
    worth = rdoq_lambda.expand_as(symbols)[where] if isinstance(rdoq_lambda, Tensor) else rdoq_lambda
    steps = torch.zeros_like(symbols)
    steps[where] = step * (worth * added < saved)
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
        return _rounded(y, mean, coded_elements(rows, table, mask), rows=rows, table=table, rdoq_lambda=rdoq_lambda)


def _rounded(
    y: Tensor, mean: Tensor, coded: Tensor, *, rows: Tensor, table: Table, rdoq_lambda: float | Tensor | None
) -> Coded:
    """What both sides will know of y: its symbols, 0 where it is not `coded`, and value = mean + symbols."""
    mean = precise(mean)
    symbols = quantise(y, mean, rows=rows, table=table, rdoq_lambda=rdoq_lambda) * coded.to(mean.dtype)
    return Coded(symbols, mean + symbols)


# CompressAI's encoder sets aside one word a symbol and may write n/2 + 2: below four symbols it can write past its
# memory (three words for two symbols of 16 bits each; always for none or one). Shorter streams are filled up with a
# symbol that costs nothing.
LEAST = 4
FILLER = Lists([[0, TOTAL - 1, TOTAL]], [3], [0])


class Write:
    """Collects the symbols of one frame; `finish` returns them as one string, empty if there are none."""

    def __init__(self) -> None:
        self._encoder = BufferedRansEncoder()
        self._count = 0

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
        """Collect the symbols of y, and return them and value = mean + symbols, both of the shape of y.

        `position` says for each element which distribution of `table` its symbol has. Elements outside `mask`, or
        certainly zero, are not coded: their symbol is 0. `rdoq_lambda`, bits for the square of a quantiser step, turns
        RDOQ on. ValueError without y, or where y is not finite.
        """
        return _put([self], name, y, mean=mean, position=position, table=table, mask=mask, rdoq_lambda=rdoq_lambda)

    def finish(self) -> bytes:
        """The rANS string of all symbols that were collected, empty if there are none. To be called once, last."""
        if not self._count:
            return b""
        if (missing := LEAST - self._count) > 0:
            self.encode([0] * missing, [0] * missing, FILLER)
        return trimmed(bytes(self._encoder.flush()))

    def encode(self, symbols: list[int], rows: list[int], lists: Lists) -> None:
        """Collect symbols that have these rows of the tables."""
        if symbols:
            self._encoder.encode_with_indexes(symbols, rows, *lists)
            self._count += len(symbols)


class WriteMany:
    """Collects the symbols of a batch of frames, each sample on a tape of its own, as `Write` does for one."""

    def __init__(self, tapes: Sequence[Write]) -> None:
        self.tapes = tapes

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
        """As `Write.code`, for a sample a tape. ValueError without y, or where y of any sample is not finite."""
        return _put(self.tapes, name, y, mean=mean, position=position, table=table, mask=mask, rdoq_lambda=rdoq_lambda)


def _put(
    tapes: Sequence[Write],
    name: str,
    y: Tensor | None,
    *,
    mean: Tensor,
    position: Tensor,
    table: Table,
    mask: Tensor | None,
    rdoq_lambda: float | Tensor | None,
) -> Coded:
    if y is None:
        raise ValueError(f"{name}: a latent cannot be written without the latent")
    if not y.isfinite().all():
        raise ValueError(f"{name}: the latent holds values that are not finite")
    rows = table.rows(position)
    coded = coded_elements(rows, table, mask)
    rounded = _rounded(y, mean, coded, rows=rows, table=table, rdoq_lambda=rdoq_lambda)
    parts = _parts(rounded.symbols[coded].int(), coded), _parts(rows[coded], coded)
    for tape, symbols, own in zip(tapes, *parts, strict=True):
        tape.encode(symbols, own, table.lists())
    return rounded


def _parts(values: Tensor, coded: Tensor) -> list[list[int]]:
    """The values of each sample, of those of all samples one after another; `coded` (B,...) says how many there are."""
    if len(coded) == 1:
        return [values.tolist()]
    every, counts = values.tolist(), coded.flatten(1).sum(1).tolist()
    stops = list(accumulate(counts, initial=0))
    return [every[start:stop] for start, stop in pairwise(stops)]


# A string of the coder begins with its last state, which seldom fills its eight bytes, low ones first: the high ones
# are left out while they are zero, three at most, for the length says modulo 4 how many. That is 1.6 bytes in the mean.
STATE = 8


def trimmed(data: bytes) -> bytes:
    """A coder's string without what `whole` puts back."""
    spare = next((n for n in range(3) if data[STATE - 1 - n]), 3)
    return data[: STATE - spare] + data[STATE:]


def whole(data: bytes) -> bytes:
    """The coder's string of one that was trimmed. EntropyError if it is too short for one."""
    spare = -len(data) % 4
    if 0 < len(data) <= STATE - 4:
        raise EntropyError(f"a string of {len(data)} bytes is too short")
    return data[: STATE - spare] + bytes(spare) + data[STATE - spare :]


# CompressAI's decoder follows whatever it reads without looking where the string ends. So it gets slack behind the
# end, zeros that no stream can exhaust: a symbol takes 16 bits, and a bypass one a run of nibbles 15 (at most 9 in
# 63 bits of state), each announcing 15 nibbles more: 19 words. Runs within the string itself cost 16 words a word.
# The slack begins with a marker. After the last symbol the decoder must stand on it, with the encoder's first state,
# 2^31: reading three more 16-bit symbols shows both, and costs no bit in the stream.
SLACK_PER_SYMBOL, SLACK_PER_WORD, SLACK = 24, 20, 256  # words
MARKER = 0x5EED1D1E


def slack(symbols: int, size: int) -> bytes:
    """Zeros behind a string of `size` bytes, more than a decoder of so many symbols can reach."""
    return bytes(4 * (SLACK + SLACK_PER_SYMBOL * symbols + SLACK_PER_WORD * (size // 4)))


class Read:
    """Takes the symbols of one frame from the string of `Write.finish`.

    EntropyError, at once or from `finish`, where the string cannot be what was written.
    """

    def __init__(self, data: bytes) -> None:
        self._data = whole(data)
        self._decoder = RansDecoder()
        self._past: list[tuple[list[int], Lists]] = []
        self._count = self._capacity = 0

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
        """Take symbols from the string, and return them and value = mean + symbols, both of the shape of `mean`.

        `position` says for each element which distribution of `table` its symbol has. Elements outside `mask`, or
        certainly zero, are not in the string: their symbol is 0. y and `rdoq_lambda` are not looked at.
        EntropyError if the symbols cannot be right.
        """
        return _taken([self], name, mean=mean, position=position, table=table, mask=mask)

    def finish(self) -> None:
        """EntropyError unless exactly the whole string has been read."""
        if not self._data and not self._count:
            return
        if 0 < (missing := LEAST - self._count) < LEAST:
            self.decode([0] * missing, FILLER)
        for expected in (0, MARKER & 0xFFFF, MARKER >> 16):
            if not self._next_is(expected):
                raise EntropyError("the string does not end where its symbols do; it is damaged or of another model")

    def _next_is(self, expected: int) -> bool:
        """Whether the lowest 16 bits of the decoder's state are these; they are used up."""
        cdf = [0, expected, expected + 1, TOTAL] if expected else [0, 1, TOTAL]
        return self.decode([0], Lists([cdf], [len(cdf)], [0])) == [len(cdf) - 3]

    def decode(self, rows: list[int], lists: Lists) -> list[int]:
        """The next symbols, which have these rows of the tables. EntropyError where there can be none."""
        if not rows:
            return []
        if not self._data:
            raise EntropyError("an empty string, but symbols are expected")
        if self._count + len(rows) > self._capacity:
            self._open(2 * (self._count + len(rows)) + LEAST + 4)
        self._past.append((rows, lists))
        self._count += len(rows)
        return list(self._decoder.decode_stream(rows, *lists))

    def _open(self, capacity: int) -> None:
        """Start again with slack for this many symbols, and go to where we were; seldom, as it doubles every time."""
        self._decoder.set_stream(self._data + struct.pack("<I", MARKER) + slack(capacity, len(self._data)))
        self._capacity = capacity
        for rows, lists in self._past:
            self._decoder.decode_stream(rows, *lists)


class ReadMany:
    """Takes the symbols of a batch of frames, each sample from a tape of its own, as `Read` does for one."""

    def __init__(self, tapes: Sequence[Read]) -> None:
        self.tapes = tapes

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
        """As `Read.code`, for a sample a tape. EntropyError if the symbols of any sample cannot be right."""
        return _taken(self.tapes, name, mean=mean, position=position, table=table, mask=mask)


def _taken(
    tapes: Sequence[Read], name: str, *, mean: Tensor, position: Tensor, table: Table, mask: Tensor | None
) -> Coded:
    mean, rows = precise(mean), table.rows(position)
    coded = coded_elements(rows, table, mask)
    places = coded.flatten().nonzero()[:, 0]
    values: list[int] = []
    for tape, part in zip(tapes, _parts(rows.flatten()[places], coded), strict=True):
        values += tape.decode(part, table.lists())
    if values and not -LIMIT <= min(values) <= max(values) <= LIMIT:
        raise EntropyError(f"{name}: a symbol is beyond {LIMIT}; the string is damaged or of another model")
    symbols = torch.zeros(mean.shape, dtype=mean.dtype, device=mean.device)
    symbols.view(-1)[places] = torch.tensor(values, dtype=mean.dtype, device=mean.device)
    return Coded(symbols, mean + symbols)
