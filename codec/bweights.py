# SPDX-License-Identifier: MIT
"""Weights files of B-frame codecs: safetensors with sizes and the base network's fingerprint as metadata."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from .bcodec import BFrameCodec
from .bconfig import BFrameConfig
from .errors import ModelError, OutputError
from .models import Model, check_name, load_fingerprint


def save_codec(codec: BFrameCodec, path: Path, *, base: Model, **notes: str) -> None:
    """Write a frozen codec and what it was trained on top of, beside first, then renamed. OutputError if it fails.

    Nothing is rounded to half precision: integer weights and tables must stay what they are.
    """
    check_name(path)
    tensors = {name: value.detach().contiguous().cpu() for name, value in codec.state_dict().items()}
    stands_on = {"base": base.fingerprint.hex(), "base_name": base.name}
    metadata = {"bframe": json.dumps(asdict(codec.config)), **stands_on, **notes}
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(serialise(tensors, metadata=metadata))
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error


def save_again(codec: BFrameCodec, path: Path, *, like: Path, **notes: str) -> None:
    """Write a codec that another was made of, with that one's notes and these. OutputError if it fails."""
    with safe_open(like, "pt") as file:
        known: dict[str, str] = file.metadata()
    base = load_fingerprint(bytes.fromhex(known["base"]), known["base_name"], beside=like.parent)
    kept = {name: value for name, value in known.items() if name not in ("bframe", "base", "base_name")}
    save_codec(codec, path, base=base, **kept | notes)


def load_codec(path: Path, device: str | torch.device = "cpu") -> BFrameCodec:
    """The codec in a weights file, on top of the network it was trained with, ready for use.

    ModelError if the file is none of ours, or if that network is neither installed nor in the same folder.
    """
    try:
        with safe_open(path, "pt") as file:
            notes: dict[str, str] = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        table: dict[str, Any] = json.loads(notes["bframe"])
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        config, fingerprint = BFrameConfig(**values), bytes.fromhex(notes["base"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not the weights of a B-frame codec ({error})") from error
    base = load_fingerprint(fingerprint, notes.get("base_name", "?"), device, beside=path.parent)
    codec = BFrameCodec(config, base.network)
    try:
        codec.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{path}: its weights do not fit its sizes ({str(error).splitlines()[-1].strip()})") from error
    codec.eval().requires_grad_(False)
    return codec.to(device).to(memory_format=torch.channels_last)
