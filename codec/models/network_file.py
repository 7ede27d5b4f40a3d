# SPDX-License-Identifier: MIT
"""Weights files of frame-synthesis networks: half precision."""

from pathlib import Path

import torch

from ncm import FrameSynthesis, NcmConfig, build

from . import store


def save_network(network: FrameSynthesis, path: Path, **notes: str) -> None:
    """Write a network's weights in half precision, with its sizes and notes. OutputError if that fails."""
    store.write_half(path, network, store.NETWORK, network.config, notes)


def load_network(path: Path, device: str | torch.device = "cpu") -> FrameSynthesis:
    """The network in a weights file, float32, ready for use. ModelError if the file is of another kind or damaged."""
    config, _ = store.read_config(path, store.NETWORK, NcmConfig)
    network = build(config)
    store.fill_half(network, path, device)
    return network
