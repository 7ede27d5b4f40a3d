# SPDX-License-Identifier: MIT
"""What happens beside the steps of a run: log lines, validation, sample pictures, checkpoints."""

import csv
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ncm import FrameSynthesis

from ..errors import InputError
from .config import TrainConfig
from .data import Library
from .objective import predict
from .samples import side_by_side, write_png
from .sampling import ValidationItem, validation_items
from .state import TrainState, export, save

log = logging.getLogger(__name__)

SAMPLES = 4  # pictures each time, of each kind of references


class Board(Protocol):
    """What is used of TensorBoard's SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """One point of a curve."""
        ...

    def close(self) -> None:
        """Write out what is waiting."""
        ...


class Watch:
    """Keeps a run's log and clock, validates, and saves when that is due."""

    def __init__(self, state: TrainState, library: Library, run: Path, device: torch.device) -> None:
        self.state, self.run, self.device = state, run, device
        self.items = self.find_items(library)
        self.recent: list[dict[str, float]] = []
        self.clock = self.saved = time.monotonic()
        self.board = _tensorboard(run, state.step) if state.config.tensorboard else None

    def find_items(self, library: Library) -> dict[str, list[ValidationItem]]:
        """What is validated on, by kind."""
        config, multiple = self.state.config, self.state.model.multiple
        kinds = {"clean": False, "decoded": True} if config.decoded else {"clean": False}
        count, task = config.validation_clips, config.model.task
        return {
            kind: list(validation_items(library, count, multiple=multiple, decoded=decoded, task=task))
            for kind, decoded in kinds.items()
        }

    def after_step(self, losses: dict[str, float]) -> None:
        """Log, validate and save when each is due."""
        state, config = self.state, self.state.config
        now = time.monotonic()
        state.seconds, self.clock = state.seconds + now - self.clock, now
        self.recent.append(losses)
        if state.step % config.log_every == 0:
            self._log_losses()
        if state.step % config.validate_every == 0 and state.step < config.steps:
            self.validate()
        if config.samples_every and state.step % config.samples_every == 0:
            self.sample()
        if now - self.saved > 60 * config.checkpoint_minutes:
            save(state, self.run)
            self.saved = now

    def validate(self) -> None:
        """Measure the averaged weights; keep them as best.safetensors if they are the best so far."""
        state = self.state
        with averaged(state) as model:
            values = {
                kind: validate(model, items, state.config, self.device) for kind, items in self.items.items() if items
            }
        if values:
            psnr = float(np.mean(list(values.values())))
            if state.step == 0:
                state.first_psnr = psnr
            if psnr > state.best_psnr:
                state.best_psnr = psnr
                export(state, self.run / "best.safetensors")
            shown = "  ".join(f"{kind} {value:.3f}" for kind, value in values.items())
            log.info("step %d: validation %s dB, %+.3f since the start", state.step, shown, psnr - state.first_psnr)
            self._record({f"psnr_{kind}": value for kind, value in values.items()})
        self.clock = time.monotonic()  # validation is not training time

    def sample(self) -> None:
        """Write the first validation clips beside what the averaged weights make of them."""
        folder = self.run / "samples"
        folder.mkdir(exist_ok=True)
        with averaged(self.state) as model:
            for kind, items in self.items.items():
                for item in items[:SAMPLES]:
                    name = f"step{self.state.step:07d}-{kind}-{item.name.replace('/', '-')}.png"
                    write_png(folder / name, side_by_side(model, item, self.state.config, self.device))
        self.clock = time.monotonic()

    def close(self) -> None:
        """Write out what TensorBoard has not yet written."""
        if self.board is not None:
            self.board.close()

    def _log_losses(self) -> None:
        state = self.state
        means = {name: float(np.mean([r[name] for r in self.recent])) for name in self.recent[0]}
        self.recent = []
        pace = state.seconds / state.step
        left = pace * (state.config.steps - state.step) / 60
        shown = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
        log.info("step %d/%d  %s  %.2f s/step  %.0f min left", state.step, state.config.steps, shown, pace, left)
        self._record(means)

    def _record(self, values: dict[str, float]) -> None:
        """One line a value: step, hours, name, value."""
        hours = f"{self.state.seconds / 3600:.4f}"
        with (self.run / "log.csv").open("a", newline="") as file:
            csv.writer(file).writerows((self.state.step, hours, name, f"{v:.6f}") for name, v in values.items())
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, self.state.step)


@torch.no_grad()
def validate(model: FrameSynthesis, items: list[ValidationItem], config: TrainConfig, device: torch.device) -> float:
    """The mean over clips of the RGB PSNR of whole pictures, in dB, computed in float32."""
    model.eval()
    values = []
    for _, cpu_batch, width, height in items:
        batch = cpu_batch.to(device)
        error = (predict(model, batch, config).frame - batch.target)[:, :, :height, :width].square().mean()
        values.append(-10 * float(torch.log10(error + 1e-10)))
    return float(np.mean(values))


@contextmanager
def averaged(state: TrainState) -> Iterator[FrameSynthesis]:
    """The model with its averaged weights and its own coarse ratio, for as long as the context lasts."""
    model = state.model
    current = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state.average)
    model.flow.config = state.config.model
    try:
        yield model
    finally:
        model.load_state_dict(current)


def _tensorboard(run: Path, step: int) -> Board:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("train.tensorboard is on, but the package tensorboard is missing; pip install it") from error
    return SummaryWriter(str(run), purge_step=step + 1)  # what a killed run wrote after its checkpoint comes again
