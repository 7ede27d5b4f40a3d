# SPDX-License-Identifier: MIT
"""What a filter sees beside decoded pictures, found once and kept beside their pass, in 8 bit.

passN-KEY.seen        for frames that were asked for: the pictures beside them, packed planes after one another
passN-KEY.seen.known  a byte a frame: whether those have been found

KEY is made of how they were found and of the pass. So a pass that is made anew begins without any. Both files have room
for every frame of the corpus; where nothing was asked for they take no space on a disk.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bframe.postfilter import PLANES
from ..errors import OutputError
from .data import PEAK, Clip, Corpus


class SeenPictures:
    """The `count` pictures that are seen beside each frame of a decoded pass; `how` says how they were found."""

    def __init__(self, corpus: Corpus, version: int, how: str, count: int) -> None:
        made = corpus.passes[version]
        key = hashlib.sha256(json.dumps([how, made.noise, made.distance]).encode()).hexdigest()[:12]
        path, last = corpus.folder / f"{made.name}-{key}.seen", corpus.clips[-1]
        self.count = count
        self.first = dict(zip((clip.name for clip in corpus.clips), _starts(corpus), strict=True))
        self.samples = opened(path, count * (last.offset + last.frames * last.frame_bytes))
        self.known = opened(path.with_suffix(".seen.known"), sum(clip.frames for clip in corpus.clips))

    def of(self, clip: Clip, frame: int, find: Callable[[], Tensor]) -> NDArray[np.uint8]:
        """Packed planes (6 * count, h, w) in levels; the first time `find` returns (1, 6 * count, h, w) in [0,1].

        That is rounded to levels, so it is the same every time.
        """
        size = self.count * clip.frame_bytes
        start = self.count * (clip.offset + frame * clip.frame_bytes)
        kept, place = self.samples[start : start + size], self.first[clip.name] + frame
        shape = (self.count * PLANES, clip.height // 2, clip.width // 2)
        if not self.known[place]:
            levels = (PEAK * find()).round().clamp(0, PEAK).to(torch.uint8)
            kept[:] = levels.numpy().ravel()
            self.known[place] = 1
        return kept.reshape(shape)


def _starts(corpus: Corpus) -> list[int]:
    """How many frames lie before each clip."""
    return [0, *np.cumsum([clip.frames for clip in corpus.clips])[:-1].tolist()]


def opened(path: Path, size: int) -> NDArray[np.uint8]:
    """A file of so many bytes as an array to be read and written, made of zeros if it is not there. OutputError."""
    try:
        with path.open("ab") as file:
            file.truncate(size)
        return np.memmap(path, np.uint8, "r+")
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error
