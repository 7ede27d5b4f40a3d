# SPDX-License-Identifier: MIT
"""Convolutions in whole numbers, which answer the same on every machine, with any threads, in any order of summation.

Activations are whole numbers in units of 1/256, weights in units of 1/4096. They are carried in float64, whose sums
of whole numbers are exact below 2^53, so no order of summation can change them. Each hidden layer ends in a shift by
12 bits, rounded half up, and a clipped ReLU. Means may come from float networks; scale indexes come from these.
Source: Ballé et al., "Integer networks for data compression with latent-variable models", ICLR 2019.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rounding import bounded, half_up

UNIT_BITS = 8  # an activation of 1.0 is 256
WEIGHT_BITS = 12  # a weight of 1.0 is 4096
LARGEST = 2**16 - 1  # magnitude of an activation, inputs included: they are clipped to it
LARGEST_WEIGHT = 2**15 - 1
LARGEST_BIAS = 2**40
EXACT = 2.0**52  # one bit less than float64 has, for the halves of rounding
POSITION_BITS = 3  # an answer of 1.0 is a position of 8: steps of a ladder, not units, are what a scale varies by


def to_units(x: Tensor) -> Tensor:
    """Symbols or other whole numbers as activations of an exact network (times 256)."""
    return x * 2**UNIT_BITS


class ExactConv2d(nn.Module):
    """(B,C,h,w) whole numbers -> (B,out,ceil(h/stride)*upsample,...) whole numbers in [0, 65535]; a clipped ReLU.

    With `position`, the last layer of a network: no ReLU and no rounding but an exact binary fraction, the position
    on a ladder of scales, which `ScaleTables.rows` rounds. Upsampling is by pixel shuffle.
    In training mode weights are rounded straight-through and carried in their own precision; in evaluation mode the
    same is done exactly; after `freeze` the stored integers are used. Training again thaws it.
    """

    weight_int: Tensor
    bias_int: Tensor
    frozen: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        upsample: int = 1,
        position: bool = False,
    ) -> None:
        super().__init__()
        start = nn.Conv2d(in_channels, out_channels * upsample**2, kernel_size)
        assert start.bias is not None
        self.weight, self.bias = start.weight, start.bias
        if not position:
            nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        self.stride, self.upsample, self.is_position = stride, upsample, position
        self.register_buffer("weight_int", torch.zeros(self.weight.shape, dtype=torch.int32))
        self.register_buffer("bias_int", torch.zeros(self.bias.shape, dtype=torch.int64))
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        # Autocast would put bfloat16 under the whole numbers.
        with torch.autocast(x.device.type, enabled=False):
            dtype = self.weight.dtype if self.training else torch.float64
            weight, bias = self._integers(dtype)
            x = bounded(x.to(dtype), -LARGEST, LARGEST)
            if not self.training:  # convolutions in float64 take up to twice as long with channels last
                x, weight = x.contiguous(), weight.contiguous()
            if self._by_products(x, weight):
                total = products(x, weight, bias)
            else:
                total = F.conv2d(x, weight, bias, stride=self.stride, padding=self.weight.shape[-1] // 2)
                if not self.training:
                    # Changes nothing where sums are sums; an accelerator that convolves by transforms is put right.
                    total = half_up(total)
            if self.is_position:
                return total / 2 ** (UNIT_BITS + WEIGHT_BITS - POSITION_BITS)
            return F.pixel_shuffle(half_up(total / 2**WEIGHT_BITS).clamp(0, LARGEST), self.upsample)

    def _by_products(self, x: Tensor, weight: Tensor) -> bool:
        """Whether to sum by `products`: where that is faster, one picture on a CPU, and no gradient is asked for."""
        plain = self.stride == 1 and weight.shape[-1] == 3 and len(x) == 1
        return plain and x.device.type == "cpu" and not (self.training or x.requires_grad or weight.requires_grad)

    @torch.no_grad()
    def freeze(self) -> None:
        """Store the integers, from now on what counts. OverflowError if their sums might not be exact."""
        weight, bias = self._rounded(torch.float64)
        check_sums(weight, bias)
        self.weight_int.copy_(weight)
        self.bias_int.copy_(bias)
        self.frozen.fill_(True)

    def _rounded(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Weight and bias as whole numbers, straight-through."""
        weight = bounded(self.weight.to(dtype) * 2**WEIGHT_BITS, -LARGEST_WEIGHT, LARGEST_WEIGHT)
        bias = bounded(self.bias.to(dtype) * 2 ** (WEIGHT_BITS + UNIT_BITS), -LARGEST_BIAS, LARGEST_BIAS)
        return half_up(weight), half_up(bias)

    def _integers(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The weight and bias that count now. OverflowError if a checkpoint holds ones whose sums are not exact."""
        if self.training:
            self.frozen.fill_(False)
            return self._rounded(dtype)
        if not self.frozen:
            return self._rounded(dtype)
        weight, bias = self.weight_int.to(dtype), self.bias_int.to(dtype)
        check_sums(weight, bias)
        return weight, bias


def products(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution (1,out,h,w) of contiguous x (1,C,h,w), edges padded with zeros: nine products of matrices.

    Each tap is a product with the padded picture from some sample on, row after row. So nothing is copied out, as a
    convolution in float64 does, which takes up to twice as long.
    """
    height, width = x.shape[2:]
    row = width + 2  # of the padded picture; the last two sums of each are of no use
    padded = F.pad(x[0], (1, 1, 1, 2)).flatten(1)
    sums = bias.view(-1, 1).repeat(1, height * row)
    for n, tap in enumerate(weight.permute(2, 3, 0, 1).flatten(0, 1).contiguous()):
        start = n // 3 * row + n % 3
        sums.addmm_(tap, padded[:, start : start + height * row])
    return sums.view(1, -1, height, row)[..., :width]


def check_sums(weight: Tensor, bias: Tensor) -> None:
    """OverflowError unless every partial sum, in any order, stays below 2^52 for activations up to 65535."""
    largest = weight.abs().sum(dim=(1, 2, 3)) * LARGEST + bias.abs() + 2.0 ** (UNIT_BITS + WEIGHT_BITS)
    if not (largest < EXACT).all():
        raise OverflowError(f"sums of this layer may reach {largest.max():.3g}, which float64 does not hold exactly")
