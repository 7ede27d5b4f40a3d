# SPDX-License-Identifier: MIT
"""Weights files of frame-synthesis networks: half precision."""

from pathlib import Path

import torch

from ncm import FrameSynthesis, NcmConfig, build

from ..errors import ModelError
from . import store
from .registry import find


def save_network(network: FrameSynthesis, path: Path, **notes: str) -> None:
    """Write a network's weights in half precision, with its sizes and notes. OutputError if that fails."""
    tensors = {name: value.half() for name, value in network.state_dict().items()}
    store.write(path, tensors, store.NETWORK, network.config, notes)


def load_network(path: Path, device: str | torch.device = "cpu") -> FrameSynthesis:
    """The network in a weights file, float32, ready for use. ModelError if the file is of another kind or damaged."""
    config, _ = store.read_config(path, store.NETWORK, NcmConfig)
    network = build(config)
    store.fill(network, {name: value.float() for name, value in store.read_tensors(path).items()}, path)
    store.ready(network, device)
    return network


def warm_start(config: NcmConfig, name: str = "rife5") -> FrameSynthesis:
    """A network of this config whose shared parts carry another model's weights; its additions change nothing yet.

    ModelError if a part both have differs in shape, or if the other has a part this one lacks.
    """
    torch.manual_seed(0)  # the additions' inner layers start at random, behind zero-initialised ones
    network = build(config)
    source = load_network(find(name)).state_dict()
    try:
        unknown = network.load_state_dict(source, strict=False).unexpected_keys
    except RuntimeError as err:
        raise ModelError(f"{name!r} does not fit this config ({str(err).splitlines()[-1].strip()})") from err
    if unknown:
        raise ModelError(f"{name!r} has parts this config lacks, {unknown[0]} among them")
    return network
