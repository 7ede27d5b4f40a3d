# SPDX-License-Identifier: MIT
"""LatentCoder: hyperprior, two-step checkerboard, float means, integer-exact scales, one model for all rates.

y --gain--> analysis --> z --tape--> symbols ----------> scales (exact) --> position --+
                                \\--> z_hat --> means (float) --> mean ----------------+--> tape --> y_hat
context (float) -------------------------------/  exact context --/     twice: half of the elements, then the
                                                                        other half, which sees the first
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .bottleneck import Bottleneck
from .exact import POSITION_BITS, ExactConv2d, to_units
from .gain import Gain, quality_vector
from .rounding import half_up
from .tables import ScaleTables
from .tape import Coded, DryRun, Estimate, Prior, Tape

DEPTH = 2  # halvings between latent and hyper-latent


def parity(size: tuple[int, int], device: torch.device) -> Tensor:
    """(1,1,h,w) of 0 and 1, a checkerboard."""
    rows, columns = (torch.arange(n, device=device) for n in size)
    return ((rows[:, None] + columns) % 2)[None, None]


def first_half(channels: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """(1,C,h,w) bool: elements of the first step. Neighbouring channels alternate, so each position has both kinds."""
    return (parity(size, device) + torch.arange(channels, device=device).view(1, -1, 1, 1)) % 2 == 0


def hyper_size(size: tuple[int, int]) -> tuple[int, int]:
    """Size of the hyper-latent of a latent (h, w)."""
    height, width = (math.ceil(n / 2**DEPTH) for n in size)
    return height, width


def conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution with its LeakyReLU."""
    layer = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(layer, nn.LeakyReLU(0.1, inplace=True))


def upsampling(in_channels: int, out_channels: int) -> nn.Sequential:
    """A module that doubles height and width by a convolution and pixel shuffle."""
    return nn.Sequential(conv(in_channels, 4 * out_channels), nn.PixelShuffle(2))


def crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The top left h rows and w columns of x (...,H,W)."""
    return x[..., : size[0], : size[1]]


class Means(nn.Module):
    """Means of a latent from z_hat, the caller's context, and in the second step the first half of y_hat. Float."""

    def __init__(self, channels: int, hyper: int, *, width: int, context: int) -> None:
        super().__init__()
        self.synthesis = nn.Sequential(conv(hyper, width), upsampling(width, width), upsampling(width, width))
        known = width + context + 1
        self.first = nn.Sequential(conv(known, width), nn.Conv2d(width, channels, 1))
        self.second = nn.Sequential(conv(known + channels, width), nn.Conv2d(width, channels, 1))

    def features(self, z_hat: Tensor, context: Tensor | None, size: tuple[int, int]) -> Tensor:
        """(B,width+context+1,h,w): all that both steps know."""
        x = crop(self.synthesis(z_hat), size)
        return torch.cat([x, *([] if context is None else [context.to(x.dtype)]), like(parity(size, x.device), x)], 1)


class Scales(nn.Module):
    """Positions on the ladder of scales from symbols, the caller's integers and the quality. Exact."""

    def __init__(self, channels: int, hyper: int, *, width: int, context: int) -> None:
        super().__init__()
        self.synthesis = nn.Sequential(
            ExactConv2d(hyper, width), ExactConv2d(width, width, upsample=2), ExactConv2d(width, width, upsample=2)
        )
        known = width + context + 2
        self.first = nn.Sequential(ExactConv2d(known, width), ExactConv2d(width, channels, 1, position=True))
        self.second = nn.Sequential(
            ExactConv2d(known + channels, width), ExactConv2d(width, channels, 1, position=True)
        )

    def start_at(self, position: float) -> None:
        """Begin training near this position."""
        for step in (self.first, self.second):
            last = step[-1]
            assert isinstance(last, ExactConv2d)
            nn.init.constant_(last.bias, position / 2**POSITION_BITS)
            nn.init.normal_(last.weight, std=0.01)

    def features(self, z: Tensor, context: Tensor | None, size: tuple[int, int], quality: Tensor) -> Tensor:
        """(B,width+context+2,h,w): all that both steps know; quality (B,) in [0,1]."""
        x = crop(self.synthesis(to_units(z)), size)
        quality_plane = half_up(to_units(quality)).view(-1, 1, 1, 1)
        planes = [like(quality_plane, x), like(to_units(parity(size, x.device)), x)]
        return torch.cat([x, *([] if context is None else [context.to(x.dtype)]), *planes], 1)


class Known(NamedTuple):
    """What both sides know before a latent is coded: its gain and inverse gain, features for means and for scales."""

    gain: Tensor
    inverse: Tensor
    means: Tensor
    scales: Tensor


def like(plane: Tensor, x: Tensor) -> Tensor:
    """One plane for each sample of x (B,.,h,w), in its precision."""
    return plane.to(x.dtype).expand(len(x), 1, *x.shape[2:])


class LatentCoder(nn.Module):
    """Codes latents (B,channels,h,w), any h and w, on a tape; the same call trains, writes and reads.

    `context` and `exact_context` are channels that the caller gives at the size of the latent: floats for the means;
    for the scales whole numbers, the same on every machine, 256 standing for 1 (8-bit pictures as they are, symbols
    through `to_units`, or what an ExactConv2d answers). `scale_width` is the width of the exact network, 0
    if it is that of the others. Call `freeze` on the trained model before writing.
    """

    def __init__(
        self,
        channels: int,
        *,
        hyper: int | None = None,
        width: int = 64,
        scale_width: int = 0,
        context: int = 0,
        exact_context: int = 0,
        qualities: int = 1,
        span: float = 5.7,
        tables: ScaleTables | None = None,
    ) -> None:
        super().__init__()
        hyper = hyper or width
        self.channels, self.context, self.exact_context, self.qualities = channels, context, exact_context, qualities
        self.analysis = nn.Sequential(
            conv(channels, width), conv(width, width, stride=2), nn.Conv2d(width, hyper, 3, stride=2, padding=1)
        )
        self.bottleneck = Bottleneck(hyper)
        self.tables = tables or ScaleTables()
        self.means = Means(channels, hyper, width=width, context=context)
        self.scales = Scales(channels, hyper, width=scale_width or width, context=exact_context)
        self.scales.start_at(self.tables.position(1.0))
        self.gain, self.inverse = Gain(qualities, channels, span=span), Gain(qualities, channels, span=1 / span)
        self.hyper_gain, self.hyper_inverse = Gain(qualities, hyper), Gain(qualities, hyper)

    def forward(
        self,
        tape: Tape,
        name: str,
        y: Tensor | None,
        *,
        quality: float | Tensor = 0.0,
        size: tuple[int, int] | None = None,
        context: Tensor | None = None,
        exact_context: Tensor | None = None,
        rdoq_lambda: Tensor | None = None,
    ) -> Tensor:
        """The decoded latents y_hat (B,C,h,w). Reading, y is None and `size` is (h, w).

        `quality` is a number or one a sample.
        `rdoq_lambda` (B,C,h,w), or sizes that expand to it, is lambda for RDOQ: bits for the square of an error of y.
        The writer then takes the symbol one step nearer to zero where that saves more bits than the added error costs.
        By default it takes the nearest symbols. Bits are counted under `name`.z and `name`.y.
        ValueError for input that does not fit the model, EntropyError for a string that does not, RuntimeError for
        writing or reading in training mode.
        """
        if self.training and not isinstance(tape, Estimate | DryRun):
            raise RuntimeError("writing and reading need evaluation mode: in training scales are not exact")
        batch, size = self._checked_shape(y, size, context, exact_context)
        level = quality_vector(quality, self.qualities, batch, self.gain.log_factor.device)
        gain = self.gain(level)
        y = None if y is None else y * gain
        z = self._code_hyper(tape, f"{name}.z", y, level=level, size=hyper_size(size))
        means = self.means.features(z.value * self.hyper_inverse(level), context, size)
        scales = self.scales.features(z.symbols, exact_context, size, level / max(self.qualities - 1, 1))
        known = Known(gain, self.inverse(level), means, scales)
        if rdoq_lambda is not None:
            rdoq_lambda = rdoq_lambda * known.inverse**2
        return self._code_halves(tape, f"{name}.y", y, known, rdoq_lambda)

    def expect_zeros(self, scale: float) -> None:
        """Before training: zero where nothing is sent, and this scale, in quantiser steps, everywhere."""
        for step in (self.means.first, self.means.second, self.scales.first, self.scales.second):
            nn.init.zeros_(step[-1].get_parameter("weight"))
        for step in (self.means.first, self.means.second):
            nn.init.zeros_(step[-1].get_parameter("bias"))
        self.scales.start_at(self.tables.position(scale))

    def _code_hyper(self, tape: Tape, name: str, y: Tensor | None, *, level: Tensor, size: tuple[int, int]) -> Coded:
        z = None if y is None else self.analysis(y) * self.hyper_gain(level)
        mean = self.gain.log_factor.new_zeros(len(level), self.bottleneck.channels, *size)
        return tape.code(name, z, Prior(mean, self.bottleneck.positions(mean.shape), self.bottleneck))

    def _code_halves(self, tape: Tape, name: str, y: Tensor | None, known: Known, rdoq_lambda: Tensor | None) -> Tensor:
        """y_hat (B,C,h,w), the first half of the elements before the second; means are learnt before the gain."""
        gain, inverse, mean_features, scale_features = known
        mask = first_half(self.channels, (mean_features.shape[2], mean_features.shape[3]), mean_features.device)
        mean, position = self.means.first(mean_features) * gain, self.scales.first(scale_features)
        first = tape.code(name, y, Prior(mean, position, self.tables, mask), rdoq_lambda)
        # Where nothing is known yet, the first value is the first mean and the first symbol is 0.
        mean = self.means.second(torch.cat([mean_features, first.value * inverse], 1)) * gain
        position = self.scales.second(torch.cat([scale_features, to_units(first.symbols).to(scale_features.dtype)], 1))
        second = tape.code(name, y, Prior(mean, position, self.tables, ~mask), rdoq_lambda)
        return torch.where(mask, first.value, second.value) * inverse

    def _checked_shape(
        self, y: Tensor | None, size: tuple[int, int] | None, context: Tensor | None, exact_context: Tensor | None
    ) -> tuple[int, tuple[int, int]]:
        """(B, (h, w)) of the latents. ValueError where they are not known, or something does not fit the model."""
        if y is not None:
            size = y.shape[-2], y.shape[-1]
        elif size is None:
            raise ValueError("without a latent, its size must be given")
        batch = next((len(x) for x in (y, context, exact_context) if x is not None), 1)
        expected = (batch, self.channels, *size)
        if y is not None and y.shape != expected:
            raise ValueError(f"latent: expected (B, channels, h, w) = {expected}, found {tuple(y.shape)}")
        self._check_context(context, self.context, size, exact=False)
        self._check_context(exact_context, self.exact_context, size, exact=True)
        return batch, size

    def _check_context(self, x: Tensor | None, channels: int, size: tuple[int, int], *, exact: bool) -> None:
        kind = "exact context" if exact else "context"
        found = (0, *size) if x is None else tuple(x.shape[1:])
        if found != (channels, *size):
            raise ValueError(f"{kind}: expected (channels, h, w) = {(channels, *size)}, found {found}")
        if exact and x is not None and not self.training and not torch.equal(x, torch.round(x)):
            raise ValueError("exact context: expected whole numbers")


def freeze(model: nn.Module) -> None:
    """Fix everything within `model` that writer and reader must share: integer weights and CDF tables."""
    for module in model.modules():
        if isinstance(module, ExactConv2d | Bottleneck):
            module.freeze()
