# SPDX-License-Identifier: MIT
"""Weights files of B-frame codecs; each names the network that it stands on by fingerprint."""

from pathlib import Path

import torch

from ..bframe.config import BFrameConfig
from ..bframe.model import Model
from ..bframe.network import BFrameCodec
from . import store
from .network_file import load_base, notes_of_base


def save_codec(codec: BFrameCodec, path: Path, *, base: Model, **notes: str) -> None:
    """Write a frozen codec and what it was trained on top of. OutputError if it fails.

    Nothing is rounded to half precision: integer weights and tables must stay what they are.
    """
    _write(codec, path, notes_of_base(base.fingerprint, base.name) | notes)


def save_codec_like(codec: BFrameCodec, path: Path, *, like: Path, **notes: str) -> None:
    """Write a codec that was made from the one in another file, with that one's notes and these. OutputError."""
    known = store.read_notes(like)
    known.pop(store.BFRAME, None)
    _write(codec, path, known | notes)


def load_codec(path: Path, device: str | torch.device = "cpu") -> BFrameCodec:
    """The codec in a weights file, on top of the network it was trained with, ready for use.

    ModelError if the file is none of ours, or if that network is neither installed nor in the same folder.
    """
    config, notes = store.read_config(path, store.BFRAME, BFrameConfig)
    codec = BFrameCodec(config, load_base(notes, path, device))
    store.fill(codec, store.read_tensors(path), path)
    store.ready(codec, device)
    return codec


def _write(codec: BFrameCodec, path: Path, notes: dict[str, str]) -> None:
    store.write(path, codec.state_dict(), store.BFRAME, codec.config, notes)
