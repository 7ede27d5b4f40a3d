# SPDX-License-Identifier: MIT
"""The codec's own presets: how much work goes into a B-frame. Nothing here loads torch."""

from typing import NamedTuple

from ..models.registry import (
    BEST_NEIGHBOURS,
    DEFAULT_CODEC,
    DEFAULT_MODEL,
    DEFAULT_NEIGHBOURS,
    FAST_CODEC,
    FAST_MODEL,
)

SINGLE = "none"  # in place of a filter that sees neighbours


class Preset(NamedTuple):
    """The models that code B-frames and that only predict them, and what is done besides.

    effort: steps to refine each B-frame; tta: whether prediction is averaged over pictures turned upside down;
    neighbours: the filter of anchors that have neighbours, or where their encoder has Wiener filters its like.
    """

    codec: str
    model: str
    effort: int = 0
    tta: bool = False
    neighbours: str = DEFAULT_NEIGHBOURS


MEDIUM = "medium"
PRESETS = {
    "fast": Preset(FAST_CODEC, FAST_MODEL, neighbours=SINGLE),
    MEDIUM: Preset(DEFAULT_CODEC, DEFAULT_MODEL),
    "best": Preset(DEFAULT_CODEC, DEFAULT_MODEL, effort=8, tta=True, neighbours=BEST_NEIGHBOURS),
}
