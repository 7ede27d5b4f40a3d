# SPDX-License-Identifier: MIT
"""Layers that begin with nothing; apart from the others, which load CompressAI."""

from typing import TypeVar

from torch import nn

LayerT = TypeVar("LayerT", nn.Conv2d, nn.ConvTranspose2d)


def zeroed(layer: LayerT) -> LayerT:
    """The layer with all its weights zero: a branch that changes nothing until it is trained."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
