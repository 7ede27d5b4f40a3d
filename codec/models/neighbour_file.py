# SPDX-License-Identifier: MIT
"""Weights files of filters that see neighbouring pictures: half precision. Some name a network by fingerprint."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ..bframe.neighbour_filter import NeighbourConfig, NeighbourFilter
from . import store
from .network_file import load_base, notes_of_base
from .registry import find, fingerprint_of


@dataclass(frozen=True)
class NamedFilter:
    """A filter ready for use, its name, and the first eight bytes of its weights file's SHA-256."""

    name: str
    fingerprint: bytes
    network: NeighbourFilter


def save_neighbour(model: NeighbourFilter, path: Path, **notes: str) -> None:
    """Write a filter's weights in half precision, with its sizes and notes. OutputError if that fails.

    The network that it sees a prediction of is noted as it is installed now. ModelError if it is not.
    """
    if name := model.config.network:
        notes = notes_of_base(fingerprint_of(find(name)), name) | notes
    store.write_half(path, model, store.NEIGHBOUR, model.config, notes)


def load_neighbour(path: Path, device: str | torch.device = "cpu") -> NeighbourFilter:
    """The filter in a weights file, float32, ready for use, with its network, if it has one.

    ModelError if the file is of another kind or damaged, or the network is missing.
    """
    config, notes = store.read_config(path, store.NEIGHBOUR, NeighbourConfig)
    model = NeighbourFilter(config, load_base(notes, path, device) if config.network else None)
    store.fill_half(model, path, device)
    model.path = path
    return model


def named_filter(path: Path, device: str | torch.device = "cpu") -> NamedFilter:
    """The filter in a weights file, with what streams call it. ModelError as in `load_neighbour`."""
    return NamedFilter(path.stem, fingerprint_of(path), load_neighbour(path, device))
