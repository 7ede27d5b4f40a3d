# SPDX-License-Identifier: MIT
"""Anchors: the subset of a video's pictures that an ordinary codec makes, and the table of those codecs."""

from .base import AnchorCodec, AnchorFrame, AnchorPacket
from .external import ProgramAnchors
from .libav import LibavAnchors
from .programs import ProgramRow
from .rows import ROWS, LibavRow
from .table import anchor_codec

__all__ = [
    "ROWS",
    "AnchorCodec",
    "AnchorFrame",
    "AnchorPacket",
    "LibavAnchors",
    "LibavRow",
    "ProgramAnchors",
    "ProgramRow",
    "anchor_codec",
]
