# SPDX-License-Identifier: MIT
"""The post-filter of anchors that a B-frame codec carries.

What is exported is the codec named in the recipe with this filter in place of its own; nothing else of it changes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...bframe.network import BFrameCodec
from ...bframe.postfilter import PostFilter, PostFilterConfig
from ...errors import ModelError
from ...models.bframe_file import save_codec_like
from ...models.open import load as load_model
from ...models.registry import DEFAULT_CODEC, find
from ...models.store import check_name
from ...video.colour import packed, plane_weights, rgb_to_planes
from ...video.picture import Colour
from ..config import CodecTraining
from ..data import PEAK, Library
from ..precision import mixed_precision
from ..run import Run, put_parameters
from ..sampling import Batch, Sampler, Triplet, ValidationItem, collate, draw_turn, turned, validation_clips
from ..task import Items, Task, Validation

FAINT = 0.0045  # RMS error, 47 dB, below which errors count no more than they are


@dataclass(frozen=True, kw_only=True)
class PostFilterTraining(CodecTraining):
    """One run: what training a network has (`loss`, `supervise`, `distances`, the teacher are not used), and this."""

    codec: PostFilterConfig = field(default_factory=PostFilterConfig)
    base: str = DEFAULT_CODEC  # the codec that is to carry the filter: a name, or a .safetensors file

    table = "postfilter"
    sizes = PostFilterConfig


class AnchorSampler(Sampler):
    """Decoded frames, `past`, beside what they were, `target`."""

    def draw(self, rng: np.random.Generator) -> Triplet:
        """One frame of some decoded version, cropped, flipped and transposed at random."""
        clip, frame = self._draw_frames(rng, 0)
        passes = self.library.passes(clip)
        version = int(rng.integers(len(passes)))
        turn = draw_turn(rng, clip, self.config.crop, transpose=self.config.transpose)
        decoded, original = (turned(self.library.picture(clip, frame, decoded=n), turn) for n in (version, None))
        return Triplet(decoded, original, original, 0.5, passes[version].noise[clip.name])


PostFilterRun = Run[PostFilter, PostFilterTraining]


class PostFilterTask(Task[PostFilter, PostFilterTraining]):
    """Learns to take out errors of decoded anchors. The score is what it gains on them, in dB of RGB PSNR."""

    name = "postfilter"
    decoded = True
    recipe = PostFilterTraining
    sampler = AnchorSampler

    def build(self, config: PostFilterTraining, device: torch.device) -> PostFilter:
        """The filter. ModelError unless `init`, if any, is a codec that carries one of the same sizes."""
        model = PostFilter(config.codec)
        if config.init:
            known = load_model(config.init).codec
            if known is None or known.postfilter is None or known.postfilter.config != config.codec:
                raise ModelError(f"{config.init}: not a B-frame codec with a post-filter of the recipe's sizes")
            put_parameters(model, dict(known.postfilter.named_parameters()))
        return model.to(device).to(memory_format=torch.channels_last)

    def losses(self, run: PostFilterRun, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """The part of the anchors' errors that is left, and the gain in dB."""
        return objective(run.model, batch, run.config)

    def items(self, run: PostFilterRun, library: Library) -> Items:
        """Decoded anchors, `past`, of held-out clips."""
        return {"anchors": list(islice(_decoded_anchors(library), run.config.validation_clips))}

    def validate(self, run: PostFilterRun, items: Items, device: torch.device) -> Validation:
        """The mean gain in dB of filtering held-out anchors, which is the score."""
        with run.averaged() as model:
            gains = [gain(model, item.batch.to(device)) for item in items["anchors"]]
        return Validation.of_gains(gains, "anchors", digits=3)

    def export(self, run: PostFilterRun, path: Path) -> None:
        """Write the recipe's codec with the averaged weights as its filter. ModelError if it is no B-frame codec."""
        export_with("postfilter", run, path)


TASK = PostFilterTask()


def carrier_of(base: str) -> BFrameCodec:
    """The B-frame codec that is to carry a filter, by its name or path. ModelError if it codes none."""
    codec = load_model(base).codec
    if codec is None:
        raise ModelError(f"{base}: predicts B-frames and codes none; a B-frame codec carries the filter")
    return codec


def export_with(part: str, run: Run[Any, Any], path: Path) -> None:
    """Write the recipe's codec with a run's averaged weights as this part of it; all else stays as it is.

    ModelError if it is no B-frame codec.
    """
    check_name(path)
    base, own = run.config.base, run.config.codec
    codec, sizes = carrier_of(base), {f"{part}_width": own.width, f"{part}_blocks": own.blocks}
    carrier = BFrameCodec(replace(codec.config, **sizes), codec.network)
    known = {name: value for name, value in codec.state_dict().items() if not name.startswith(f"{part}.")}
    carrier.load_state_dict(known, strict=False)
    put_parameters(getattr(carrier, part), run.average)
    save_codec_like(carrier, path, like=find(base), **{part: json.dumps(run.notes)})


def objective(model: PostFilter, batch: Batch, config: PostFilterTraining) -> dict[str, Tensor]:
    """What is left of the errors of decoded anchors, by their noise, so that all qualities count alike: "loss".

    Scalars; "gain" is what that is in dB of RGB PSNR, about.
    """
    decoded, original = (anchor_planes(pictures) for pictures in (batch.past, batch.target))
    with mixed_precision(decoded.device, config.bf16):
        change = model(decoded, batch.noise)
    return remaining(original - decoded, change, batch.noise)


def remaining(error: Tensor, change: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """What a filter's change leaves of errors (B,6,h,w), by their noise (B,): "loss", and "gain" in dB, scalars."""
    power = noise.clamp(min=FAINT).square()
    before, after = seen(error) / power, seen(error - change) / power
    return {"loss": after.mean(), "gain": 10 * torch.log10(before.mean() / after.detach().mean())}


def seen(errors: Tensor) -> Tensor:
    """The mean squared error in RGB, about, that errors of packed planes (B,6,h,w) make, of each sample (B,)."""
    y, u, v = plane_weights(Colour())
    weight = errors.new_tensor([y / 4] * 4 + [u / 4, v / 4]).view(1, -1, 1, 1)
    return (weight * errors.square()).sum(1).mean((1, 2))


def anchor_planes(pictures: Tensor) -> Tensor:
    """Packed planes in [0,1] of RGB pictures, as anchors have them."""
    return packed(rgb_to_planes(pictures, Colour(), 8)) / PEAK


@torch.no_grad()
def gain(model: PostFilter, batch: Batch) -> float:
    """By how many dB of RGB PSNR the filter betters decoded anchors, before they are rounded, in float32."""
    decoded, original = (anchor_planes(pictures) for pictures in (batch.past, batch.target))
    return decibels(original - decoded, model(decoded, batch.noise))


def decibels(error: Tensor, change: Tensor) -> float:
    """By how many dB of RGB PSNR a filter's change betters pictures of these errors (B,6,h,w)."""
    return 10 * float(torch.log10(seen(error).mean() / seen(error - change).mean()))


def _decoded_anchors(library: Library) -> Iterator[ValidationItem]:
    """The middle frame of held-out clips in all their decoded versions, one clip a scene."""
    for clip in validation_clips(library):
        first, last = max(clip.runs, key=lambda run: run[1] - run[0])
        middle = (first + last) // 2
        original = library.picture(clip, middle)
        for version, made in enumerate(library.passes(clip)):
            decoded = library.picture(clip, middle, decoded=version)
            batch = collate([Triplet(decoded, original, original, 0.5, made.noise[clip.name])])
            yield ValidationItem(f"{clip.name}-{version}", batch, clip.width, clip.height)
