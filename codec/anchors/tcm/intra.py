# SPDX-License-Identifier: MIT
"""TCM's I-frame codec as published: CompressAI's residual blocks, a mean-scale hyperprior, no auto-regression.

x --g_a--> y --h_a--> z --tape--> h_s --> scale, mean --tape--> y_hat --g_s--> x_hat
"""

from torch import Tensor, nn

from entropy import Prior, Tape

from .config import Reference
from .layers import ResidualBlock, ResidualBlockUpsample, ResidualBlockWithStride, conv3x3, subpel_conv3x3
from .tables import MedianDensity, gaussian_tables


class PaperIntra(nn.Module):
    """An IntraCodec with `width` channels throughout; latents at 1/16, hyper-latents at 1/64."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.width = width
        self.g_a = nn.Sequential(
            ResidualBlockWithStride(3, width),
            ResidualBlock(width, width),
            ResidualBlockWithStride(width, width),
            ResidualBlock(width, width),
            ResidualBlockWithStride(width, width),
            ResidualBlock(width, width),
            conv3x3(width, width, stride=2),
        )
        self.h_a = activated(
            conv3x3(width, width),
            conv3x3(width, width),
            conv3x3(width, width, stride=2),
            conv3x3(width, width),
            conv3x3(width, width, stride=2),
        )
        middle = width * 3 // 2
        self.h_s = activated(
            conv3x3(width, width),
            subpel_conv3x3(width, width, 2),
            conv3x3(width, middle),
            subpel_conv3x3(middle, middle, 2),
            conv3x3(middle, 2 * width),
        )
        self.g_s = nn.Sequential(
            ResidualBlock(width, width),
            ResidualBlockUpsample(width, width),
            ResidualBlock(width, width),
            ResidualBlockUpsample(width, width),
            ResidualBlock(width, width),
            ResidualBlockUpsample(width, width),
            ResidualBlock(width, width),
            subpel_conv3x3(width, 3, 2),
        )
        self.density = MedianDensity(width)
        self.tables = gaussian_tables()

    def forward(self, tape: Tape, x: Tensor | None, *, size: tuple[int, int], quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W); the network knows one quality."""
        y = None if x is None else self.g_a(x)
        z = None if y is None else self.h_a(y)
        batch = 1 if x is None else len(x)
        mean = self.density.medians().expand(batch, -1, size[0] // 64, size[1] // 64)
        z_hat = tape.code("intra.z", z, Prior(mean, self.density.positions(mean.shape), self.density)).value
        scale, mean = self.h_s(z_hat).chunk(2, 1)
        y_hat = tape.code("intra.y", y, Prior(mean, self.tables.position_of(scale), self.tables)).value
        return Reference(self.g_s(y_hat).float().clamp(0, 1))


def activated(*layers: nn.Module) -> nn.Sequential:
    """Layers with a leaky ReLU between them."""
    parts = [part for layer in layers for part in (layer, nn.LeakyReLU())]
    return nn.Sequential(*parts[:-1])
