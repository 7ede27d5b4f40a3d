# SPDX-License-Identifier: MIT
"""Distributions of the published networks as tables for the coder of `entropy`.

Official checkpoints hold no tables, so they are computed on loading, in double precision on the CPU. An entry is
rounded to 1/65536: machines would have to differ by far more than their last bit to differ here.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entropy import CdfTables, ScaleTables
from entropy.compress import EntropyBottleneck
from entropy.rounding import bounded
from entropy.tables import TAIL_MASS, Family, Lists, quantised_cdf

LARGEST_SYMBOL = 50  # largest symbol in the table of a hyper-latent; what is beyond takes the coder's bypass
LEAST_MASS = 1e-9


class NetworkScales(ScaleTables):
    """A family on a ladder of scales that a network names; the nearest in logarithm. None means "certainly zero"."""

    first_coded = 0

    def __init__(self, family: Family, *, levels: int, lowest: float, highest: float, deviation: float) -> None:
        """`deviation` is the standard deviation of a distribution whose scale is 1."""
        super().__init__(family, levels=levels, lowest=lowest * deviation, highest=highest * deviation)
        self.lowest, self.highest = lowest, highest

    def position_of(self, scale: Tensor) -> Tensor:
        """Where scales (any shape) stand on the ladder, its ends for those beyond; never not a number."""
        scale = torch.nan_to_num(bounded(scale.float(), self.lowest, self.highest), nan=1.0)
        return torch.log(scale / self.lowest) / self._step


def laplace_tables() -> NetworkScales:
    """256 Laplace distributions with density exp(-|x| / scale): those of TCM's P-frames."""
    return NetworkScales("laplace", levels=256, lowest=0.01, highest=64.0, deviation=math.sqrt(2))


def gaussian_tables() -> NetworkScales:
    """64 normal distributions: those of CompressAI, and of TCM's I-frames."""
    return NetworkScales("gaussian", levels=64, lowest=0.11, highest=256.0, deviation=1.0)


class ChannelTables(CdfTables):
    """A learnt distribution a channel; the position of an element is its channel. Subclasses say `cumulative`."""

    first_coded = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def cumulative(self, value: Tensor) -> Tensor:
        """Logit of P(X < value), for (channels,n) values."""
        raise NotImplementedError

    def medians(self) -> Tensor:
        """What is subtracted before rounding, (1,channels,1,1)."""
        return self.cdf.new_zeros(1, self.channels, 1, 1, dtype=torch.float32)

    def positions(self, shape: tuple[int, ...]) -> Tensor:
        """Channel number of every element of a (B,channels,h,w) tensor."""
        return torch.arange(self.channels, device=self.cdf.device).view(1, -1, 1, 1).expand(shape)

    def rows(self, position: Tensor) -> Tensor:
        """Table row of every element, int32: its channel, since each channel has one row."""
        return position.int()

    def bits(self, value: Tensor, position: Tensor) -> Tensor:
        """Bits of (B,channels,h,w) values, medians subtracted; the channel is the one they stand in."""
        flat = (value.float() + self.medians()).transpose(0, 1).flatten(1)
        with torch.autocast(value.device.type, enabled=False):
            lower, upper = self.cumulative(flat - 0.5), self.cumulative(flat + 0.5)
        # On the side where both sigmoids are small, their difference keeps its digits.
        sign = -torch.sign(lower + upper).detach()
        mass = bounded((torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs(), LEAST_MASS, 1.0)
        return -torch.log2(mass).view(self.channels, len(value), *value.shape[2:]).transpose(0, 1)

    @torch.no_grad()
    def freeze(self) -> None:
        """Build the integer tables from the densities as they are now, each as long as it needs to be."""
        double = copy.deepcopy(self).double().cpu()
        edges = torch.arange(-LARGEST_SYMBOL, LARGEST_SYMBOL + 2, dtype=torch.float64) - 0.5
        logits = double.cumulative(edges + double.medians().double().view(-1, 1))
        rows = [_row(below) for below in torch.sigmoid(logits).tolist()]
        self.store(Lists([cdf for cdf, _ in rows], [len(cdf) for cdf, _ in rows], [first for _, first in rows]))


def _row(below: list[float]) -> tuple[list[int], int]:
    """(CDF, first symbol) from P(X < edge) at the edges between -LARGEST_SYMBOL - 1/2 and LARGEST_SYMBOL + 1/2."""
    first = max(sum(p < TAIL_MASS / 2 for p in below) - 1, 0)
    last = len(below) - max(sum(1 - p < TAIL_MASS / 2 for p in below), 1)
    first, last = min(first, len(below) - 2), max(last, first + 1)
    masses = [below[n + 1] - below[n] for n in range(first, last)]
    return quantised_cdf([*masses, 1 - sum(masses)]), first - LARGEST_SYMBOL


class _Stage(nn.Module):
    """One layer of a density: x * softplus(h) + b, then x + tanh(x) * tanh(a) in all but the last."""

    def __init__(self, channels: int, *, last: bool) -> None:
        super().__init__()
        names = ("h", "b") if last else ("h", "b", "a")
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.randn(1, channels, 1, 1) * 0.01))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        h, b = (self.get_parameter(name).view(-1, 1) for name in ("h", "b"))
        x = x * F.softplus(h) + b
        return x if self.last else x + torch.tanh(x) * torch.tanh(self.get_parameter("a").view(-1, 1))


class ScalarDensity(ChannelTables):
    """The four layers of one unit a channel that TCM's hyper-latents have."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.f1, self.f2, self.f3 = (_Stage(channels, last=False) for _ in range(3))
        self.f4 = _Stage(channels, last=True)

    def cumulative(self, value: Tensor) -> Tensor:
        """Logit of P(X < value), for (channels,n) values."""
        return self.f4(self.f3(self.f2(self.f1(value))))


class MedianDensity(ChannelTables):
    """CompressAI's EntropyBottleneck with the medians that a checkpoint has; before training they are 0, and stay."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.density = EntropyBottleneck(channels)
        self.density.quantiles.requires_grad_(False)

    def cumulative(self, value: Tensor) -> Tensor:
        """Logit of P(X < value), for (channels,n) values."""
        return self.density._logits_cumulative(value.unsqueeze(1), stop_gradient=False).squeeze(1)

    def medians(self) -> Tensor:
        """What is subtracted before rounding, (1,channels,1,1)."""
        return self.density.quantiles[:, 0, 1].view(1, -1, 1, 1)
