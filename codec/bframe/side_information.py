# SPDX-License-Identifier: MIT
"""Integer features of the decoded anchors, the same on every machine, which the scales of B-frames may depend on."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..video.picture import Plane

FEATURES = 5  # channels of `anchor_features`
REACH = 3  # how far blocks are matched, in samples of the quarter-size pictures


class AnchorFeatures(NamedTuple):
    """Whole numbers about blocks of 8 and of 16 pixels: (B,FEATURES,H/8,W/8) and (B,FEATURES,H/16,W/16)."""

    eighth: Tensor
    sixteenth: Tensor

    def to(self, device: torch.device) -> "AnchorFeatures":
        """These features on another device."""
        return AnchorFeatures(self.eighth.to(device), self.sixteenth.to(device))


def luma_plane(plane: Plane, bit_depth: int) -> Tensor:
    """A luma plane (H,W) as whole numbers (1,1,H,W) from 0 to 255, the lowest bits of deeper samples dropped."""
    return torch.from_numpy((plane >> (bit_depth - 8)).astype("float32"))[None, None]


def anchor_features(past: Tensor, future: Tensor, noise: Tensor | None) -> AnchorFeatures:
    """Whole numbers, some hundreds in magnitude, about luma (B,1,H,W) in 0..255, for either size of block.

    Per block, as logarithms: the difference of both, the smallest such difference over motions that lead through the
    block in a straight line, and the activity of either; and `quarter_db` of the references' noise (B,), their RMS
    error in [0,1]. Sums are whole and below 2^24, so all is the same on every machine: scales may depend on it.
    """
    levels = past.new_zeros(len(past)) if noise is None else 2 * quarter_db(noise).to(past)
    # Sums of blocks of 4 samples, once; larger blocks are sums of these.
    details = [_sums((past - future).abs(), 4), _activity(past), _activity(future)]
    matches = _matches(past, future)

    def of_blocks(size: int) -> Tensor:
        difference, *activities = (_sums(x, size // 4) for x in details)
        sums = [difference, torch.stack([_sums(x, size // 4) for x in matches]).amin(0), *activities]
        planes = [_logarithm(x * (256 // size**2)) for x in sums]
        return torch.cat([*planes, levels.view(-1, 1, 1, 1).expand_as(planes[0])], 1)

    return AnchorFeatures(of_blocks(8), of_blocks(16))


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
    """Sums over blocks of size x size."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, channels, height // size, size, width // size, size).sum((3, 5))


def _activity(x: Tensor) -> Tensor:
    """Per 4x4 samples, the sum of absolute differences to the right and lower neighbours."""
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    return _sums((padded[..., :-1, 1:] - x).abs() + (padded[..., 1:, :-1] - x).abs(), 4)


def _matches(past: Tensor, future: Tensor) -> list[Tensor]:
    """|past(p + v) - future(p - v)| of quarter-size pictures, one plane for each whole motion v."""
    padded = [F.pad(_sums(x, 4), (REACH,) * 4, mode="replicate") for x in (past, future)]
    height, width = past.shape[2] // 4, past.shape[3] // 4

    def at(x: Tensor, dy: int, dx: int) -> Tensor:
        return x[..., REACH + dy : REACH + dy + height, REACH + dx : REACH + dx + width]

    reach = range(-REACH, REACH + 1)
    return [(at(padded[0], dy, dx) - at(padded[1], -dy, -dx)).abs() for dy in reach for dx in reach]
