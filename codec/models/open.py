# SPDX-License-Identifier: MIT
"""Models by name or fingerprint, ready for use, and what makes B-frames with them.

kind of weights file      what it becomes                  what makes B-frames
a network            -->  Model(network)              -->  Predictor: predicts
a B-frame codec      -->  Model(network, codec)       -->  BFrameCoder: predicts, writes and reads payloads
"""

from pathlib import Path

import torch

from ..bframe.model import Model
from ..bframe.predictor import Predictor
from ..device import choose_device
from ..errors import ModelError
from ..video.picture import VideoInfo
from . import store
from .network_file import load_network
from .registry import find, find_fingerprint, fingerprint_of


def load(name: str, device: str | torch.device = "cpu") -> Model:
    """The model of this name, or at this path if it ends in .safetensors. ModelError if missing or damaged."""
    return load_file(find(name), device)


def load_fingerprint(fingerprint: bytes, name: str, device: str | torch.device = "cpu") -> Model:
    """The model with this fingerprint, whatever it is called. ModelError says what is missing."""
    return load_file(find_fingerprint(fingerprint, name), device)


def load_file(path: Path, device: str | torch.device = "cpu") -> Model:
    """The model in a weights file. ModelError if it holds none, or is damaged."""
    if store.holds(path, store.TCM):
        raise ModelError(f"{path}: codes anchors and predicts no B-frames; it is for --anchor tcm, not for --model")
    if store.holds(path, store.NEIGHBOUR):
        raise ModelError(f"{path}: filters decoded pictures and predicts no B-frames; the codec does not use it yet")
    if store.holds(path, store.BFRAME):
        from .bframe_file import load_codec  # CompressAI takes seconds to import

        codec = load_codec(path, device)
        return Model(path.stem, fingerprint_of(path), codec.network, codec)
    return Model(path.stem, fingerprint_of(path), load_network(path, device))


def predictor(model: Model, info: VideoInfo) -> Predictor:
    """What makes B-frames with this model: a `BFrameCoder` if the model can code them, else a `Predictor`.

    InputError if the device of a model that can has no float64.
    """
    made = Predictor(model, info)
    if model.codec is None:
        return made
    choose_device(str(made.device), exact=True)
    from ..bframe.coder import BFrameCoder  # CompressAI takes seconds to import

    return BFrameCoder(model, info)
