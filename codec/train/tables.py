# SPDX-License-Identifier: MIT
"""Tables of distributions by what streams hold: the work behind `codec train tables`.

Training counts bits by smooth densities. The writer of the codec applies RDOQ, motion-compensates blocks and
codes at the anchors' quality. So what it sends is distributed otherwise, hyper-latents above all.
Tables belong to the weights: those made of counts cost less, and nothing else changes.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from entropy import Read
from entropy.tables import TOTAL, CdfTables, Lists, ScaleTables, quantised_cdf

from ..bframe.coder import BFrameCoder
from ..bframe.network import BFrameCodec
from ..container.opening import reading
from ..decoder.video import Video, raise_if_damaged
from ..errors import InputError
from ..models.bframe_file import save_codec_like
from ..models.registry import find_fingerprint
from ..models.store import check_name
from ..progress import Progress, quiet

PRIOR = 50.0  # symbols that the table from before stands for in each row


class Counts:
    """How often each entry of the rows of a codec's tables was read, by the table's name.

    What is beyond a row is counted in its last entry.
    """

    def __init__(self) -> None:
        self.found: dict[str, list[NDArray[np.float64]]] = {}
        self.payloads = 0

    def add(self, name: str, lists: Lists, rows: list[int], symbols: list[int]) -> None:
        """Count symbols of these rows."""
        counts = self.found.setdefault(name, [np.zeros(length - 1) for length in lists.lengths])
        row = np.array(rows, dtype=int)
        place, beyond = np.array(symbols, dtype=int) - np.array(lists.offsets)[row], np.array(lists.lengths)[row] - 2
        place = np.where((place < 0) | (place > beyond), beyond, place)
        for number in np.unique(row):
            np.add.at(counts[number], place[row == number], 1)


class CountingRead(Read):
    """Reads a payload, and counts what it reads by tables that have a name, which their lists' identity tells."""

    def __init__(self, data: bytes, names: dict[int, str], counts: Counts) -> None:
        super().__init__(data)
        self._names, self._counts = names, counts
        counts.payloads += 1

    def decode(self, rows: list[int], lists: Lists) -> list[int]:
        """The next symbols, which have these rows of the tables; those of named tables are counted.

        EntropyError where the string cannot hold so many.
        """
        symbols = super().decode(rows, lists)
        if id(lists) in self._names:  # those of blocks and filters are given, and not part of the weights
            self._counts.add(self._names[id(lists)], lists, rows, symbols)
        return symbols


def fit_tables(streams: Sequence[Path], output: Path, *, device: str = "auto", progress: Progress = quiet) -> int:
    """Write the model of some streams with tables by what they hold; the number of B-frames that were counted.

    InputError if they are of several models, or hold no B-frames with payloads; DamageError if one is damaged.
    """
    check_name(output)
    _check_alike(streams)
    counts = Counts()
    with Video(streams[0], device=device) as video:
        model = video.model
    for number, path in enumerate(streams, start=1):
        _count(path, counts, device)
        progress(number, len(streams))
    if model.codec is None or not counts.payloads:
        remedy = "code more frames, in --mode bitneed, at a lower --crf"
        raise InputError(f"{streams[0]}: no B-frame of this or the other streams has a payload; {remedy}")
    for name, part in tables_of(model.codec).items():
        if name in counts.found:
            part.store(fit(part.lists(), counts.found[name], symmetric=isinstance(part, ScaleTables)))
    known = find_fingerprint(model.fingerprint, model.name)
    save_codec_like(model.codec, output, like=known, tables=f"of {counts.payloads} B-frames in {len(streams)} streams")
    return counts.payloads


def tables_of(codec: BFrameCodec) -> dict[str, CdfTables]:
    """The tables that are part of a codec's weights, by name."""
    return {name: part for name, part in codec.named_modules() if isinstance(part, CdfTables)}


def fit(lists: Lists, counts: Iterable[NDArray[np.float64]], *, symmetric: bool) -> Lists:
    """Tables like those given, by counts; where those are few, much as they were."""
    cdfs = []
    for cdf, length, found in zip(lists.cdfs, lists.lengths, counts, strict=True):
        if symmetric:  # the last entry stands for both sides
            found = np.append((found[:-1] + found[-2::-1]) / 2, found[-1])
        masses = found + PRIOR * np.diff(cdf[:length]) / TOTAL
        cdfs.append(quantised_cdf((masses / masses.sum()).tolist()))
    return Lists(cdfs, [len(cdf) for cdf in cdfs], lists.offsets)


def _check_alike(streams: Sequence[Path]) -> None:
    """InputError if a stream is not of the first one's model, before hours of decoding."""
    headers = []
    for path in streams:
        with reading(path) as (_, reader):
            headers.append(reader.header)
    first = headers[0]
    for path, header in zip(streams, headers, strict=True):
        if header.fingerprint != first.fingerprint:
            found = f"of model {header.model!r}, fingerprint {header.fingerprint.hex()}"
            raise InputError(f"{path}: {found}, the first is of {first.model!r}; give streams of one model")


def _count(path: Path, counts: Counts, device: str) -> None:
    """Decode a stream and count what its payloads hold."""
    with Video(path, device=device) as video:
        if isinstance(video.predictor, BFrameCoder):
            names = {id(part.lists()): name for name, part in tables_of(video.predictor.codec).items()}
            video.predictor.reader = lambda data: CountingRead(data, names, counts)
        for _ in video:
            pass
        raise_if_damaged(video)
