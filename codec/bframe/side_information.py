# SPDX-License-Identifier: MIT
"""Integer features of the decoded anchors, the same on every machine, which the scales of B-frames may depend on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..video.picture import Plane

FEATURES = 5  # channels of `anchor_features`
SEARCH_RANGE = 3  # how far blocks are matched, in samples of the quarter-size pictures


class AnchorFeatures(NamedTuple):
    """Whole numbers about blocks of 8 and of 16 pixels: (B,FEATURES,H/8,W/8) and (B,FEATURES,H/16,W/16)."""

    eighth: Tensor
    sixteenth: Tensor

    def to(self, device: torch.device) -> "AnchorFeatures":
        """These features on another device."""
        return AnchorFeatures(self.eighth.to(device), self.sixteenth.to(device))


def luma_planes(planes: Sequence[Plane], bit_depth: int) -> Tensor:
    """Luma planes (H,W) as whole numbers (B,1,H,W) from 0 to 255, the lowest bits of deeper samples dropped."""
    return torch.from_numpy((np.stack(planes) >> (bit_depth - 8)).astype("float32"))[:, None]


def anchor_features(past: Tensor, future: Tensor, noise: Tensor | None) -> AnchorFeatures:
    """Whole numbers, some hundreds in magnitude, about luma (B,1,H,W) in 0..255, for either size of block.

    Per block, as logarithms: the difference of both, the smallest such difference over motions that lead through the
    block in a straight line, and the activity of either; and twice `quarter_db` of the references' noise (B,), their
    RMS error in [0,1]. Sums are whole and below 2^24, so all is the same on every machine: scales may depend on it.
    """
    quality = past.new_zeros(len(past)) if noise is None else 2 * quarter_db(noise).to(past)
    # Sums of blocks of 4 samples, once; larger blocks are sums of these.
    difference = _sums((past - future).abs(), 4)
    details = torch.cat([difference, _activity(past), _activity(future), *_matches(past, future)], 1)

    def of_blocks(sums: Tensor, size: int) -> Tensor:
        planes = [sums[:, :1], sums[:, 3:].amin(1, keepdim=True), sums[:, 1:3]]
        logarithms = _logarithm(torch.cat(planes, 1) * (256 // size**2))
        return torch.cat([logarithms, quality.view(-1, 1, 1, 1).expand_as(logarithms[:, :1])], 1)

    eighth = _sums(details, 2)
    return AnchorFeatures(of_blocks(eighth, 8), of_blocks(_sums(eighth, 2), 16))


def _logarithm(x: Tensor) -> Tensor:
    """About 128 * log2((1 + x) / 1024), whole: exact, as it is a straight line from power to power of two."""
    mantissa, exponent = torch.frexp(1 + x)
    return (128 * (exponent - 11 + 2 * mantissa - 1)).floor()


def quarter_db(noise: Tensor) -> Tensor:
    """PSNR in quarter dB, whole numbers 1 to 255, of RMS errors in [0,1]; 0 where that is 0, unknown.

    Exact where the error was computed from such a number, as it is in the codec: rounding is far from any tie.
    """
    level = torch.round(-80 * torch.log10(noise.double().clamp(min=1e-6))).clamp(1, 255)
    return torch.where(noise > 0, level, torch.zeros_like(level))


def _sums(x: Tensor, size: int) -> Tensor:
    """Sums over blocks of size x size, a power of two, of whole numbers: exact in any order."""
    while size > 1:
        x = x[..., ::2, :] + x[..., 1::2, :]
        x = x[..., ::2] + x[..., 1::2]
        size //= 2
    return x


def _activity(x: Tensor) -> Tensor:
    """Per 4x4 samples, the sum of absolute differences to the right and lower neighbours."""
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    return _sums((padded[..., :-1, 1:] - x).abs() + (padded[..., 1:, :-1] - x).abs(), 4)


def _matches(past: Tensor, future: Tensor) -> list[Tensor]:
    """|past(p + v) - future(p - v)| of quarter-size pictures, one plane for each whole motion v."""
    padded = [F.pad(_sums(x, 4), (SEARCH_RANGE,) * 4, mode="replicate") for x in (past, future)]
    height, width = past.shape[2] // 4, past.shape[3] // 4

    def at(x: Tensor, dy: int, dx: int) -> Tensor:
        return x[..., SEARCH_RANGE + dy : SEARCH_RANGE + dy + height, SEARCH_RANGE + dx : SEARCH_RANGE + dx + width]

    reach = range(-SEARCH_RANGE, SEARCH_RANGE + 1)
    return [(at(padded[0], dy, dx) - at(padded[1], -dy, -dx)).abs() for dy in reach for dx in reach]
