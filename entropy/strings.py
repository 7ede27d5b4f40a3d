# SPDX-License-Identifier: MIT
"""Tapes that end in rANS strings, one a frame: what they are written to, and read from."""

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from .compress import BufferedRansEncoder, RansDecoder
from .errors import EntropyError
from .tables import TOTAL, Lists
from .tape import LIMIT, Coded, Prior, precise, rounded

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

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """Collect the symbols of y, and return them and value = mean + symbols, both of the shape of y.

        ValueError without y, or where y or its mean is not finite.
        """
        return _put([self], name, y, prior, rdoq_lambda)

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

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """As `Write.code`, for a sample a tape. ValueError without y, or where any y or mean is not finite."""
        return _put(self.tapes, name, y, prior, rdoq_lambda)


def _put(
    tapes: Sequence[Write], name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None
) -> Coded:
    if y is None:
        raise ValueError(f"{name}: a latent cannot be written without the latent")
    if len(y) != len(tapes):
        raise ValueError(f"{name}: {len(y)} samples for {len(tapes)} tapes")
    if not (y.isfinite().all() and prior.mean.isfinite().all()):  # CompressAI's coder would not end
        raise ValueError(f"{name}: the latent or its means hold values that are not finite")
    rows = prior.rows()
    coded = prior.coded(rows)
    both = rounded(y, prior, rows, coded, rdoq_lambda)
    parts = _parts(both.symbols[coded].int(), coded), _parts(rows[coded], coded)
    for tape, symbols, own in zip(tapes, *parts, strict=True):
        tape.encode(symbols, own, prior.table.lists())
    return both


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

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """Take symbols from the string, and return them and value = mean + symbols, both of the prior's shape.

        y and `rdoq_lambda` are not looked at. EntropyError if the symbols cannot be right.
        """
        return _taken([self], name, prior)

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

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """As `Read.code`, for a sample a tape. EntropyError if the symbols of any sample cannot be right."""
        return _taken(self.tapes, name, prior)


def _taken(tapes: Sequence[Read], name: str, prior: Prior) -> Coded:
    mean, rows = precise(prior.mean), prior.rows()
    coded = prior.coded(rows)
    places = coded.flatten().nonzero()[:, 0]
    values: list[int] = []
    for tape, part in zip(tapes, _parts(rows.flatten()[places], coded), strict=True):
        values += tape.decode(part, prior.table.lists())
    if values and not -LIMIT <= min(values) <= max(values) <= LIMIT:
        raise EntropyError(f"{name}: a symbol is beyond {LIMIT}; the string is damaged or of another model")
    symbols = torch.zeros(mean.shape, dtype=mean.dtype, device=mean.device)
    symbols.view(-1)[places] = torch.tensor(values, dtype=mean.dtype, device=mean.device)
    return Coded(symbols, mean + symbols)
