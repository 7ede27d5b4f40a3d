# SPDX-License-Identifier: MIT
"""What a run consists of between two steps: weights, their average, the optimiser; saved, resumed, exported."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import AdamW

from ncm import FrameSynthesis, build

from ..errors import InputError, ModelError, OutputError
from ..models.network_file import save_network
from ..models.registry import find
from .config import TrainConfig, config_from, tables_of

CHECKPOINT = "checkpoint.pt"


@dataclass
class TrainState:
    """Everything that a checkpoint holds. There is no state of random generators: see `TrainConfig.seed`."""

    config: TrainConfig
    model: FrameSynthesis
    average: dict[str, Tensor]  # exponential moving average of the model's tensors, float32
    optimizer: AdamW
    data: str  # the corpus, named in exported weights
    step: int = 0
    seconds: float = 0.0  # spent training so far
    first_psnr: float = 0.0  # of validation before the first step
    best_psnr: float = 0.0

    @property
    def notes(self) -> dict[str, str]:
        """What exported weights say of the run that made them."""
        return {"steps": str(self.step), "hours": f"{self.seconds / 3600:.2f}", "data": self.data}

    def update_average(self) -> None:
        """Move the average towards the model; early steps count for more, so that it forgets its start."""
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            current = self.model.state_dict()
            torch._foreach_lerp_(list(self.average.values()), [current[name] for name in self.average], 1 - decay)

    def rate(self) -> float:
        """The learning rate of the coming step: linear warm-up, then a cosine down to final * lr."""
        config = self.config
        warm = min(1.0, (self.step + 1) / max(config.warmup, 1))
        progress = max(0, self.step - config.warmup) / max(1, config.steps - config.warmup)
        cosine = 0.5 * (1 + float(torch.cos(torch.tensor(min(progress, 1.0) * torch.pi))))
        return config.lr * warm * (config.final + (1 - config.final) * cosine)


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a parameter's name fits one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def start(config: TrainConfig, data: str, device: torch.device) -> TrainState:
    """A run before its first step."""
    torch.manual_seed(config.seed)
    model = FrameSynthesis(config.model)
    if config.init:
        load_weights(model, find(config.init), config.may_be_missing, config.rename, config.channels)
    model = model.to(device).to(memory_format=torch.channels_last)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not matches(name, config.freeze))
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return TrainState(config, model, average, optimizer_of(model, config), data)


def optimizer_of(model: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW with one group a rate; the factor stays in the group, the schedule multiplies it."""
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
    )


def load_weights(
    model: nn.Module,
    path: Path,
    may_be_missing: tuple[str, ...] = (),
    rename: Mapping[str, str] | None = None,
    channels: Mapping[str, list[int]] | None = None,
) -> None:
    """Load a safetensors file, names changed by prefix; ModelError names any weight too many, or missing without leave.

    A prefix that becomes "" takes its weights out. Of what is in `channels`, by its new name, only these are taken: of
    a convolution's weights, these inputs; of a transposed one's, these outputs; of a bias, these.
    """
    try:
        weights = _renamed(load_file(path), rename or {})
        for name, taken in (channels or {}).items():
            weights[name] = weights[name][:, taken] if weights[name].dim() > 1 else weights[name][taken]
        result = model.load_state_dict(weights, strict=False)
    except (OSError, RuntimeError, LookupError, SafetensorError) as error:
        # The first line of torch's message says only that something is wrong.
        raise ModelError(f"{path} does not fit: {str(error).splitlines()[-1].strip()}") from error
    missing = [name for name in result.missing_keys if not matches(name, may_be_missing)]
    if missing or result.unexpected_keys:
        raise ModelError(f"{path} does not fit: missing {missing[:3]}, unexpected {result.unexpected_keys[:3]}")


def _renamed(weights: dict[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights under their new names; the first prefix that fits counts."""
    kept = {}
    for name, value in weights.items():
        prefix = next((prefix for prefix in rename if name.startswith(prefix)), "")
        if not prefix or rename[prefix]:
            kept[rename.get(prefix, "") + name.removeprefix(prefix)] = value
    return kept


def save(state: TrainState, run: Path) -> None:
    """Write the checkpoint beside the old one and rename: whenever we are stopped, one of them is whole."""
    content = {
        "config": json.dumps(tables_of(state.config)),
        "model": state.model.state_dict(),
        "average": state.average,
        "optimizer": state.optimizer.state_dict(),
        **{name: getattr(state, name) for name in ("data", "step", "seconds", "first_psnr", "best_psnr")},
    }
    part = run / f"{CHECKPOINT}.part"
    try:
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the new name on an empty file
        part.replace(run / CHECKPOINT)
    except OSError as error:
        raise OutputError(f"{run / CHECKPOINT}: cannot be written ({error.strerror or error})") from error


def read_checkpoint(run: Path, device: torch.device) -> dict[str, Any]:
    """What `save` wrote; InputError if there is no checkpoint that can be read."""
    try:
        content: dict[str, Any] = torch.load(run / CHECKPOINT, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = (str(error) or "its checkpoint is empty").splitlines()[0]
        raise InputError(f"{run} holds no run: {reason}") from error
    return content


def restore(state: TrainState, content: dict[str, Any]) -> None:
    """Put a fresh run where the one of a checkpoint stood."""
    state.model.load_state_dict(content["model"])
    state.average = content["average"]
    state.optimizer.load_state_dict(content["optimizer"])
    for name in ("step", "seconds", "first_psnr", "best_psnr"):
        setattr(state, name, content[name])


def resume(run: Path, device: torch.device) -> TrainState:
    """The run as it was when its checkpoint was written; InputError if it has none that can be read."""
    content = read_checkpoint(run, device)
    config = config_from(json.loads(content["config"]), str(run / CHECKPOINT))
    state = start(TrainConfig(**{**vars(config), "init": ""}), content["data"], device)
    state.config = config
    restore(state, content)
    return state


def export(state: TrainState, path: Path) -> None:
    """Write the averaged weights in half precision, as `codec.models` loads them, with what made them as metadata."""
    network = build(state.config.model)
    network.load_state_dict(state.average)
    save_network(network, path, **state.notes)
