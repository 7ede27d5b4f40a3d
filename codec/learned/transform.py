# SPDX-License-Identifier: MIT
"""Block transforms that begin as a DCT."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlockTransform(nn.Module):
    """(B,C,H,W) <-> (B,latents,H/size,W/size), linear, each way with its own weights; steps of `step` become 1."""

    def __init__(self, basis: Tensor, step: float) -> None:
        super().__init__()
        self.size = basis.shape[-1]
        self.analysis = nn.Parameter(basis / step)
        self.synthesis = nn.Parameter(basis * step)

    def encode(self, x: Tensor) -> Tensor:
        """Coefficients of blocks, in float32: bfloat16 would be coarser than the quantiser."""
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x.float(), self.analysis, stride=self.size)

    def decode(self, y: Tensor) -> Tensor:
        """Samples (B,C,H,W), float32, from coefficients (B,latents,H/size,W/size)."""
        with torch.autocast(y.device.type, enabled=False):
            return F.conv_transpose2d(y.float(), self.synthesis, stride=self.size)

    def energy(self) -> Tensor:
        """(latents,1,1): the squared error of a block, summed, for a unit of error of each latent."""
        return self.synthesis.detach().square().sum((1, 2, 3))[:, None, None]


def adjusted(y: Tensor, deep: Tensor) -> Tensor:
    """Coefficients (B,C,h,w), scaled and shifted as a deep branch (B,2C,h,w) says; zeros change nothing."""
    gate, shift = deep.float().chunk(2, 1)
    return y * (1 + gate) + shift


# Brightness and two differences of colours, orthonormal.
COLOURS = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / torch.tensor([3.0, 2.0, 6.0]).sqrt()[:, None]


def block_basis(latents: int, size: int, *, colours: Tensor | None = None) -> Tensor:
    """(latents,C,size,size): the lowest frequencies of an orthonormal DCT of blocks of C channels.

    `colours` (C,C) mixes the channels, one row for each; by default those of RGB, of which brightness gets two
    thirds of the latents. Otherwise all rows get the same number. ValueError if latents are too few or too many.
    """
    rows = COLOURS if colours is None else colours
    if not len(rows) <= latents <= len(rows) * size**2:
        raise ValueError(f"{latents} latents for {len(rows)} channels of {size}x{size}")
    weights = [4] + [1] * (len(rows) - 1) if colours is None else [1] * len(rows)
    shares = [min(latents * weight // sum(weights), size**2) for weight in weights]
    while (spare := latents - sum(shares)) > 0:
        open_rows = [n for n, share in enumerate(shares) if share < size**2]
        for n in open_rows[:spare]:
            shares[n] += 1
    frequencies = sorted(((u, v) for u in range(size) for v in range(size)), key=lambda f: (sum(f), f))
    dct = torch.tensor([[_cosine(k, n, size) for n in range(size)] for k in range(size)])
    basis = [
        row[:, None, None] * torch.outer(dct[u], dct[v])
        for row, share in zip(rows, shares, strict=True)
        for u, v in frequencies[:share]
    ]
    return torch.stack(basis)


def _cosine(k: int, n: int, size: int) -> float:
    return math.sqrt((1 if k == 0 else 2) / size) * math.cos(math.pi * (2 * n + 1) * k / (2 * size))
