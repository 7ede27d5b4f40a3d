# SPDX-License-Identifier: MIT
"""Anchors: the subset of a video's pictures that an ordinary codec makes, and the table of those codecs."""

from .base import AnchorCodec, AnchorFrame, AnchorPacket
from .libav import LibavAnchors, anchor_codec
from .rows import ROWS, LibavRow

__all__ = ["ROWS", "AnchorCodec", "AnchorFrame", "AnchorPacket", "LibavAnchors", "LibavRow", "anchor_codec"]
