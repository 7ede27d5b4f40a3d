# SPDX-License-Identifier: MIT
"""Triplets out of a corpus: which ones, cut and turned how, and their batches as tensors."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..video.colour import yuv_to_rgb
from ..video.picture import Colour, Plane, Yuv420, pad
from .config import TrainConfig
from .data import Clip, Library


class Triplet(NamedTuple):
    """Two references and the frame between them at `time` in (0,1); noise is the references' RGB RMS error.

    To learn extrapolation, `future` is the newer reference and the frame comes after both. Then `time` is how far the
    newer reference is on the way from the older one to the frame: 1/2 for the next frame.
    """

    past: Yuv420
    target: Yuv420
    future: Yuv420
    time: float
    noise: float


class Batch(NamedTuple):
    """Pictures (B,3,H,W) in [0,1], time and noise (B,)."""

    past: Tensor
    target: Tensor
    future: Tensor
    time: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> "Batch":
        """This batch on another device, pictures with channels last."""
        past, target, future = (x.to(device, memory_format=torch.channels_last) for x in self[:3])
        return Batch(past, target, future, self.time.to(device), self.noise.to(device))


class CropAndTurn(NamedTuple):
    """Which square of a picture, in luma samples, and how it is turned."""

    x: int
    y: int
    size: int
    flip_x: bool
    flip_y: bool
    transpose: bool

    def __call__(self, plane: Plane, shrink: int) -> Plane:
        """The square of a plane that is `shrink` times smaller than luma."""
        x, y, size = self.x // shrink, self.y // shrink, self.size // shrink
        plane = plane[y : y + size, x : x + size]
        plane = plane[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return plane.T if self.transpose else plane


def draw_turn(rng: np.random.Generator, clip: Clip, size: int, *, transpose: bool) -> CropAndTurn:
    """A random square of a clip, its corner even so that chroma stays in place; flipped, perhaps transposed."""
    x, y = (2 * int(rng.integers((side - size) // 2 + 1)) for side in (clip.width, clip.height))
    flip_x, flip_y, transposed = (bool(v) for v in rng.random(3) < 0.5)
    return CropAndTurn(x, y, size, flip_x, flip_y, transposed and transpose)


def shrink(plane: Plane, factor: int) -> Plane:
    """A plane `factor` times smaller by area averaging; its sides must divide by the factor."""
    if factor == 1:
        return plane
    height, width = (side // factor for side in plane.shape)
    means = plane.reshape(height, factor, width, factor).mean((1, 3))
    return means.round().astype(plane.dtype)


def check_sizes(library: Library, crop: int) -> None:
    """InputError if no training clip holds a crop."""
    sides = [min(clip.width, clip.height) for clip in library.training]
    if max(sides, default=0) < crop:
        found = f"the shorter side of the largest is {max(sides)}" if sides else "no clip has three frames in motion"
        remedy = f"take larger clips, or a recipe with a smaller train.crop than {crop}"
        raise InputError(f"no training clip is {crop}x{crop} and more: {found} ({library.describe()}); {remedy}")


class Sampler:
    """Random training triplets: source, then scene, clip and frames. The n-th sample is a function of (seed, n)."""

    def __init__(self, library: Library, config: TrainConfig) -> None:
        for corpus in library.corpora:
            if config.decoded and not corpus.passes:
                remedy = f"run `codec train decode-passes --cache {corpus.folder}`"
                raise InputError(f"train.decoded is on, but {corpus.folder} has no decoded pass yet; {remedy}")
        self.library, self.config = library, config
        self.sources: list[list[list[Clip]]] = []  # by source, scene and clip
        check_sizes(library, config.crop)
        for scenes in _by_source([clip for clip in library.training if self._fits(clip)]).values():
            self.sources.append(list(scenes.values()))
        if not self.sources:
            raise InputError(f"no training clip has decoded neighbours ({library.describe()}); make another pass")
        # Between uniform over sources (a one-clip source would be seen as often as a third of the corpus) and
        # uniform over scenes (that third would be a third of what is seen).
        weights = np.array([math.sqrt(len(scenes)) for scenes in self.sources])
        self.weights = weights / weights.sum()

    def batch(self, number: int) -> Batch:
        """The batch of this number: samples number * batch and following, however those are grouped into steps."""
        size, seed = self.config.batch, self.config.seed
        numbers = range(number * size, (number + 1) * size)
        return collate([self.draw(np.random.default_rng((seed, n))) for n in numbers])

    def draw(self, rng: np.random.Generator) -> Triplet:
        """One triplet, cropped, flipped, transposed and reversed at random."""
        span, middle = self._draw_span(rng)
        clip, first = self._draw_frames(rng, span)
        passes = self.library.passes(clip)
        decoded = int(rng.integers(len(passes))) if rng.random() < self.config.decoded else None
        noise = 0.0 if decoded is None else passes[decoded].noise[clip.name]
        # A shrunk decoded picture is no codec's output, and its noise would not be the one on record.
        factor = self._draw_factor(rng, clip) if decoded is None else 1
        turn = draw_turn(rng, clip, factor * self.config.crop, transpose=self.config.transpose)
        places, time = [0, middle, span], middle / span
        if rng.random() < 0.5:
            places, time = places[::-1], 1 - time
        past, target, future = places if self.config.model.task == "interpolation" else (places[n] for n in (0, 2, 1))
        references = (self.library.picture(clip, first + place, decoded=decoded) for place in (past, future))
        a, b, c = (turned(p, turn, factor) for p in (*references, self.library.picture(clip, first + target)))
        return Triplet(a, c, b, time, noise)

    def _fits(self, clip: Clip) -> bool:
        return min(clip.width, clip.height) >= self.config.crop

    def _draw_factor(self, rng: np.random.Generator, clip: Clip) -> int:
        """By how much a clip is shrunk: one of the configured factors that leave room for the crop."""
        room = min(clip.width, clip.height) // self.config.crop
        factors = [factor for factor in self.config.downscale if factor <= room]
        return int(rng.choice(factors)) if factors else 1

    def _draw_span(self, rng: np.random.Generator) -> tuple[int, int]:
        """How far apart the references are, in frames, and where between them the target is."""
        if rng.random() < self.config.unequal:
            span = int(rng.integers(3, 5))
            return span, int(rng.choice([m for m in range(1, span) if 2 * m != span]))
        weights = np.array(self.config.distances)
        distance = 1 + int(rng.choice(len(weights), p=weights / weights.sum()))
        return 2 * distance, distance

    def _draw_frames(self, rng: np.random.Generator, span: int) -> tuple[Clip, int]:
        """A clip and the first of span + 1 frames in it; clips without that many are passed over."""
        for _ in range(1000):
            scenes = self.sources[rng.choice(len(self.sources), p=self.weights)]
            scene = scenes[rng.integers(len(scenes))]
            clip = scene[rng.integers(len(scene))]
            starts = [s for first, last in clip.runs for s in range(first, last - span + 1)]
            if starts:
                return clip, int(rng.choice(starts))
        raise InputError(
            f"hardly any clip has {span + 1} usable frames in a row; lower train.distances or train.unequal"
        )


def _by_source(clips: list[Clip]) -> dict[str, dict[str, list[Clip]]]:
    tree: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        tree.setdefault(clip.source, {}).setdefault(clip.scene, []).append(clip)
    return tree


def turned(picture: Yuv420, turn: CropAndTurn, factor: int = 1) -> Yuv420:
    """The square of a picture, shrunk by a factor."""
    y, u, v = turn(picture.y, 1), turn(picture.u, 2), turn(picture.v, 2)
    return Yuv420(shrink(y, factor), shrink(u, factor), shrink(v, factor))


def collate(triplets: list[Triplet]) -> Batch:
    """Triplets of one size as a batch, through the conversion that the codec itself uses.

    Pictures may leave [0,1], as they do in the codec: YUV has colours that RGB has not.
    """
    past, target, future = (
        torch.cat([yuv_to_rgb(p, Colour()) for p in pictures])
        for pictures in zip(*((t.past, t.target, t.future) for t in triplets), strict=True)
    )
    time, noise = torch.tensor([t.time for t in triplets]), torch.tensor([t.noise for t in triplets])
    return Batch(past, target, future, time, noise)


class ValidationItem(NamedTuple):
    """A fixed triplet of whole pictures, padded to the network's sizes; the target is width x height."""

    name: str
    batch: Batch
    width: int
    height: int

    def error(self, frame: Tensor, original: Tensor) -> float:
        """The mean squared error of a picture (1,3,H,W) in [0,1] without its padding."""
        return float((frame - original)[:, :, : self.height, : self.width].square().mean())


def validation_items(
    library: Library, count: int, *, multiple: int, decoded: bool, task: str = "interpolation"
) -> Iterator[ValidationItem]:
    """The middle triplet of up to `count` held-out clips, one a scene, sources taking turns."""
    future, target = (1, 0) if task == "interpolation" else (0, 1)  # and the past one frame before the middle
    for clip in validation_clips(library)[:count]:
        first, last = max(clip.runs, key=lambda run: run[1] - run[0])
        middle = (first + last) // 2
        version = 0 if decoded else None
        noise = library.passes(clip)[0].noise[clip.name] if decoded else 0.0
        references = (pad(library.picture(clip, middle + at, decoded=version), multiple) for at in (-1, future))
        a, b, c = (*references, pad(library.picture(clip, middle + target), multiple))
        triplet = Triplet(a, c, b, 0.5, noise)
        yield ValidationItem(clip.name, collate([triplet]), clip.width, clip.height)


def validation_clips(library: Library) -> list[Clip]:
    """One clip of each held-out scene: every source's first scene, then every source's second, and so on."""
    sources = _by_source(library.validation)
    rounds = itertools.zip_longest(*([clips[0] for clips in scenes.values()] for scenes in sources.values()))
    return [clip for turn in rounds for clip in turn if clip is not None]


def prefetch(make: Callable[[int], Batch], numbers: range, *, threads: int = 1) -> Iterator[Batch]:
    """make(n) for all numbers in order, worked out on threads while the consumer computes."""
    rest = iter(numbers)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(make, n) for n in itertools.islice(rest, 2 * threads + 1))
        while waiting:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(make, n) for n in itertools.islice(rest, 1))
            yield batch
