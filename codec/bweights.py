# SPDX-License-Identifier: MIT
"""Weights files of B-frame codecs: safetensors with sizes and the base network's fingerprint as metadata."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .bcodec import BFrameCodec, BFrameConfig
from .errors import ModelError, OutputError
from .models import Model


def save_codec(codec: BFrameCodec, path: Path, *, base: Model, **notes: str) -> None:
    """Write a frozen codec and what it was trained on top of, beside first, then renamed. OutputError if it fails.

    Nothing is rounded to half precision: integer weights and tables must stay what they are.
    """
    if path.suffix != ".safetensors":
        raise OutputError(f"{path}: weights go into a .safetensors file")
    tensors = {name: value.detach().contiguous().cpu() for name, value in codec.state_dict().items()}
    metadata = {"bframe": json.dumps(asdict(codec.config)), "base": base.fingerprint.hex(), **notes}
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, metadata=metadata)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error


def load_codec(path: Path, base: Model) -> BFrameCodec:
    """The codec in a weights file, on top of the network it was trained with and on its device, ready for use.

    ModelError if the file is none of ours, or if it was trained on top of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            notes: dict[str, str] = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        table: dict[str, Any] = json.loads(notes["bframe"])
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        config = BFrameConfig(**values)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not the weights of a B-frame codec ({error})") from error
    if notes.get("base") != base.fingerprint.hex():
        raise ModelError(f"{path} was trained on top of network {notes.get('base')}, not {base.fingerprint.hex()}")
    codec = BFrameCodec(config, base.network)
    try:
        codec.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: its weights do not fit its sizes ({str(error).splitlines()[-1].strip()})") from error
    return codec.eval().requires_grad_(False).to(next(base.network.parameters(), torch.empty(0)).device)
