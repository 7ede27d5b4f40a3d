# SPDX-License-Identifier: MIT
"""A learned distribution a channel, for hyper-latents: CompressAI's EntropyBottleneck with its tables stored."""

import copy

import torch
from torch import Tensor

from .compress import EntropyBottleneck
from .tables import TAIL_MASS, CdfTables, Lists


class Bottleneck(CdfTables):
    """Factorised density of (B,channels,h,w); the position of an element is its channel.

    The median is 0 by definition, so symbols are round(z): whatever makes z can shift it by a bias, and no auxiliary
    loss or second optimiser is needed. The support of the tables is searched when they are frozen.
    Source: Ballé et al., "Variational image compression with a scale hyperprior", appendix 6.1.
    """

    first_coded = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.density = EntropyBottleneck(channels, tail_mass=TAIL_MASS)
        self.density.quantiles.requires_grad_(False)

    def positions(self, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Channel number of every element of a (B,channels,h,w) tensor."""
        return torch.arange(self.channels, device=self.cdf.device).view(1, -1, 1, 1).expand(shape)

    def rows(self, position: Tensor) -> Tensor:
        """Table row of every element, int32: its channel, since each channel has one row."""
        return position.int()

    def bits(self, value: Tensor, position: Tensor) -> Tensor:
        """Bits of (B,channels,h,w) values under the learned density; the channel is the one they stand in."""
        flat = value.transpose(0, 1).reshape(self.channels, 1, -1)
        with torch.autocast(value.device.type, enabled=False):  # its small matrices would become bfloat16
            _, lower, upper = self.density._likelihood(flat)
        # On the side where both sigmoids are small, their difference keeps its digits.
        sign = -torch.sign(lower + upper).detach()
        mass = self.density.likelihood_lower_bound((torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs())
        return -torch.log2(mass).reshape(self.channels, len(value), *value.shape[2:]).transpose(0, 1)

    @torch.no_grad()
    def freeze(self) -> None:
        """Build the integer tables from the density as it is now."""
        density = copy.deepcopy(self.density).float().cpu()
        density._update_quantiles()
        density.quantiles[:, 0, 1] = 0
        density.update(force=True)
        lengths = density.cdf_length.tolist()
        self.store(Lists(density.quantized_cdf.tolist(), lengths, density.offset.tolist()))
