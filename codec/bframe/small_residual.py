# SPDX-License-Identifier: MIT
"""A small coder of frame residuals, and its contexts: no layer works at more than a quarter of the picture's size.

Blocks of 4x4 pixels enter as the channels of a pixel at that size, and leave so. What comes from elsewhere is added,
not stacked, so no layer convolves it a second time.
"""

from torch import Tensor, nn

from entropy import LatentCoder
from entropy.hyperprior import conv

from ..learned.layers import Residual
from ..learned.residual_coder import Contexts, PictureCoder
from ..learned.transform import adjusted
from ..learned.zeroed import zeroed

BLOCK = 4  # pixels to a side


class SmallContexts(nn.Module):
    """Contexts at 1/4 and 1/8 of pictures (B,channels,H,W), both references along the motion among them."""

    def __init__(self, channels: int, planes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        quarter, eighth = widths
        self.enter, self.planes = _from_blocks(channels, quarter), nn.Linear(planes, quarter)
        self.at_quarter = conv(quarter, quarter)
        self.at_eighth = nn.Sequential(conv(quarter, eighth, stride=2), Residual(eighth))
        self.up = _doubled(eighth, quarter)

    def forward(self, pictures: Tensor, planes: Tensor) -> Contexts:
        """Contexts at 1/4 and 1/8 of a stack of pictures and numbers (B,planes) that hold for all of it."""
        x = self.enter(pictures)
        quarter = self.at_quarter(x + self.planes(planes)[:, :, None, None].to(x.dtype))
        eighth = self.at_eighth(quarter)
        return quarter + self.up(eighth), eighth


class SmallResidualCoder(PictureCoder):
    """Branches at 1/4 and 1/8, as wide as the contexts there."""

    def __init__(self, name: str, coder: LatentCoder, step: float, *, widths: tuple[int, ...]) -> None:
        super().__init__(name, coder, step)
        latents, (quarter, eighth) = coder.channels, widths
        self.enter = _from_blocks(3, quarter)
        self.down_quarter = nn.Sequential(nn.LeakyReLU(0.1), Residual(quarter), conv(quarter, eighth, stride=2))
        self.down_eighth = Residual(eighth)
        self.latent = zeroed(nn.Conv2d(eighth, 2 * latents, 3, padding=1))
        self.leave = nn.Conv2d(latents, eighth, 3, padding=1)
        self.up_eighth = nn.Sequential(nn.LeakyReLU(0.1), Residual(eighth), Residual(eighth), _doubled(eighth, quarter))
        self.up_quarter = Residual(quarter)
        self.residual = zeroed(nn.ConvTranspose2d(quarter, 3, BLOCK, stride=BLOCK))

    def _encode(self, x: Tensor, contexts: Contexts) -> Tensor:
        quarter, eighth = contexts
        deep = self.down_eighth(self.down_quarter(self.enter(x) + quarter) + eighth)
        return adjusted(self.blocks.encode(x), self.latent(deep))

    def _decode(self, y: Tensor, contexts: Contexts) -> tuple[Tensor, Tensor]:
        quarter, eighth = contexts
        feature = self.up_eighth(self.leave(y.to(eighth.dtype)) + eighth)
        feature = self.up_quarter(feature + quarter)
        return self.blocks.decode(y) + self.residual(feature).float(), feature


def _from_blocks(channels: int, width: int) -> nn.Conv2d:
    """A layer that answers features of each block of a picture."""
    return nn.Conv2d(channels, width, BLOCK, stride=BLOCK)


def _doubled(channels: int, width: int) -> nn.Sequential:
    """A layer that doubles height and width."""
    return nn.Sequential(nn.Conv2d(channels, 4 * width, 1), nn.PixelShuffle(2))
