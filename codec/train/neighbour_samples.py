# SPDX-License-Identifier: MIT
"""Decoded pictures and what is seen beside them: the samples of a post-filter that sees neighbours.

Neighbours are aligned anew for every crop, or once for each of a number of pictures.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ncm import FrameSynthesis

from ..bframe.alignment import FARTHEST, aligned
from ..bframe.neighbour_filter import NeighbourConfig, planes_of, predicted
from ..bframe.postfilter import PLANES
from ..models.network_file import load_network
from ..models.registry import find, fingerprint_of
from ..video.picture import Colour
from .config import CodecTraining, TrainConfig
from .data import PEAK, Clip, Library
from .kept import SeenPictures
from .sampling import Batch, Sampler, ValidationItem, validation_clips

CPU = torch.device("cpu")
POOL = 2**32 - 1  # beside the seed, for the pictures that are learnt from
MARGIN = FARTHEST // 2 + 1  # samples of packed planes around a crop, in which it is found in its neighbours


@dataclass(frozen=True, kw_only=True)
class NeighbourTraining(CodecTraining):
    """One run: what training a network has (`loss`, `supervise`, `distances`, the teacher are not used), and this.

    `init` is a codec whose post-filter it starts from, or a filter of this kind.
    """

    codec: NeighbourConfig = field(default_factory=NeighbourConfig)
    missing: float = 0.1  # part of the samples that lack the neighbours of one side or of both
    encoders: tuple[str, ...] = ()  # codecs of anchors whose pictures are learnt from; all by default
    together: bool = False  # the samples of a batch are of one decoded clip, as weights of corrections are found in it
    pictures: int = 0  # so many are learnt from, what is seen beside them found once; 0 = all, found anew for each crop

    table = "neighbour"
    sizes = NeighbourConfig


class Turn(NamedTuple):
    """A square of packed planes, and how it is turned; `size` and corners are in their samples."""

    x: int
    y: int
    size: int
    flip_x: bool
    flip_y: bool
    transposed: bool

    def __call__(self, planes: Tensor) -> Tensor:
        """The square of packed planes (B,6,h,w), or of several pictures' (B,6*n,h,w)."""
        if planes.shape[1] > PLANES:
            return torch.cat([self(each) for each in torch.split(planes, PLANES, 1)], 1)
        planes = planes[..., self.y : self.y + self.size, self.x : self.x + self.size]
        # The four planes of luma are its even and odd columns of even, then of odd rows; they turn with it.
        if self.flip_x:
            planes = planes.flip(-1)[:, [1, 0, 3, 2, 4, 5]]
        if self.flip_y:
            planes = planes.flip(-2)[:, [2, 3, 0, 1, 4, 5]]
        if self.transposed:
            planes = planes.transpose(-1, -2)[:, [0, 2, 1, 3, 4, 5]]
        return planes


class Decoded(NamedTuple):
    """One frame of a clip in a decoded pass."""

    clip: Clip
    version: int
    frame: int


class NeighbourSampler(Sampler):
    """Packed planes in place of pictures: `past` as decoded, `target` as they were, and `future`, the neighbours.

    These are (B,6*n,h,w) for n places, zero where there are none; `time` means nothing. `past` and `future` have
    `MARGIN` samples more on each side: `compared` makes of them what the filter sees. Where the recipe names a number
    of `pictures`, `future` already is what the filter sees, and there are no margins.
    """

    config: NeighbourTraining

    def __init__(self, library: Library, config: TrainConfig) -> None:
        assert isinstance(config, NeighbourTraining)
        super().__init__(library, config)
        self.pool = self._drawn_pool(config.pictures)
        self.frames: dict[tuple[int, str, int], list[int]] = defaultdict(list)  # of the pool, by decoded clip
        for one in self.pool:
            self.frames[_clip_of(one)].append(one.frame)
        path = find(config.codec.network) if config.codec.network and self.pool else None
        self.network = None if path is None else load_network(path, CPU)
        self.how = f"reach {config.codec.reach} {'' if path is None else fingerprint_of(path).hex()}"
        self.seen: dict[tuple[int, int], SeenPictures] = {}  # by corpus and pass

    def batch(self, number: int) -> Batch:
        """The batch of this number."""
        size, seed = self.config.batch, self.config.seed
        rngs = [np.random.default_rng((seed, n)) for n in range(number * size, (number + 1) * size)]
        first = self.one(rngs[0])
        ones = [first, *(self.one(rng, first if self.config.together else None) for rng in rngs[1:])]
        sample = self.kept_sample if self.pool else self.sample
        drawn = [sample(rng, one) for rng, one in zip(rngs, ones, strict=True)]
        return _together(drawn)

    def one(self, rng: np.random.Generator, like: Decoded | None = None) -> Decoded:
        """A picture to learn from, of the same decoded clip as another one if that is given."""
        if like is not None:
            frames = self._frames(like)
            return like._replace(frame=frames[rng.integers(len(frames))])
        return self.pool[rng.integers(len(self.pool))] if self.pool else self._drawn_picture(rng)

    def sample(self, rng: np.random.Generator, one: Decoded) -> Batch:
        """One picture, cropped and turned at random, time perhaps reversed, neighbours perhaps taken away."""
        turn = _drawn_turn(rng, one.clip, self.config)
        backwards, lacks = bool(rng.random() < 0.5), _drawn_lacks(rng, self.config.missing)
        decoded, original = _pictures(self.library, one)
        near = _neighbours(self.library, one, self.config.codec)
        if backwards:  # places take turns, past and future
            near = [near[place ^ 1] for place in range(len(near))]
        near = [planes * (not lacks[place % 2]) for place, planes in enumerate(near)]
        wide = turn._replace(size=turn.size + 2 * MARGIN)
        past, *future = (wide(F.pad(planes, (MARGIN,) * 4, "replicate")) for planes in (decoded, *near))
        return _batch_of(past, turn(original), torch.cat(future, 1), _noise(self.library, one))

    def kept_sample(self, rng: np.random.Generator, one: Decoded) -> Batch:
        """The same of a picture of the pool, with what is seen beside it as it was found once."""
        turn = _drawn_turn(rng, one.clip, self.config)
        backwards, lacks = bool(rng.random() < 0.5), _drawn_lacks(rng, self.config.missing)
        decoded, original = (turn(planes) for planes in _pictures(self.library, one))
        levels = self._seen(one).of(one.clip, one.frame, lambda: self._found(one))
        planes = turn(torch.from_numpy(levels)[None]) / PEAK
        near = [(each - decoded) * bool(each.any()) for each in torch.split(planes, PLANES, 1)]
        if backwards:  # past and future take turns; what is predicted from both, if anything, comes last
            near = [near[place ^ 1] if place ^ 1 < len(near) else near[place] for place in range(len(near))]
        places = len(self.config.codec.places)
        gone = [lacks[place % 2] if place < places else any(lacks) for place in range(len(near))]
        near = [planes * (not missing) for planes, missing in zip(near, gone, strict=True)]
        return _batch_of(decoded, original, torch.cat(near, 1), _noise(self.library, one))

    def _frames(self, like: Decoded) -> list[int]:
        """The frames of a decoded clip that may be learnt from."""
        if self.pool:
            return self.frames[_clip_of(like)]
        return [frame for first, last in like.clip.runs for frame in range(first + 1, last)]

    def _drawn_pool(self, count: int) -> list[Decoded]:
        """So many different pictures, the same ones for a seed; fewer if there are not as many."""
        rng = np.random.default_rng((self.config.seed, POOL))
        drawn = (self._drawn_picture(rng) for _ in range(4 * count))
        return list({(one.clip.name, *one[1:]): one for one in drawn}.values())[:count]

    def _drawn_picture(self, rng: np.random.Generator) -> Decoded:
        """A decoded picture with another one before it, and one after it."""
        clip, first = self._draw_frames(rng, 2)
        return Decoded(clip, int(rng.choice(_versions(self.library, clip, self.config))), first + 1)

    def _seen(self, one: Decoded) -> SeenPictures:
        """Where the pictures are kept that are seen beside one."""
        place, count = (one.clip.corpus, one.version), self.config.codec.seen
        if place not in self.seen:
            self.seen[place] = SeenPictures(self.library.corpora[place[0]], one.version, self.how, count)
        return self.seen[place]

    def _found(self, one: Decoded) -> Tensor:
        """Packed planes (1,6*n,h,w) of all that is seen beside a picture, zero where there is nothing."""
        batch = compared(_whole(self.library, one, self.config.codec), self.network)
        differences = torch.split(batch.future, PLANES, 1)
        return torch.cat([(batch.past + each) * bool(each.any()) for each in differences], 1)

    def _fits(self, clip: Clip) -> bool:
        return super()._fits(clip) and bool(_versions(self.library, clip, self.config))


@torch.no_grad()
def compared(batch: Batch, network: FrameSynthesis | None = None) -> Batch:
    """What the filter sees of neighbours in their place, `future`, and last what the network, if any, makes of them.

    Margins of `past`, if any, are cut off.
    """
    margin = (batch.past.shape[-1] - batch.target.shape[-1]) // 2

    def cut(planes: Tensor) -> Tensor:
        return planes[..., margin : planes.shape[-2] - margin, margin : planes.shape[-1] - margin]

    found = []
    for neighbour in torch.split(batch.future, PLANES, 1):
        there = neighbour.flatten(1).any(1).view(-1, 1, 1, 1)
        found.append(cut((aligned(batch.past, neighbour) - batch.past) * there))
    if network is not None:
        found += map(cut, _foreseen(network, batch))
    return batch._replace(past=cut(batch.past), future=torch.cat(found, 1))


def _foreseen(network: FrameSynthesis, batch: Batch) -> list[Tensor]:
    """How what a network makes of the nearest neighbours differs (B,6,h,w), 0 for samples that lack one of them."""
    past, future, *_ = torch.split(batch.future, PLANES, 1)
    there = (past.flatten(1).any(1) & future.flatten(1).any(1)).view(-1, 1, 1, 1)
    made = predicted(network, past, future, batch.noise, 0.5, Colour(), 8)
    return [(each - batch.past) * there for each in made]


def _clip_of(one: Decoded) -> tuple[int, str, int]:
    """Which clip of which corpus a picture is of, in which decoded pass."""
    return one.clip.corpus, one.clip.name, one.version


def _versions(library: Library, clip: Clip, config: NeighbourTraining) -> list[int]:
    """The decoded passes that have a clip, coded by an encoder that is to be learnt from."""
    return [
        number
        for number, made in enumerate(library.passes(clip))
        if clip.name in made.noise and (not config.encoders or made.encoder[clip.name] in config.encoders)
    ]


def _pictures(library: Library, one: Decoded) -> tuple[Tensor, Tensor]:
    """Packed planes of a frame, as decoded and as it was."""
    clip, version, frame = one
    return planes_of(library.picture(clip, frame, decoded=version)), planes_of(library.picture(clip, frame))


def _noise(library: Library, one: Decoded) -> float:
    """The RMS error of the decoded clip."""
    return library.passes(one.clip)[one.version].noise[one.clip.name]


def _neighbours(library: Library, one: Decoded, config: NeighbourConfig) -> list[Tensor]:
    """Packed planes of a decoded frame's neighbours; zero for those beyond a cut, or outside the clip."""
    clip, version, frame = one
    first, last = next(run for run in clip.runs if run[0] <= frame <= run[1])
    away = library.passes(clip)[version].distance[clip.name]
    none = torch.zeros(1, PLANES, clip.height // 2, clip.width // 2)
    places = [frame + place * away for place in config.places]
    return [planes_of(library.picture(clip, at, decoded=version)) if first <= at <= last else none for at in places]


def _whole(library: Library, one: Decoded, config: NeighbourConfig) -> Batch:
    """A whole picture and its neighbours, as `compared` takes them."""
    near = torch.cat(_neighbours(library, one, config), 1)
    return _batch_of(*_pictures(library, one), near, _noise(library, one))


def _batch_of(decoded: Tensor, original: Tensor, near: Tensor, noise: float) -> Batch:
    return Batch(decoded, original, near, torch.zeros(1), torch.tensor([noise]))


def _together(samples: Iterable[Batch]) -> Batch:
    """Samples of one size as one batch."""
    return Batch(*(torch.cat(parts) for parts in zip(*samples, strict=True)))


def _drawn_turn(rng: np.random.Generator, clip: Clip, config: NeighbourTraining) -> Turn:
    size = config.crop // 2
    x, y = (int(rng.integers(side // 2 - size + 1)) for side in (clip.width, clip.height))
    flip_x, flip_y, transposed = (bool(v) for v in rng.random(3) < 0.5)
    return Turn(x, y, size, flip_x, flip_y, transposed and config.transpose)


def _drawn_lacks(rng: np.random.Generator, missing: float) -> tuple[bool, bool]:
    """Whether past and future neighbours are taken away."""
    if rng.random() >= missing:
        return False, False
    return [(True, False), (False, True), (True, True)][rng.integers(3)]


def held_out(library: Library, config: NeighbourTraining) -> Iterator[ValidationItem]:
    """The middle frame of held-out clips in all their decoded versions, one clip a scene, both neighbours there.

    Where samples are `together`, it is the first, the middle and the last such frame of each clip.
    """
    for clip in validation_clips(library):
        first, last = max(clip.runs, key=lambda run: run[1] - run[0])
        for version in _versions(library, clip, config):
            away = library.passes(clip)[version].distance[clip.name]
            if last - first < 2 * away:
                continue
            middle = (first + last) // 2
            frames = {first + away, middle, last - away} if config.together else {middle}
            wholes = [_whole(library, Decoded(clip, version, frame), config.codec) for frame in sorted(frames)]
            yield ValidationItem(f"{clip.name}-{version}", _together(wholes), clip.width, clip.height)
