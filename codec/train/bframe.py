# SPDX-License-Identifier: MIT
"""Train the B-frame codec on top of a frame-synthesis network: the loop behind `codec train bframe`.

A run is a folder as that of `codec train ncm`: checkpoint.pt (resumed if there), log.csv, best.safetensors. The
network that predicts is named in the recipe; of a frozen one only the fingerprint is exported with the codec, one that
learns on beside it (`joint`) is exported too.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entropy import Estimate
from ncm import Prediction
from ncm.ifblock import Motion

from ..bframe.network import BFrameCodec
from ..bframe.side_information import AnchorFeatures, anchor_features
from ..video.colour import luma_levels
from ..video.picture import Colour
from .bstate import BFrameState, BFrameTraining, BWatch, resume_bframe, start_bframe
from .data import Library
from .loop import carry_on, opened, optimise
from .losses import reconstruction
from .precision import mixed_precision
from .ranks import Ranks
from .sampling import Batch


def train(
    config_file: Path,
    data: Sequence[Path],
    run: Path,
    *,
    base: str = "",
    init: str = "",
    steps: int | None = None,
    slope: float | None = None,
    device: torch.device,
) -> BFrameState:
    """Train as a file says; what is given goes before what the file says, `slope` makes it a model of one lambda."""
    config = BFrameTraining.load(config_file).given(steps=steps, slope=slope, base=base, init=init)
    with opened(data, run, device) as (library, ranks):
        return train_bframe(config, library, run, ranks=ranks)


def train_bframe(config: BFrameTraining, library: Library, run: Path, *, ranks: Ranks) -> BFrameState:
    """See `carry_on`."""
    return carry_on(
        run,
        library,
        ranks=ranks,
        start=lambda: start_bframe(config, library.describe(), ranks.device),
        resume=lambda: resume_bframe(run, ranks.device, steps=config.steps),
        watch=BWatch,
        step=train_step,
    )


def train_step(state: BFrameState, batches: Iterator[Batch], ranks: Ranks) -> dict[str, float]:
    """One optimiser step over `accumulate` batches; what was measured, and the gradient's norm, by name."""
    config, model = state.config, state.codec.train()
    torch.manual_seed((config.seed << 40) + (state.step << 8) + ranks.rank)  # for the noise of quantisation

    def losses(number: int) -> dict[str, Tensor]:
        batch = next(batches).to(ranks.device)
        rng = np.random.default_rng((config.seed, 2, state.step, number, ranks.rank))
        quality, rdoq = draw_qualities(rng, batch, config), state.step >= config.rdoq_from
        return objective(model, batch, config, quality=quality, rdoq=rdoq)

    return optimise(state, ranks, losses)


def draw_qualities(rng: np.random.Generator, batch: Batch, config: BFrameTraining) -> Tensor:
    """A quality for each sample (B,), all equally often."""
    return torch.from_numpy(rng.integers(len(config.codec.lambdas), size=len(batch.past))).to(batch.past.device)


def objective(
    model: BFrameCodec, batch: Batch, config: BFrameTraining, *, quality: Tensor, rdoq: bool = True
) -> dict[str, Tensor]:
    """The paper's equation 9, lambda * MSE + bits per pixel, for one batch: "loss" and what it was made of.

    A sample's cost counts with lambda^-balance, or the finest qualities would be all that is learnt. `aid` adds the
    error of the blend along the decoded motion: a motion that is not yet good for the frame must not fall silent.
    Of the rates, "bpp_z" is what of them goes into hyper-latents: zero means that these have died.
    If `joint`, "student" is the network's own loss on all samples. Those with clean references, should there be others,
    are for the network alone; and no gradient of what is coded goes back into it, or it would lose what bitfree shows.
    """
    student = None
    with mixed_precision(batch.past.device, config.bf16):
        prediction = model.network(batch.past, batch.future, batch.time, batch.noise)
        if config.joint:
            student = reconstruction(prediction.frame, batch.target, config.loss)
            batch, quality, prediction = _to_be_coded(batch, quality, prediction)
    past, target, future, time, noise = batch
    exact = exact_of(past, future, noise)
    tape = Estimate("mixed")
    with mixed_precision(past.device, config.bf16):
        context = model.context(
            past, future, time=time, noise=noise, quality=quality, exact=exact, prediction=prediction
        )
        done = model(tape, context, model.target(context, target, rdoq=rdoq, blocks=config.blocks))
    slope = quality.new_tensor(config.codec.lambdas, dtype=torch.float32)[quality]
    error, error_free, error_blend = (squared(x, target) for x in (done.frame, done.predicted, done.blend))
    pixels = past.shape[2] * past.shape[3]
    parts = ["frame", *(["motion"] if model.motion else []), *(["blocks"] if config.blocks else [])]
    rates = {name: sum_of(tape, name, like=error) / pixels for name in parts}
    rate = torch.stack(list(rates.values())).sum(0)
    cost, cost_free = slope * error + rate, slope * error_free
    weight = (slope / 256) ** -config.balance
    aid = config.motion_aid * slope * error_blend if model.motion else torch.zeros_like(cost)
    loss = (weight * (cost + aid)).mean()
    return {
        "loss": loss if student is None else loss + student,
        **({} if student is None else {"student": student}),
        **{f"bpp_{name}": value.mean() for name, value in rates.items()},
        "bpp_z": torch.stack([bits for name, bits in tape.bits.items() if name.endswith(".z")]).sum(0).mean() / pixels,
        "psnr": decibels(error).mean(),
        "psnr_free": decibels(error_free).mean(),
        "psnr_blend": decibels(error_blend).mean(),
        "saving": 1 - (weight * cost.detach()).sum() / (weight * cost_free).sum(),
    }


def _to_be_coded(batch: Batch, quality: Tensor, prediction: Prediction) -> tuple[Batch, Tensor, Prediction]:
    """The samples with decoded references, all if there are none, without gradients."""
    chosen = batch.noise > 0
    chosen = chosen if chosen.any() else torch.ones_like(chosen)
    motion = Motion(*(x[chosen].detach() for x in prediction.motion))
    known = Prediction(prediction.frame[chosen].detach(), [motion])
    return Batch(*(x[chosen] for x in batch)), quality[chosen], known


def exact_of(past: Tensor, future: Tensor, noise: Tensor) -> AnchorFeatures:
    """`anchor_features` of references (B,3,H,W) in RGB: their planes come back exactly by our own conversion."""
    planes = [luma_levels(pictures, Colour(), 8) for pictures in (past, future)]
    return anchor_features(planes[0], planes[1], noise.cpu())  # in float64, which not every device has


def sum_of(tape: Estimate, name: str, *, like: Tensor) -> Tensor:
    """Bits of each sample (B,) of a part of the frame, zeros where it has none."""
    coded = any(key.startswith(name) for key in tape.bits)
    return tape.total(name) if coded else torch.zeros_like(like)


def squared(frame: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each sample (B,)."""
    return (frame.float() - target).square().mean((1, 2, 3))


def decibels(error: Tensor) -> Tensor:
    """PSNR of mean squared errors in [0,1] units."""
    return -10 * torch.log10(error.detach() + 1e-10)
