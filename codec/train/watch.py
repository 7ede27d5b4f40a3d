# SPDX-License-Identifier: MIT
"""What happens beside the steps of a run: log lines, validation, sample pictures, checkpoints."""

import csv
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, Protocol

import numpy as np
import torch

from ..errors import InputError
from .data import Library
from .run import ConfigT, ModelT, Run
from .samples import write_png
from .task import Task

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


class Watch(Generic[ModelT, ConfigT]):
    """Keeps a run's log and clock, validates, and saves when that is due."""

    def __init__(
        self,
        task: Task[ModelT, ConfigT],
        run: Run[ModelT, ConfigT],
        library: Library,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.task, self.run, self.folder, self.device = task, run, folder, device
        self.items = task.items(run, library)
        self.recent: list[dict[str, float]] = []
        self.clock = self.saved = time.monotonic()
        self.board = _tensorboard(folder, run.step) if run.config.tensorboard else None

    def begin(self) -> None:
        """Say what is trained; validate what there is before the first step."""
        log.info("%s, step %d: %s", self.folder, self.run.step, self.run.config)
        if self.run.step == 0:
            self.validate()

    def after_step(self, losses: dict[str, float]) -> None:
        """Log, validate and save when each is due."""
        run, config = self.run, self.run.config
        now = time.monotonic()
        run.seconds, self.clock = run.seconds + now - self.clock, now
        self.recent.append(losses)
        if run.step % config.log_every == 0:
            self._log_losses()
        if run.step % config.validate_every == 0 and run.step < config.steps:
            self.validate()
        if config.samples_every and run.step % config.samples_every == 0:
            self.sample()
        if now - self.saved > 60 * config.checkpoint_minutes:
            run.save(self.folder)
            self.saved = now

    def end(self) -> None:
        """Validate what was trained to the end; save, and write out what TensorBoard has not yet written."""
        if self.run.step == self.run.config.steps:
            self.validate()
        self.run.save(self.folder)
        if self.board is not None:
            self.board.close()

    def validate(self) -> None:
        """Measure the averaged weights; keep them as best.safetensors if they are the best so far."""
        if any(self.items.values()):
            run, found = self.run, self.task.validate(self.run, self.items, self.device)
            if run.step == 0:
                run.first = found.score
            for line in found.lines:
                log.info("step %d: %s", run.step, line)
            self._record(found.values)
            if found.score > run.best:
                run.best = found.score
                self.task.export(run, self.folder / "best.safetensors")
        self.clock = time.monotonic()  # validation is not training time

    def sample(self) -> None:
        """Write the first validation clips beside what the averaged weights make of them."""
        folder = self.folder / "samples"
        for kind, items in self.items.items():
            for item in items[:SAMPLES]:
                row = self.task.row(self.run, item, self.device)
                if row is not None:
                    folder.mkdir(exist_ok=True)
                    name = f"step{self.run.step:07d}-{kind}-{item.name.replace('/', '-')}.png"
                    write_png(folder / name, row)
        self.clock = time.monotonic()

    def _log_losses(self) -> None:
        run = self.run
        means = {name: float(np.mean([r[name] for r in self.recent])) for name in self.recent[0]}
        self.recent = []
        pace = run.seconds / run.step
        left = pace * (run.config.steps - run.step) / 60
        shown = "  ".join(f"{name} {value:.5f}" for name, value in means.items())
        log.info("step %d/%d  %s  %.2f s/step  %.0f min left", run.step, run.config.steps, shown, pace, left)
        self._record(means)

    def _record(self, values: Mapping[str, float]) -> None:
        """One line a value: step, hours, name, value."""
        hours = f"{self.run.seconds / 3600:.4f}"
        with (self.folder / "log.csv").open("a", newline="") as file:
            csv.writer(file).writerows((self.run.step, hours, name, f"{v:.6f}") for name, v in values.items())
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, self.run.step)


def _tensorboard(folder: Path, step: int) -> Board:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("train.tensorboard is on, but the package tensorboard is missing; pip install it") from error
    return SummaryWriter(str(folder), purge_step=step + 1)  # what a killed run wrote after its checkpoint comes again
