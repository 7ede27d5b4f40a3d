# SPDX-License-Identifier: MIT
"""A run between two steps, whatever it trains: weights, their average, the optimiser; saved and read again."""

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from ..errors import InputError
from ..files import replacing
from .config import TrainConfig

CHECKPOINT = "checkpoint.pt"
FORMAT = 1  # of checkpoints
COUNTERS = ("step", "seconds", "first", "best")

ModelT = TypeVar("ModelT", bound=nn.Module)
ConfigT = TypeVar("ConfigT", bound=TrainConfig)


@dataclass
class Run(Generic[ModelT, ConfigT]):
    """Everything that a checkpoint holds.

    There is no state of random generators: a draw is a function of the recipe's seed and the number of its sample or
    step.
    """

    task: str  # its name in `tasks.TASKS`
    config: ConfigT
    model: ModelT
    average: dict[str, Tensor]  # exponential moving average of the model's parameters, float32
    optimizer: AdamW
    data: str  # the corpus, named in exported weights
    step: int = 0
    seconds: float = 0.0  # spent training so far
    first: float = 0.0  # score of validation before the first step
    best: float = 0.0  # the highest score so far: what is not above it is no best.safetensors

    @property
    def notes(self) -> dict[str, str]:
        """What exported weights say of the run that made them."""
        return {"steps": str(self.step), "hours": f"{self.seconds / 3600:.2f}", "data": self.data}

    def rate(self) -> float:
        """The learning rate of the coming step: linear warm-up, then a cosine down to final * lr."""
        config = self.config
        warm = min(1.0, (self.step + 1) / max(config.warmup, 1))
        progress = max(0, self.step - config.warmup) / max(1, config.steps - config.warmup)
        cosine = 0.5 * (1 + float(torch.cos(torch.tensor(min(progress, 1.0) * torch.pi))))
        return config.lr * warm * (config.final + (1 - config.final) * cosine)

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the model; early steps count for more, so that it forgets its start."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        current = dict(self.model.named_parameters())
        torch._foreach_lerp_(list(self.average.values()), [current[name] for name in self.average], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[ModelT]:
        """The model in evaluation mode with its averaged weights, for as long as the context lasts."""
        current = parameters_of(self.model)
        put_parameters(self.model, self.average)
        try:
            yield self.model.eval()
        finally:
            put_parameters(self.model, current)

    def averaged_copy(self) -> ModelT:
        """Another model with the averaged weights, which may be changed; its mode is that of the model."""
        model = copy.deepcopy(self.model)
        put_parameters(model, self.average)
        return model

    def save(self, folder: Path) -> None:
        """Write the checkpoint in place of the old one; whenever we are stopped, one of them is whole. OutputError."""
        content = {
            "format": FORMAT,
            "task": self.task,
            "config": json.dumps(self.config.tables()),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "data": self.data,
            **{name: getattr(self, name) for name in COUNTERS},
        }
        with replacing(folder / CHECKPOINT) as file:
            torch.save(content, file)

    def restore(self, content: Mapping[str, Any]) -> None:
        """Put this fresh run where that of a checkpoint stood."""
        self.model.load_state_dict(content["model"])
        self.average = content["average"]
        self.optimizer.load_state_dict(content["optimizer"])
        for name in COUNTERS:
            setattr(self, name, content[name])


def read_checkpoint(folder: Path, device: torch.device) -> dict[str, Any]:
    """What `Run.save` wrote. InputError if there is no checkpoint that this version can read."""
    try:
        content = torch.load(folder / CHECKPOINT, map_location=device, weights_only=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        remedy = "give the folder that `codec train` had as --run"
        raise InputError(f"{folder} holds no run: there is no {CHECKPOINT}; {remedy}") from error
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = (str(error) or "it is empty").splitlines()[0].partition(". ")[0]
        remedy = "delete it to train anew"
        raise InputError(f"{folder} holds no run: {CHECKPOINT} cannot be read ({reason}); {remedy}") from error
    found = content.get("format", 0) if isinstance(content, dict) else 0
    if found < FORMAT or "task" not in content:
        remedy = "train anew, or export it with the version that made it"
        raise InputError(f"{folder} holds a run that was made by an older version; {remedy}")
    if found > FORMAT:
        raise InputError(f"{folder} holds a run that was made by a newer version; use that one")
    return content


def optimizer_of(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW with one group a rate; the factor stays in the group, the schedule multiplies it.

    InputError if every parameter is frozen.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((f for pattern, f in config.rates.items() if fnmatchcase(name, pattern)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    if not groups:
        raise InputError("train.freeze leaves nothing to train")
    return AdamW(
        [{"params": parameters, "factor": factor} for factor, parameters in groups.items()],
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=True,  # a step of `base` on a CPU, batch 8 at 128x128, takes 7 % less
    )


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a parameter's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of a model's parameters by name."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@torch.no_grad()
def put_parameters(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Set a model's parameters by name."""
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])
