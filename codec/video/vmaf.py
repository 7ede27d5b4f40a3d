# SPDX-License-Identifier: MIT
"""VMAF by the package `vmaf_torch`, where it is installed (pip install 'ncm-codec[vmaf]'); Netflix's v0.6.1 model."""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ..arguments import check_range, checked
from .picture import Yuv420, check_picture

SHORTEST = 17  # pixels of a side; of less there is nothing left on the model's coarsest scale
BATCH = 8  # frames at a time; longer batches need more memory, and give the same


def vmaf_available() -> bool:
    """Whether the package is there."""
    return find_spec("vmaf_torch") is not None


class Vmaf:
    """Scores frames as they come, in batches; a frame's score needs its two neighbours, for their motion."""

    @checked
    def __init__(self, batch: int = BATCH) -> None:
        check_range("batch", batch, 1)
        from vmaf_torch import VMAF  # it takes a second to import

        self._model: Any = VMAF(clip_score=True)
        self._batch = batch
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._first = True  # whether no frame has been scored yet
        self._scores: list[float] = []

    def add(self, source: Yuv420, decoded: Yuv420) -> None:
        """Take the next frame, its source and its decoded picture, and score a batch once it is full. InputError."""
        check_picture("source", source)
        check_picture("decoded", decoded, source)
        self._waiting.append((_luma(source), _luma(decoded)))
        if len(self._waiting) == self._batch + 2:
            self._score(last=False)

    def finish(self) -> list[float]:
        """The scores of all frames, 0 to 100, NaN where a side is below 17; nothing can be added afterwards."""
        if self._waiting:
            self._score(last=True)
        return self._scores

    def _score(self, *, last: bool) -> None:
        """Score what waits, all but the neighbours on either side, of which two stay for the next batch."""
        with torch.no_grad():
            source, decoded = (torch.stack(planes)[:, None] for planes in zip(*self._waiting, strict=True))
            able = min(source.shape[-2:]) >= SHORTEST
            scores = self._model(source, decoded).flatten().tolist() if able else [float("nan")] * len(source)
        self._scores += scores[0 if self._first else 1 : None if last else -1]
        self._waiting, self._first = self._waiting[-2:], False


def _luma(picture: Yuv420) -> Tensor:
    """Luma (H,W) in [0,255], deeper samples as fractions."""
    return torch.from_numpy(picture.y.astype("float32")) / (1 << (picture.bit_depth - 8))
