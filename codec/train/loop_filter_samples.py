# SPDX-License-Identifier: MIT
"""Coded B-frames as their loop filter sees them: its samples. Each is coded once, and kept in 8 bit beside the cache.

coded-KEY.planes  for each B-frame: as decoded, both references aligned with it, its prediction, its source
coded-KEY.noise   the RMS error of its anchors; 0 = it has not been coded yet

KEY is made of what they are coded with, and of what they are drawn from.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from entropy import Estimate

from ..bframe.alignment import aligned
from ..bframe.loop_filter import LoopFilterConfig
from ..bframe.network import BFrameCodec
from ..bframe.postfilter import PLANES
from ..errors import InputError
from ..models.registry import DEFAULT_CODEC, find, fingerprint_of
from .config import CodecTraining, TrainConfig
from .data import PEAK, Library
from .kept import opened
from .neighbour_samples import POOL, Turn
from .sampling import Batch, Sampler, ValidationItem, collate, validation_items
from .tasks.bframe import drawn_qualities, exact_of, filtered
from .tasks.postfilter import anchor_planes, carrier_of

PICTURES = 5  # kept of each B-frame
FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class LoopFilterTraining(CodecTraining):
    """One run: what training a network has (`loss`, `supervise`, the teacher are not used), and this."""

    codec: LoopFilterConfig = field(default_factory=LoopFilterConfig)
    base: str = DEFAULT_CODEC  # the codec that is to carry the filter: a name, or a .safetensors file
    pictures: int = 2000  # so many B-frames are learnt from
    side: int = 256  # luma samples across of each, a multiple of 32
    filtered: float = 0.6  # part of them whose references are filtered by the post-filter of the codec
    octaves: float = 1.0  # lambdas are within so many of what anchors of this noise trade bits for

    table = "loopfilter"
    sizes = LoopFilterConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pictures < 1 or self.side % 32 or self.side < self.crop:
            wanted = f"pictures from 1, and side a multiple of 32 from train.crop = {self.crop}"
            raise InputError(f"loopfilter has pictures {self.pictures} and side {self.side}; it must have {wanted}")


class Coded(NamedTuple):
    """B-frames, packed planes (B,6,h,w) in [0,1]; noise (B,) is the RMS error of their anchors."""

    decoded: Tensor
    past: Tensor
    future: Tensor
    predicted: Tensor
    source: Tensor
    noise: Tensor

    @property
    def batch(self) -> Batch:
        """`past` as decoded, `target` as it was, and `future`, what the filter sees: (B,18,h,w)."""
        seen = torch.cat([each - self.decoded for each in (self.past, self.future, self.predicted)], 1)
        return Batch(self.decoded, self.source, seen, torch.zeros_like(self.noise), self.noise)


class CodedBFrames:
    """The B-frames of a pool by their place in it, of `side` luma samples across."""

    def __init__(self, library: Library, config: LoopFilterTraining) -> None:
        drawn = [config.seed, config.side, config.filtered, config.octaves, config.distances, config.unequal]
        passes = [(made.noise, made.distance) for corpus in library.corpora for made in corpus.passes]
        how = repr([fingerprint_of(find(config.base)).hex(), *drawn, passes])
        path = library.corpora[0].folder / f"coded-{hashlib.sha256(how.encode()).hexdigest()[:12]}.planes"
        half = config.side // 2
        self.shape = (PICTURES, 1, PLANES, half, half)
        self.planes = opened(path, config.pictures * int(np.prod(self.shape)))
        self.noise = opened(path.with_suffix(".noise"), config.pictures * FLOAT_BYTES).view(np.float32)

    def of(self, place: int, make: Callable[[], Coded]) -> Coded:
        """The B-frame at a place; the first time it is made, and its planes rounded to levels."""
        size = int(np.prod(self.shape))
        kept = self.planes[place * size : (place + 1) * size].reshape(self.shape)
        if not self.noise[place]:
            made = make()
            for own, planes in zip(kept, made[:PICTURES], strict=True):
                own[:] = (PEAK * planes).round().clamp(0, PEAK).to(torch.uint8).cpu().numpy()
            self.noise[place] = float(made.noise)
        decoded, past, future, predicted, source = torch.from_numpy(np.array(kept)) / PEAK
        return Coded(decoded, past, future, predicted, source, torch.tensor(self.noise[place : place + 1].copy()))


class LoopFilterSampler(Sampler):
    """Squares of coded B-frames, turned at random, as `Coded.batch` has them; time perhaps reversed."""

    config: LoopFilterTraining

    def __init__(self, library: Library, config: TrainConfig) -> None:
        assert isinstance(config, LoopFilterTraining)
        super().__init__(library, config)
        self.whole = Sampler(library, replace(config, crop=config.side))
        self.coder = carrier_of(config.base)
        self.kept = CodedBFrames(library, config)

    def batch(self, number: int) -> Batch:
        """The batch of this number."""
        size, seed = self.config.batch, self.config.seed
        rngs = (np.random.default_rng((seed, n)) for n in range(number * size, (number + 1) * size))
        samples = [self.sample(rng) for rng in rngs]
        return Batch(*(torch.cat(parts) for parts in zip(*samples, strict=True)))

    def sample(self, rng: np.random.Generator) -> Batch:
        """One B-frame of the pool, cropped and turned."""
        place = int(rng.integers(self.config.pictures))
        known = self.kept.of(place, lambda: self._coded(place))
        x, y = (int(v) for v in rng.integers((self.config.side - self.config.crop) // 2 + 1, size=2))
        flip_x, flip_y, transposed, backwards = (bool(v) for v in rng.random(4) < 0.5)
        turn = Turn(x, y, self.config.crop // 2, flip_x, flip_y, transposed and self.config.transpose)
        decoded, past, future, predicted, source = (turn(planes) for planes in known[:PICTURES])
        past, future = (future, past) if backwards else (past, future)
        return Coded(decoded, past, future, predicted, source, known.noise).batch

    def _coded(self, place: int) -> Coded:
        rng = np.random.default_rng((self.config.seed, POOL, place))
        return coded(self.coder, collate([self.whole.draw(rng)]), rng, self.config)


@torch.no_grad()
def coded(codec: BFrameCodec, batch: Batch, rng: np.random.Generator, config: LoopFilterTraining) -> Coded:
    """The middle frames of a batch as a codec codes them, at a quality near that of the anchors."""
    if codec.postfilter is not None:
        chosen = torch.from_numpy(rng.random(len(batch.past)) < config.filtered)
        batch = filtered(codec, batch, chosen, bf16=False)
    past, target, future, time, noise = batch
    context = codec.context(
        past,
        future,
        time=time,
        noise=noise,
        quality=drawn_qualities(rng, noise, codec.config.lambdas, config.octaves),
        exact=exact_of(past, future, noise),
    )
    done = codec(Estimate("round"), context, codec.target(context, target, blocks=True))
    decoded, predicted, past, future, source = map(anchor_planes, (done.frame, done.before, past, future, target))
    return Coded(decoded, aligned(decoded, past), aligned(decoded, future), predicted, source, noise)


def held_out(library: Library, config: LoopFilterTraining, codec: BFrameCodec) -> list[ValidationItem]:
    """Whole B-frames of held-out clips, one a scene."""
    found = validation_items(library, config.validation_clips, multiple=BFrameCodec.multiple, decoded=True)
    rng = np.random.default_rng(config.seed)
    return [item._replace(batch=coded(codec, item.batch, rng, config).batch) for item in found]
