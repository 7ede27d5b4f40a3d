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
from ..files import Place, replacing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NETWORK, BFRAME, TCM, NEIGHBOUR = "config", "bframe", "tcm", "neighbour"
KINDS = {
    NETWORK: "a frame-synthesis network",
    BFRAME: "a B-frame codec",
    TCM: "a TCM codec",
    NEIGHBOUR: "a filter that sees neighbouring pictures",
}
NO_SIZES = ("lambdas", "coarse_short_side")  # numbers of a config that no tensor must be as long as
SMALL = 64  # what other numbers may be anyway
ConfigT = TypeVar("ConfigT")


def check_name(path: Path) -> None:
    """OutputError if a file to be written is not named as weights are, or cannot be there; its folder may be made."""
    if path.suffix != ".safetensors":
        raise OutputError(f"{path}: weights go into a .safetensors file")
    if path.parent.exists():
        Place(path).check()


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
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        _check_sizes(values, path)
        config = make(**values)
    except (ModelError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not the weights of {KINDS[kind]} ({error})") from error
    return config, notes


def _check_sizes(values: Mapping[str, Any], path: Path) -> None:
    """ValueError if a network of these sizes has larger tensors than the file: it might take all memory to build."""
    with safe_open(path, "pt") as file:
        largest = max((side for key in file.keys() for side in file.get_slice(key).get_shape()), default=0)  # noqa: SIM118
    for key, value in values.items():
        for size in value if isinstance(value, tuple) else (value,):
            if isinstance(size, int | float) and key not in NO_SIZES and not 0 <= size <= max(largest, SMALL):
                raise ValueError(f"{key} is {size}, and no tensor has such a side")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a weights file, as they are stored. ModelError if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a weights file ({error})") from error


def fill(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors from `path` into a module strictly, and freeze it.

    ModelError if they do not fit, or are not finite.
    """
    if wrong := [name for name, value in tensors.items() if not value.isfinite().all()]:
        raise ModelError(f"{path}: {wrong[0]} holds values that are no finite numbers; the file is damaged")
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
