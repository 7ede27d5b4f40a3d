# SPDX-License-Identifier: MIT
"""What tells one training from another: its recipe, model, losses, validation and exported file.

Everything else is the same for all: `run.Run` is saved and resumed, `loop` takes the steps, `watch` looks after them.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Generic, Self

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .data import Library
from .run import CHECKPOINT, ConfigT, ModelT, Run, matches, optimizer_of, parameters_of, read_checkpoint
from .sampling import Batch, Sampler, ValidationItem

Items = dict[str, list[ValidationItem]]  # what is validated on, by kind


@dataclass(frozen=True)
class Validation:
    """What was measured on held-out pictures."""

    score: float  # of the run; higher is better
    values: Mapping[str, float]  # for log.csv, by name
    lines: list[str]  # for the log

    @classmethod
    def of_gains(cls, gains: Sequence[float], what: str, *, digits: int = 4) -> Self:
        """What a filter gains on pictures in dB, the mean being the score; `what` and `digits` are for the log."""
        mean = float(np.mean(gains))
        line = f"{mean:+.{digits}f} dB on held-out {what}, from {min(gains):+.3f} to {max(gains):+.3f}"
        return cls(mean, {"valid_gain": mean}, [line])

    @classmethod
    def of_qualities(cls, score: float, labels: Sequence[tuple[str, int]], means: list[dict[str, float]]) -> Self:
        """What was measured at some qualities: for each the word that the log has for it, its index, and values."""
        values, lines = {}, []
        for (label, quality), found in zip(labels, means, strict=True):
            lines.append("  ".join([label, *(f"{name} {value:.4f}" for name, value in found.items())]))
            values.update({f"valid{quality}_{name}": value for name, value in found.items()})
        return cls(score, values, lines)


def means_of(rows: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """The means over pictures of what was measured of each, at each quality, by name."""
    return [{name: float(np.mean([row[name] for row in same])) for name in same[0]} for same in zip(*rows, strict=True)]


class Task(ABC, Generic[ModelT, ConfigT]):
    """One kind of training. `name` is that in `tasks.TASKS`; weights are kept if their score passes `floor`."""

    name: ClassVar[str]
    recipe: type[ConfigT]
    sampler: ClassVar[type[Sampler]] = Sampler
    floor: ClassVar[float] = 0.0
    decoded: ClassVar[bool] = False  # whether it needs decoded passes, whatever the recipe says
    strong: ClassVar[bool] = False  # whether these are best by stronger encoders

    @abstractmethod
    def build(self, config: ConfigT, device: torch.device) -> ModelT:
        """The model before the first step, on the device; `init` is in it. ModelError if that does not fit."""

    @abstractmethod
    def losses(self, run: Run[ModelT, ConfigT], batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one batch, scalars by name: "loss", which is minimised, and the parts that it is made of."""

    @abstractmethod
    def items(self, run: Run[ModelT, ConfigT], library: Library) -> Items:
        """Held-out pictures to validate on, by kind."""

    @abstractmethod
    def validate(self, run: Run[ModelT, ConfigT], items: Items, device: torch.device) -> Validation:
        """The averaged weights, measured on what `items` found; there is at least one."""

    @abstractmethod
    def export(self, run: Run[ModelT, ConfigT], path: Path) -> None:
        """Write the averaged weights as a model, with `run.notes` as metadata. OutputError if it cannot be written."""

    def row(self, run: Run[ModelT, ConfigT], item: ValidationItem, device: torch.device) -> Tensor | None:
        """Pictures to look at, side by side (3,H,W) in [0,1], by the averaged weights; None if there are none."""
        return None

    def start(self, config: ConfigT, data: str, device: torch.device) -> Run[ModelT, ConfigT]:
        """A run before its first step; `data` describes its corpus.

        InputError if the recipe's sizes do not fit each other, or if nothing is left to train.
        """
        torch.manual_seed(config.seed)
        try:
            model = self.build(config, device)
        except ValueError as error:
            raise InputError(f"these sizes make no model: {error}; change the recipe") from error
        for name, parameter in model.named_parameters():
            if matches(name, config.freeze):
                parameter.requires_grad_(False)
        optimizer = optimizer_of(model, config)
        return Run(self.name, config, model, parameters_of(model), optimizer, data, best=self.floor)

    def resume(self, folder: Path, device: torch.device) -> Run[ModelT, ConfigT]:
        """The run of a folder as it was when its checkpoint was written. InputError if it has none of this task."""
        content = read_checkpoint(folder, device)
        if content["task"] != self.name:
            raise InputError(f"{folder} holds a run of `codec train {content['task']}`, not of {self.name}")
        config = self.recipe.of(json.loads(content["config"]), str(folder / CHECKPOINT))
        run = self.start(replace(config, init=""), content["data"], device)
        run.config = config
        run.restore(content)
        return run
