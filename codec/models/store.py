# SPDX-License-Identifier: MIT
"""Weights files of all kinds: safetensors whose metadata hold the sizes of the network, as JSON, and notes.

The key of the sizes tells the kind: "config" a network that predicts, "bframe" a B-frame codec, "tcm" a TCM codec, and
"neighbour" a filter that sees neighbouring pictures.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from ..errors import ModelError, OutputError
from ..files import replacing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NETWORK, BFRAME, TCM, NEIGHBOUR = "config", "bframe", "tcm", "neighbour"
KINDS = {
    NETWORK: "a frame-synthesis network",
    BFRAME: "a B-frame codec",
    TCM: "a TCM codec",
    NEIGHBOUR: "a filter that sees neighbouring pictures",
}
ConfigT = TypeVar("ConfigT")


def check_name(path: Path) -> None:
    """OutputError if a file to be written is not named as weights are."""
    if path.suffix != ".safetensors":
        raise OutputError(f"{path}: weights go into a .safetensors file")


def holds(path: Path, kind: str) -> bool:
    """Whether a file holds weights of this kind; only its header is read."""
    try:
        return kind in read_notes(path)
    except ModelError:
        return False  # whoever reads on says what is wrong


def read_notes(path: Path) -> dict[str, str]:
    """All metadata of a weights file, the sizes among them. ModelError if it is no safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a weights file ({error})") from error


def read_config(path: Path, kind: str, make: Callable[..., ConfigT]) -> tuple[ConfigT, dict[str, str]]:
    """The sizes in a weights file of this kind, and the other notes. ModelError if it is of another kind."""
    try:
        notes = read_notes(path)
        table: dict[str, Any] = json.loads(notes.pop(kind))
        config = make(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
    except (ModelError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not the weights of {KINDS[kind]} ({error})") from error
    return config, notes


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, as they are stored. ModelError if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a weights file ({error})") from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors from `path` into a module strictly, and freeze it. ModelError if they do not fit."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: its weights do not fit its sizes ({str(error).splitlines()[-1].strip()})") from error
    module.eval().requires_grad_(False)


def write(
    path: Path, tensors: Mapping[str, Tensor], kind: str, config: "DataclassInstance", notes: Mapping[str, str]
) -> None:
    """Write a weights file, whole or not at all, making its folder. OutputError if it cannot be written."""
    check_name(path)
    data = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    metadata = {kind: json.dumps(asdict(config)), **notes}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    with replacing(path) as file:
        file.write(serialise(data, metadata=metadata))


def write_half(path: Path, module: nn.Module, kind: str, config: "DataclassInstance", notes: Mapping[str, str]) -> None:
    """Write a module's weights in half precision. OutputError if they cannot be written."""
    write(path, {name: value.half() for name, value in module.state_dict().items()}, kind, config, notes)


def fill_half(module: nn.Module, path: Path, device: str | torch.device) -> None:
    """Load what `write_half` wrote, as float32, ready for use. ModelError if it does not fit or is damaged."""
    fill(module, {name: value.float() for name, value in read_tensors(path).items()}, path)
    ready(module, device)


def ready(module: nn.Module, device: str | torch.device) -> nn.Module:
    """The module on a device, channels last: convolutions are then a sixth faster on a CPU."""
    return module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
