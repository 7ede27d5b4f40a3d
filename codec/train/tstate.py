# SPDX-License-Identifier: MIT
"""A run of the TCM codec between two steps: its recipe, state, validation and export."""

import copy
import json
import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from entropy import Estimate

from ..anchors.tcm.config import TcmConfig
from ..anchors.tcm.weights import Tcm, freeze_tcm, load_tcm, save_tcm
from ..errors import ModelError
from ..models.registry import find
from .bstate import parameters_in, put_parameters
from .data import Library
from .recipe import CodecTraining, resumed
from .sampling import ValidationItem, validation_items
from .state import TrainState, matches, optimizer_of, read_checkpoint
from .watch import Watch

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TcmTraining(CodecTraining):
    """One run: what training a network has (`loss`, `supervise`, the teacher and `rename` are not used), and this."""

    codec: TcmConfig = field(default_factory=TcmConfig)
    balance: float = 0.5  # costs count with lambda^-balance; 0 = the plain sum
    motion_aid: float = 0.1  # weight of lambda * MSE of what motion alone makes of the reference
    intra: float = 1.0  # weight of the I-frame's cost beside those of the P-frames

    table = "tcm"
    sizes = TcmConfig


@dataclass
class TcmState(TrainState):
    """What a checkpoint holds; `average` has parameters alone, `best_psnr` is minus the least cost so far."""

    config: TcmTraining
    model: Tcm  # type: ignore[assignment]  # trained by the same rules, but another network
    best_psnr: float = -1e9


def start_tcm(config: TcmTraining, data: str, device: torch.device) -> TcmState:
    """A run before its first step. ModelError if `init` has other sizes."""
    torch.manual_seed(config.seed)
    model = Tcm(config.codec)
    if config.init:
        source = load_tcm(find(config.init))
        if replace(source.config, lambdas=config.codec.lambdas) != config.codec:
            raise ModelError(f"{config.init}: a TCM codec of other sizes than the recipe's")
        put_parameters(model, dict(source.named_parameters()))
    model = model.to(device)
    for name, parameter in model.named_parameters():
        if matches(name, config.freeze):
            parameter.requires_grad_(False)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    return TcmState(config, model, average, optimizer_of(model, config), data)


def resume_tcm(run: Path, device: torch.device, *, steps: int | None = None) -> TcmState:
    """The run as it was when its checkpoint was written; InputError if it has none that can be read."""
    return resumed(run, device, TcmTraining, start_tcm, steps=steps)


def is_tcm_run(run: Path) -> bool:
    """Whether a run trains a TCM codec. InputError if it has no checkpoint."""
    content = json.loads(read_checkpoint(run, torch.device("cpu"))["config"])["train"]
    return "network" in content.get("codec", {})


class TcmWatch(Watch):
    """Keeps a run's log and clock, validates, and saves when that is due."""

    state: TcmState  # type: ignore[assignment]

    def find_items(self, library: Library) -> dict[str, list[ValidationItem]]:
        """See Watch."""
        count, multiple = self.state.config.validation_clips, self.state.model.multiple
        return {"frames": list(validation_items(library, count, multiple=multiple, decoded=False))}

    def validate(self) -> None:
        """Measure the averaged weights at every rate; keep them as best.safetensors if they cost least so far.

        A cost is lambda * MSE + bits a pixel, the mean of an I-frame and two P-frames; that of the run is the mean
        over rates, weighted as in training.
        """
        state, costs = self.state, []
        with parameters_in(state.model, state.average):
            rows = [measure(state.model.eval(), item, self.device) for item in self.items["frames"]]
        for quality, slope in enumerate(state.config.codec.lambdas):
            means = {name: float(np.mean([row[quality][name] for row in rows])) for name in rows[0][quality]}
            costs.append(weight_of(slope, state.config) * means["cost"])
            shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            log.info("step %d: lambda %g  %s", state.step, slope, shown)
            self._record({f"valid{quality}_{name}": value for name, value in means.items()})
        if -np.mean(costs) > state.best_psnr:
            state.best_psnr = -float(np.mean(costs))
            export_tcm(state, self.run / "best.safetensors")
        self.clock = time.monotonic()  # validation is not training time


def weight_of(slope: float, config: TcmTraining) -> float:
    """What costs at a lambda count, or the finest rate would be all that is learnt."""
    return float((slope / 256) ** -config.balance)


@torch.no_grad()
def measure(model: Tcm, item: ValidationItem, device: torch.device) -> list[dict[str, float]]:
    """For each rate, bits a pixel, RGB PSNR and cost of an I-frame and of the two P-frames after it."""
    batch, rows = item.batch.to(device), []
    pixels = item.width * item.height
    for quality, slope in enumerate(model.config.lambdas):
        reference, bits, errors = None, [], []
        for picture in (batch.past, batch.target, batch.future):
            tape = Estimate("round")
            if reference is None:
                size = (picture.shape[2], picture.shape[3])
                reference = model.intra(tape, picture, size=size, quality=quality)
            else:
                reference = model.inter(tape, picture, reference, quality=quality)
            difference = (reference.frame - picture)[:, :, : item.height, : item.width]
            errors.append(float(difference.square().mean()))
            bits.append(float(tape.total()) / pixels)
        psnr = [-10 * float(np.log10(error + 1e-10)) for error in errors]
        cost = float(np.mean([slope * error + bpp for error, bpp in zip(errors, bits, strict=True)]))
        i_frame, p_frame = (
            {"bpp_i": bits[0], "psnr_i": psnr[0]},
            {"bpp_p": sum(bits[1:]) / 2, "psnr_p": sum(psnr[1:]) / 2},
        )
        rows.append({**i_frame, **p_frame, "cost": cost})
    return rows


def export_tcm(state: TcmState, path: Path) -> None:
    """Write the averaged weights with integer networks and tables frozen, and what made them as metadata."""
    model = copy.deepcopy(state.model)
    put_parameters(model, state.average)
    freeze_tcm(model)
    save_tcm(model, path, **state.notes)
