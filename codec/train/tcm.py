# SPDX-License-Identifier: MIT
"""Train a TCM codec, I- and P-frames together: the loop behind `codec train tcm`.

A run is a folder as that of `codec train ncm`: checkpoint.pt (resumed if there), log.csv, best.safetensors. A sample is
three frames: an I-frame, the P-frame after it, and one more, which builds on features of the first P-frame.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entropy import Estimate

from ..anchors.tcm.config import Reference
from ..anchors.tcm.weights import Tcm
from .bframe import decibels, squared
from .data import Library
from .loop import carry_on, opened, optimise
from .precision import mixed_precision
from .ranks import Ranks
from .sampling import Batch
from .tstate import TcmState, TcmTraining, TcmWatch, resume_tcm, start_tcm, weight_of


def train(
    config_file: Path,
    data: Sequence[Path],
    run: Path,
    *,
    init: str = "",
    steps: int | None = None,
    slope: float | None = None,
    device: torch.device,
) -> TcmState:
    """Train as a file says; what is given goes before what the file says, `slope` makes it a model of one lambda."""
    config = TcmTraining.load(config_file).given(steps=steps, slope=slope, init=init)
    with opened(data, run, device) as (library, ranks):
        return train_tcm(config, library, run, ranks=ranks)


def train_tcm(config: TcmTraining, library: Library, run: Path, *, ranks: Ranks) -> TcmState:
    """See `carry_on`."""
    return carry_on(
        run,
        library,
        ranks=ranks,
        start=lambda: start_tcm(config, library.describe(), ranks.device),
        resume=lambda: resume_tcm(run, ranks.device, steps=config.steps),
        watch=TcmWatch,
        step=train_step,
    )


def train_step(state: TcmState, batches: Iterator[Batch], ranks: Ranks) -> dict[str, float]:
    """One optimiser step over `accumulate` batches; what was measured, and the gradient's norm, by name."""
    config, model = state.config, state.model.train()
    torch.manual_seed((config.seed << 40) + (state.step << 8) + ranks.rank)  # for the noise of quantisation

    def losses(number: int) -> dict[str, Tensor]:
        batch = next(batches).to(ranks.device)
        rng = np.random.default_rng((config.seed, 2, state.step, number, ranks.rank))
        # Neighbouring samples have different rates: a batch has all of them, or nearly.
        first, count = int(rng.integers(len(config.codec.lambdas))), len(config.codec.lambdas)
        quality = (first + torch.arange(len(batch.past), device=ranks.device)) % count
        return objective(model, batch, config, quality=quality)

    return optimise(state, ranks, losses)


def objective(model: Tcm, batch: Batch, config: TcmTraining, *, quality: Tensor) -> dict[str, Tensor]:
    """lambda * MSE + bits a pixel of an I-frame and the two P-frames after it: "loss" and what it was made of.

    A sample's cost counts with lambda^-balance. `aid` adds the error of the motion-compensated reference: the motion
    must not fall silent before the rest of the network can use it. The I-frame learns from its own cost alone.
    """
    lambdas = quality.new_tensor(config.codec.lambdas, dtype=torch.float32)
    slope, pixels = lambdas[quality], batch.past.shape[2] * batch.past.shape[3]
    weight = weight_of_each(slope, config)
    with mixed_precision(batch.past.device, config.bf16):
        tape = Estimate("mixed")
        reference = model.intra(tape, batch.past, size=(batch.past.shape[2], batch.past.shape[3]), quality=quality)
        error_i, rate_i = squared(reference.frame, batch.past), tape.total() / pixels
        reference = Reference(reference.frame.detach().clamp(0, 1))
        errors, rates, motions, aids = [], [], [], []
        for picture in (batch.target, batch.future):
            tape = Estimate("mixed")
            reference = model.inter(tape, picture, reference, quality=quality)
            errors.append(squared(reference.frame, picture))
            rates.append(tape.total() / pixels)
            motions.append(tape.total("motion") / pixels)
            assert reference.warped is not None  # every P-frame codec has motion
            aids.append(squared(reference.warped, picture))
    error_p, rate_p, rate_m, aid = (torch.stack(x).mean(0) for x in (errors, rates, motions, aids))
    cost_i, cost_p = slope * error_i + rate_i, slope * error_p + rate_p
    return {
        "loss": (weight * (config.intra * cost_i + 2 * (cost_p + config.motion_aid * slope * aid))).mean(),
        "cost_i": (weight * cost_i).mean(),
        "cost_p": (weight * cost_p).mean(),
        "bpp_i": rate_i.mean(),
        "psnr_i": decibels(error_i).mean(),
        "bpp_p": rate_p.mean(),
        "bpp_motion": rate_m.mean(),
        "psnr_p": decibels(error_p).mean(),
        "psnr_warped": decibels(aid).mean(),
    }


def weight_of_each(slope: Tensor, config: TcmTraining) -> Tensor:
    """`weight_of` for each sample (B,)."""
    return slope.new_tensor([weight_of(value, config) for value in slope.tolist()])
