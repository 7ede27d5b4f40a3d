# SPDX-License-Identifier: MIT
"""Train the post-filter of anchors that a B-frame codec carries: the loop behind `codec train postfilter`.

A run is a folder as that of `codec train ncm`: checkpoint.pt (resumed if there), log.csv, best.safetensors. What is
exported is the codec named in the recipe with this filter in place of its own; nothing else of it changes.
"""

import copy
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..bframe.network import BFrameCodec
from ..bframe.postfilter import PostFilter, PostFilterConfig
from ..errors import ModelError
from ..models.bframe_file import save_codec_like
from ..models.open import load as load_model
from ..models.registry import DEFAULT_CODEC, find
from ..models.store import check_name
from ..video.colour import packed, plane_weights, rgb_to_planes
from ..video.picture import Colour
from .bstate import parameters_in, put_parameters
from .data import Library
from .loop import carry_on, opened, optimise
from .precision import mixed_precision
from .ranks import Ranks
from .recipe import CodecTraining, resumed
from .sampling import Batch, Sampler, Triplet, ValidationItem, collate, draw_turn, turned, validation_clips
from .state import TrainState, optimizer_of, read_checkpoint
from .watch import Watch

log = logging.getLogger(__name__)

FAINT = 0.0045  # RMS error, 47 dB, below which errors count no more than they are


@dataclass(frozen=True, kw_only=True)
class PostFilterTraining(CodecTraining):
    """One run: what training a network has (`loss`, `supervise`, `distances`, the teacher are not used), and this."""

    codec: PostFilterConfig = field(default_factory=PostFilterConfig)
    base: str = DEFAULT_CODEC  # the codec that is to carry the filter: a name, or a .safetensors file

    table = "postfilter"
    sizes = PostFilterConfig


@dataclass
class PostFilterState(TrainState):
    """What a checkpoint holds; `average` has parameters alone, `best_psnr` is the most gained so far, in dB."""

    config: PostFilterTraining
    model: PostFilter  # type: ignore[assignment]  # trained by the same rules, but another network


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


def train(
    config_file: Path,
    data: Sequence[Path],
    run: Path,
    *,
    base: str = "",
    init: str = "",
    steps: int | None = None,
    device: torch.device,
) -> PostFilterState:
    """Train as a file says; what is given goes before what the file says."""
    config = PostFilterTraining.load(config_file).given(steps=steps, slope=None, base=base, init=init)
    with opened(data, run, device) as (library, ranks):
        return train_postfilter(config, library, run, ranks=ranks)


def train_postfilter(config: PostFilterTraining, library: Library, run: Path, *, ranks: Ranks) -> PostFilterState:
    """See `carry_on`."""
    return carry_on(
        run,
        library,
        ranks=ranks,
        start=lambda: start(config, library.describe(), ranks.device),
        resume=lambda: resume(run, ranks.device, steps=config.steps),
        watch=PostFilterWatch,
        step=train_step,
        sampler=AnchorSampler,
    )


def train_step(state: PostFilterState, batches: Iterator[Batch], ranks: Ranks) -> dict[str, float]:
    """One optimiser step over `accumulate` batches; what was measured, and the gradient's norm, by name."""
    model = state.model.train()
    return optimise(state, ranks, lambda _: objective(model, next(batches).to(ranks.device), state.config))


def objective(model: PostFilter, batch: Batch, config: PostFilterTraining) -> dict[str, Tensor]:
    """What is left of the errors of decoded anchors, by their noise, so that all qualities count alike: "loss".

    "gain" is what that is in dB of RGB PSNR, about.
    """
    decoded, original = (_planes(pictures) for pictures in (batch.past, batch.target))
    with mixed_precision(decoded.device, config.bf16):
        change = model(decoded, batch.noise)
    noise = batch.noise.clamp(min=FAINT).square()
    before, after = (seen(error) / noise for error in (original - decoded, original - decoded - change))
    return {"loss": after.mean(), "gain": 10 * torch.log10(before.mean() / after.detach().mean())}


def seen(errors: Tensor) -> Tensor:
    """The mean squared error in RGB, about, that errors of packed planes (B,6,h,w) make, of each sample (B,)."""
    y, u, v = plane_weights(Colour())
    weight = errors.new_tensor([y / 4] * 4 + [u / 4, v / 4]).view(1, -1, 1, 1)
    return (weight * errors.square()).sum(1).mean((1, 2))


def _planes(pictures: Tensor) -> Tensor:
    """Packed planes in [0,1] of RGB pictures, as anchors have them."""
    return packed(rgb_to_planes(pictures, Colour(), 8)) / 255


def start(config: PostFilterTraining, data: str, device: torch.device) -> PostFilterState:
    """A run before its first step; `init` names a codec that carries a filter of the same sizes. ModelError if not."""
    torch.manual_seed(config.seed)
    model = PostFilter(config.codec)
    if config.init:
        known = load_model(config.init).codec
        if known is None or known.postfilter is None or known.postfilter.config != config.codec:
            raise ModelError(f"{config.init}: not a B-frame codec with a post-filter of the recipe's sizes")
        put_parameters(model, dict(known.postfilter.named_parameters()))
    model = model.to(device).to(memory_format=torch.channels_last)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    return PostFilterState(config, model, average, optimizer_of(model, config), data)


def resume(run: Path, device: torch.device, *, steps: int | None = None) -> PostFilterState:
    """The run as it was when its checkpoint was written; InputError if it has none that can be read."""
    return resumed(run, device, PostFilterTraining, start, steps=steps)


def is_postfilter_run(run: Path) -> bool:
    """Whether a run trains a post-filter. InputError if it has no checkpoint."""
    content = json.loads(read_checkpoint(run, torch.device("cpu"))["config"])["train"]
    return set(content.get("codec", {})) == set(PostFilterConfig.__dataclass_fields__)


class PostFilterWatch(Watch):
    """Keeps a run's log and clock, validates, and saves when that is due."""

    state: PostFilterState  # type: ignore[assignment]

    def find_items(self, library: Library) -> dict[str, list[ValidationItem]]:
        """See Watch; `past` is the decoded anchor."""
        return {"anchors": list(islice(_decoded_anchors(library), self.state.config.validation_clips))}

    def validate(self) -> None:
        """Measure what the averaged weights gain on held-out anchors; keep them if that is the most so far."""
        state = self.state
        with parameters_in(state.model, state.average):
            gains = [gain(state.model.eval(), item.batch.to(self.device)) for item in self.items["anchors"]] or [0.0]
        mean = float(np.mean(gains))
        log.info("step %d: %+.3f dB on held-out anchors, from %+.3f to %+.3f", state.step, mean, min(gains), max(gains))
        self._record({"valid_gain": mean})
        if mean > state.best_psnr:
            state.best_psnr = mean
            export(state, self.run / "best.safetensors")
        self.clock = time.monotonic()  # validation is not training time


@torch.no_grad()
def gain(model: PostFilter, batch: Batch) -> float:
    """By how many dB of RGB PSNR the filter betters decoded anchors, before they are rounded, in float32."""
    decoded, original = (_planes(pictures) for pictures in (batch.past, batch.target))
    left = original - decoded - model(decoded, batch.noise)
    return 10 * float(torch.log10(seen(original - decoded).mean() / seen(left).mean()))


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


def export(state: PostFilterState, path: Path) -> None:
    """Write the codec of the recipe with the averaged weights as its filter. ModelError if it is no B-frame codec."""
    check_name(path)
    source = find(state.config.base)
    codec = load_model(str(source)).codec
    if codec is None:
        raise ModelError(f"{state.config.base}: predicts B-frames and codes none; a B-frame codec carries the filter")
    sizes = {f"postfilter_{name}": value for name, value in vars(state.config.codec).items()}
    carrier = BFrameCodec(replace(codec.config, **sizes), codec.network)
    carrier.load_state_dict(codec.state_dict(), strict=False)
    filtering = copy.deepcopy(state.model)
    put_parameters(filtering, state.average)
    assert carrier.postfilter is not None  # its width is not 0
    carrier.postfilter.load_state_dict(filtering.state_dict())
    save_codec_like(carrier, path, like=source, postfilter=json.dumps(state.notes))
