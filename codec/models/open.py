# SPDX-License-Identifier: MIT
"""Models by name or fingerprint, ready for use, and what makes B-frames with them.

kind of weights file      what it becomes                  what makes B-frames
a network            -->  Model(network)              -->  Predictor: predicts
a B-frame codec      -->  Model(network, codec)       -->  BFrameCoder: predicts, writes and reads payloads
"""

from dataclasses import replace
from pathlib import Path

import torch

from ..arguments import check_range, checked
from ..bframe.model import Model
from ..bframe.neighbour_filter import NeighbourFilter
from ..bframe.predictor import Predictor
from ..device import choose_device
from ..errors import ModelError
from ..video.picture import LONGEST_SIDE, VideoInfo
from . import store
from .neighbour_file import load_neighbour
from .network_file import load_network
from .registry import find, find_fingerprint, fingerprint_of

SMALLEST_TILE = 128  # pixels a side


@checked
def load(name: str, device: str | torch.device = "cpu") -> Model:
    """The model of this name, or at this path if it ends in .safetensors. ModelError if missing or damaged.

    InputError if the device is none.
    """
    return load_file(find(name), choose_device(device) if isinstance(device, str) else device)


@checked
def averaged(model: Model) -> Model:
    """This model, predicting from now on as the average over both references as they are and upside down."""
    model.network.config = replace(model.network.config, flip_average=True)
    return model


def in_tiles(model: Model, side: int | None) -> Model:
    """This model, predicting from now on by tiles of about so many pixels a side, if that is given. InputError."""
    if side is not None:
        check_range("tile", side, SMALLEST_TILE, LONGEST_SIDE)
    model.network.in_tiles(side or 0)
    return model


def halved(model: Model) -> Model:
    """This model, computing from now on in bfloat16 what makes samples of known motion, and the filter of anchors."""
    model.network.config = replace(model.network.config, half_synthesis=True)
    return model


def prepared(model: Model, *, turned: bool, half: bool, tile: int | None) -> Model:
    """This model, `averaged` if predictions are to be `turned` upside down too, `halved` if `half`, and `in_tiles`."""
    model = averaged(model) if turned else model
    model = halved(model) if half else model
    return in_tiles(model, tile)


def load_fingerprint(fingerprint: bytes, name: str, device: str | torch.device = "cpu") -> Model:
    """The model with this fingerprint, whatever it is called. ModelError says what is missing."""
    return load_file(find_fingerprint(fingerprint, name), device)


def load_file(path: Path, device: str | torch.device = "cpu") -> Model:
    """The model in a weights file. ModelError if it holds none, or is damaged."""
    if store.holds(path, store.TCM):
        raise ModelError(f"{path}: codes anchors and predicts no B-frames; it is for --anchor tcm, not for --model")
    if store.holds(path, store.NEIGHBOUR):
        raise ModelError(
            f"{path}: filters decoded pictures and predicts no B-frames; it is for --neighbours, not for --model"
        )
    if store.holds(path, store.BFRAME):
        from .bframe_file import load_codec  # CompressAI takes seconds to import

        codec = load_codec(path, device)
        return Model(path.stem, fingerprint_of(path), codec.network, codec, path)
    return Model(path.stem, fingerprint_of(path), load_network(path, device), path=path)


@checked
def predictor(model: Model, info: VideoInfo, neighbours: NeighbourFilter | None = None) -> Predictor:
    """What makes B-frames with this model: a `BFrameCoder` if the model can code them, else a `Predictor`.

    It can filter anchors with `neighbours` if that is given. InputError if the device of one that codes has no float64.
    """
    if model.codec is None:
        return Predictor(model, info, neighbours)
    choose_device(str(model.device), exact=True)
    from ..bframe.coder import BFrameCoder  # CompressAI takes seconds to import

    return BFrameCoder(model, info, neighbours)


def predictor_at(
    path: Path, info: VideoInfo, *, coding: bool, turned: bool, half: bool, neighbours: Path | None, tile: int
) -> Predictor:
    """What makes B-frames with the model in a weights file, on the CPU; one that only predicts unless `coding`.

    Predictions are averaged if it is to predict upside down, too (`turned`). `half` is as for `halved`. Anchors are
    filtered beside others by the filter in the file `neighbours`, if that is given. `tile` is the side of tiles, 0 for
    none.
    """
    model = prepared(load_file(path), turned=turned, half=half, tile=tile or None)
    beside = None if neighbours is None else load_neighbour(neighbours)
    return predictor(model, info, beside) if coding else Predictor(model, info, beside)
