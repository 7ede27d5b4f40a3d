# SPDX-License-Identifier: MIT
"""Weights files of frame-synthesis networks, half precision, and how other files name the one they stand on."""

from collections.abc import Mapping
from pathlib import Path

import torch

from ncm import FrameSynthesis, NcmConfig, build

from ..errors import ModelError
from . import store
from .registry import find_fingerprint

BASE, BASE_NAME = "base", "base_name"  # notes: the network's fingerprint in hexadecimal digits, and its name


def save_network(network: FrameSynthesis, path: Path, **notes: str) -> None:
    """Write a network's weights in half precision, with its sizes and notes. OutputError if that fails."""
    store.write_half(path, network, store.NETWORK, network.config, notes)


def load_network(path: Path, device: str | torch.device = "cpu") -> FrameSynthesis:
    """The network in a weights file, float32, ready for use. ModelError if the file is of another kind or damaged."""
    config, _ = store.read_config(path, store.NETWORK, NcmConfig)
    network = build(config)
    store.fill_half(network, path, device)
    return network


def notes_of_base(fingerprint: bytes, name: str) -> dict[str, str]:
    """What a weights file notes of the network that it stands on."""
    return {BASE: fingerprint.hex(), BASE_NAME: name}


def load_base(notes: Mapping[str, str], path: Path, device: str | torch.device = "cpu") -> FrameSynthesis:
    """The network that the weights file at `path` stands on, by its notes, ready for use.

    ModelError if they do not say which, or if it is neither installed nor in the same folder.
    """
    try:
        fingerprint = bytes.fromhex(notes[BASE])
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: does not say which network it stands on ({error})") from error
    return load_network(find_fingerprint(fingerprint, notes.get(BASE_NAME, "?"), beside=path.parent), device)
