# SPDX-License-Identifier: MIT
"""A TCM codec, I- and P-frames together.

A sample is three frames: an I-frame, the P-frame after it, and one more, which builds on features of the first P-frame.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entropy import Estimate

from ...anchors.tcm.config import Reference, TcmConfig
from ...anchors.tcm.weights import Tcm, freeze_tcm, load_tcm, save_tcm
from ...errors import ModelError
from ...models.registry import find
from ...video.metrics import psnr
from ..config import CodecTraining
from ..data import Library
from ..losses import decibels, squared_error
from ..precision import mixed_precision
from ..run import Run, put_parameters
from ..sampling import Batch, ValidationItem, validation_items
from ..task import Items, Task, Validation, means_of


@dataclass(frozen=True, kw_only=True)
class TcmTraining(CodecTraining):
    """One run: what training a network has (`loss`, `supervise`, the teacher and `rename` are not used), and this."""

    codec: TcmConfig = field(default_factory=TcmConfig)
    balance: float = 0.5  # costs count with lambda^-balance; 0 = the plain sum
    motion_aid: float = 0.1  # weight of lambda * MSE of what motion alone makes of the reference
    intra: float = 1.0  # weight of the I-frame's cost beside those of the P-frames

    table = "tcm"
    sizes = TcmConfig


TcmRun = Run[Tcm, TcmTraining]


class TcmTask(Task[Tcm, TcmTraining]):
    """Learns lambda * MSE + bits a pixel at every lambda of the recipe. The score is minus that cost."""

    name = "tcm"
    recipe = TcmTraining
    floor = float("-inf")

    def build(self, config: TcmTraining, device: torch.device) -> Tcm:
        """The networks. ModelError if `init` has other sizes."""
        model = Tcm(config.codec)
        if config.init:
            source = load_tcm(find(config.init))
            if replace(source.config, lambdas=config.codec.lambdas) != config.codec:
                raise ModelError(f"{config.init}: a TCM codec of other sizes than the recipe's")
            put_parameters(model, dict(source.named_parameters()))
        return model.to(device)

    def losses(self, run: TcmRun, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Costs of both kinds of frames. Neighbouring samples have different rates: a batch has nearly all of them."""
        count, device = len(run.config.codec.lambdas), batch.past.device
        quality = (int(rng.integers(count)) + torch.arange(len(batch.past), device=device)) % count
        return objective(run.model, batch, run.config, quality=quality)

    def items(self, run: TcmRun, library: Library) -> Items:
        """Three original frames in a row of each clip."""
        count, multiple = run.config.validation_clips, run.model.multiple
        return {"frames": list(validation_items(library, count, multiple=multiple, decoded=False))}

    def validate(self, run: TcmRun, items: Items, device: torch.device) -> Validation:
        """Costs at every rate, in bits a pixel; the score is minus their mean, each weighted by `weight_of` its lambda.

        A cost is lambda * MSE + bits a pixel, the mean of an I-frame and two P-frames.
        """
        lambdas = run.config.codec.lambdas
        with run.averaged() as model:
            means = means_of([measure(model, item, device) for item in items["frames"]])
        costs = [weight_of(slope, run.config) * found["cost"] for slope, found in zip(lambdas, means, strict=True)]
        labels = [(f"lambda {slope:g}", quality) for quality, slope in enumerate(lambdas)]
        return Validation.of_qualities(-float(np.mean(costs)), labels, means)

    def export(self, run: TcmRun, path: Path) -> None:
        """Write the averaged weights with integer networks and tables frozen. OutputError if it fails."""
        model = run.averaged_copy()
        freeze_tcm(model)
        save_tcm(model, path, **run.notes)


TASK = TcmTask()


def objective(model: Tcm, batch: Batch, config: TcmTraining, *, quality: Tensor) -> dict[str, Tensor]:
    """lambda * MSE + bits a pixel of an I-frame and the two P-frames after it: "loss" and what it was made of, scalars.

    A sample's cost counts with lambda^-balance. `aid` adds the error of the motion-compensated reference: the motion
    must not fall silent before the rest of the network can use it. The I-frame learns from its own cost alone.
    """
    slope, pixels = quality.new_tensor(config.codec.lambdas, dtype=torch.float32)[quality], batch.past[0, 0].numel()
    weight = slope.new_tensor([weight_of(value, config) for value in slope.tolist()])
    with mixed_precision(batch.past.device, config.bf16):
        tape = Estimate("mixed")
        reference = model.intra(tape, batch.past, size=(batch.past.shape[2], batch.past.shape[3]), quality=quality)
        error_i, rate_i = squared_error(reference.frame, batch.past), tape.total() / pixels
        reference = Reference(reference.frame.detach().clamp(0, 1))
        coded = []
        for picture in (batch.target, batch.future):
            tape = Estimate("mixed")
            reference = model.inter(tape, picture, reference, quality=quality)
            assert reference.warped is not None  # every P-frame codec has motion
            errors = squared_error(reference.frame, picture), squared_error(reference.warped, picture)
            coded.append((*errors, tape.total() / pixels, tape.total("motion") / pixels))
    error_p, aid, rate_p, rate_m = (torch.stack(x).mean(0) for x in zip(*coded, strict=True))
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


def weight_of(slope: float, config: TcmTraining) -> float:
    """What costs at a lambda count, or the finest rate would be all that is learnt."""
    return float((slope / 256) ** -config.balance)


@torch.no_grad()
def measure(model: Tcm, item: ValidationItem, device: torch.device) -> list[dict[str, float]]:
    """For each rate, bits a pixel, RGB PSNR in dB and cost of an I-frame and of the two P-frames after it."""
    batch, rows = item.batch.to(device), []
    size, pixels = (batch.past.shape[2], batch.past.shape[3]), item.width * item.height
    for quality, slope in enumerate(model.config.lambdas):
        reference, bits, errors = None, [], []
        for picture in (batch.past, batch.target, batch.future):
            tape = Estimate("round")
            if reference is None:
                reference = model.intra(tape, picture, size=size, quality=quality)
            else:
                reference = model.inter(tape, picture, reference, quality=quality)
            errors.append(item.error(reference.frame, picture))
            bits.append(float(tape.total()) / pixels)
        decibel = [psnr(error) for error in errors]
        cost = float(np.mean([slope * error + bpp for error, bpp in zip(errors, bits, strict=True)]))
        row = {"bpp_i": bits[0], "psnr_i": decibel[0], "bpp_p": sum(bits[1:]) / 2, "psnr_p": sum(decibel[1:]) / 2}
        rows.append(row | {"cost": cost})
    return rows
