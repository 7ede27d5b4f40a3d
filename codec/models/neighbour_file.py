# SPDX-License-Identifier: MIT
"""Weights files of filters that see neighbouring pictures: half precision."""

from pathlib import Path

import torch

from ..bframe.neighbour_filter import NeighbourConfig, NeighbourFilter
from . import store


def save_neighbour(model: NeighbourFilter, path: Path, **notes: str) -> None:
    """Write a filter's weights in half precision, with its sizes and notes. OutputError if that fails."""
    store.write_half(path, model, store.NEIGHBOUR, model.config, notes)


def load_neighbour(path: Path, device: str | torch.device = "cpu") -> NeighbourFilter:
    """The filter in a weights file, float32, ready for use. ModelError if the file is of another kind or damaged."""
    config, _ = store.read_config(path, store.NEIGHBOUR, NeighbourConfig)
    model = NeighbourFilter(config)
    store.fill_half(model, path, device)
    return model
