# SPDX-License-Identifier: MIT
"""Networks by name. Their files lie in the package `codec`, which is found but not imported."""

import json
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .config import NcmConfig
from .network import FrameSynthesis, build

SUFFIX = ".safetensors"
SEARCH_PATH = "NCM_WEIGHTS"  # folders with further weights, separated as in PATH
KIND = "config"  # the key in a file's notes that holds the sizes of a network
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64, "BOOL": torch.bool}
DTYPES |= {"U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64}


class WeightsFile(NamedTuple):
    """What a .safetensors file holds: its notes, and its tensors as they are stored."""

    notes: dict[str, str]
    tensors: dict[str, Tensor]


def load(model: str | Path = "base", device: str | torch.device = "cpu", *, tta: bool = False) -> FrameSynthesis:
    """The network of this name, or of this .safetensors file, float32, ready for use on a device.

    `tta` averages the answers for the pictures and for them upside down, at twice the time (paper, A.1).
    FileNotFoundError, with the names that there are, if it is missing; ValueError if the file is damaged or of a kind
    that is no network alone.
    """
    path = find(model)
    file = read(path)
    if KIND not in file.notes:
        raise ValueError(f"{path}: holds {', '.join(file.notes) or 'no notes'}, not a frame-synthesis network")
    try:
        sizes = json.loads(file.notes[KIND]).items()
        config: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in sizes}
        network = build(NcmConfig(**config))
        network.load_state_dict({name: value.float() for name, value in file.tensors.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its weights do not fit their network ({str(error).splitlines()[-1]})") from error
    if tta:
        network.config = replace(network.config, flip_average=True)
    # channels last: convolutions are then a sixth faster on a CPU
    ready: FrameSynthesis = network.requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ready


def find(model: str | Path) -> Path:
    """The file of a model. FileNotFoundError if there is none."""
    known = installed()
    path = Path(model) if str(model).endswith(SUFFIX) else known.get(str(model))
    if path is None or not path.is_file():
        raise FileNotFoundError(f"model {str(model)!r} is not there; known are {', '.join(known)}, or give a {SUFFIX}")
    return path


def installed() -> dict[str, Path]:
    """All weights files by name: those in the folders of $NCM_WEIGHTS before those that ship."""
    folders = [Path(part) for part in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if part]
    spec = find_spec("codec")  # looks, and imports nothing
    folders += [Path(place) / "weights" for place in (spec and spec.submodule_search_locations) or ()]
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            found.setdefault(path.stem, path)
    return found


def read(path: Path) -> WeightsFile:
    """A .safetensors file, read with torch alone. ValueError if it is none or damaged.

    Source: the format's own page, huggingface.co/docs/safetensors: eight bytes of length, JSON, then all samples.
    """
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        notes = header.pop("__metadata__", {})
        return WeightsFile(notes, {name: _tensor(data, 8 + length, entry) for name, entry in header.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path}: not a whole {SUFFIX} file ({error})") from error


def _tensor(data: bytes, origin: int, entry: dict[str, Any]) -> Tensor:
    dtype, (start, stop) = DTYPES[entry["dtype"]], entry["data_offsets"]
    if origin + stop > len(data):
        raise ValueError("it is cut off")
    flat = torch.frombuffer(bytearray(data[origin + start : origin + stop]), dtype=dtype) if stop > start else None
    return torch.empty(entry["shape"], dtype=dtype) if flat is None else flat.reshape(entry["shape"])
