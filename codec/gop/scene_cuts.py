# SPDX-License-Identifier: MIT
"""Scene cuts: whether two neighbouring pictures show different scenes."""

import numpy as np
from numpy.typing import NDArray

from ..video.picture import Yuv420

SHORT_SIDE = 48  # pictures are compared at about this size
BLOCK, SEARCH_RANGE = 8, 4  # block size and motion search at that size: about a twelfth of the picture each way
RATIO = 0.75  # a cut where the past predicts a block hardly better than the block's own mean does
LEAST_DIFFERENCE = 4.0  # in 8-bit levels: below this mean difference there is no cut

Small = NDArray[np.float32]


def shrink(picture: Yuv420) -> Small:
    """Luma averaged down to a short side of about 48, cropped to whole 8x8 blocks, in 8-bit levels."""
    factor = max(1, min(picture.height, picture.width) // SHORT_SIDE)
    rows, cols = picture.height // factor, picture.width // factor
    luma = picture.y[: rows * factor, : cols * factor].astype(np.float32)
    small: Small = luma.reshape(rows, factor, cols, factor).mean((1, 3)) / (1 << (picture.bit_depth - 8))
    rows, cols = max(rows // BLOCK * BLOCK, min(rows, BLOCK)), max(cols // BLOCK * BLOCK, min(cols, BLOCK))
    return small[:rows, :cols]


def is_cut(past: Small, current: Small) -> bool:
    """Whether `current` starts a new scene after `past`, both from `shrink`.

    Each block of the current picture is searched for in the past one, brightness set aside, so that neither motion nor
    a fade counts; a cut is where the best match is hardly better than a flat block.
    """
    if past.shape != current.shape:
        return True
    if float(np.abs(past - current).mean()) < LEAST_DIFFERENCE:
        return False
    return prediction_ratio(past, current) > RATIO


def prediction_ratio(past: Small, current: Small) -> float:
    """Mean absolute error of the best block matches over that of the blocks' own means: near 0 = same scene."""
    rows, cols = current.shape
    padded = np.pad(past, SEARCH_RANGE, mode="edge")
    own = np.abs(_centred(current)).mean((1, 3))
    best = np.full_like(own, np.inf)
    for dy in range(2 * SEARCH_RANGE + 1):
        for dx in range(2 * SEARCH_RANGE + 1):
            error = _centred(current - padded[dy : dy + rows, dx : dx + cols])
            np.minimum(best, np.abs(error).mean((1, 3)), out=best)
    return float(best.sum() / max(float(own.sum()), 0.25 * own.size))


def _centred(picture: Small) -> Small:
    """The picture as blocks (rows,8,cols,8) (or one smaller block a side), each less its mean."""
    height, width = min(BLOCK, picture.shape[0]), min(BLOCK, picture.shape[1])
    blocks = picture.reshape(picture.shape[0] // height, height, picture.shape[1] // width, width)
    centred: Small = blocks - blocks.mean((1, 3), keepdims=True)
    return centred
