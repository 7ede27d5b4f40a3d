# SPDX-License-Identifier: MIT
"""Convolutions in whole numbers, which answer the same on every machine, with any threads, in any order of summation.

Activations are whole numbers in units of 1/256, weights in units of 1/4096. They are carried in float64, whose sums
of whole numbers are exact below 2^53, so no order of summation can change them. Each hidden layer ends in a shift by
12 bits, rounded half up, and a clipped ReLU. Means may come from float networks; scale indexes come from these.
GPUs that are slow in float64 sum digits of the activations in float32, whose whole numbers are exact up to 2^24.
Source: Ballé et al., "Integer networks for data compression with latent-variable models", ICLR 2019.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

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
EXACT_SINGLE = 2**24  # the same of float32
ACTIVATION_BITS = 16
FAST_DOUBLE = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}  # CUDA capabilities of cards with many units for float64
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
        self._checked: _Checked | None = None

    def forward(self, x: Tensor) -> Tensor:
        # Autocast would put bfloat16 under the whole numbers.
        with torch.autocast(x.device.type, enabled=False):
            dtype = self.weight.dtype if self.training else torch.float64
            weight, bias, split = self._integers(dtype)
            x = bounded(x.to(dtype), -LARGEST, LARGEST)
            if not self.training:  # convolutions in float64 take up to twice as long with channels last
                x, weight = x.contiguous(), weight.contiguous()
            if split is not None and self._by_digits(x, weight):
                total = digit_products(x, weight, split) + bias.view(-1, 1, 1)
            elif self._by_products(x, weight):
                total = products(x, weight, bias)
            else:
                total = F.conv2d(x, weight, bias, stride=self.stride, padding=self.weight.shape[-1] // 2)
                if not self.training:
                    # Changes nothing where sums are sums; an accelerator that convolves by transforms is put right.
                    total = half_up(total)
            if self.is_position:
                return total / 2 ** (UNIT_BITS + WEIGHT_BITS - POSITION_BITS)
            return F.pixel_shuffle(half_up(total / 2**WEIGHT_BITS).clamp(0, LARGEST), self.upsample)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_checked": None}  # versions of copied buffers begin anew

    def _by_digits(self, x: Tensor, weight: Tensor) -> bool:
        """Whether to sum by `digit_products`: on GPUs that take float64 slowly, where no gradient is asked for."""
        plain = self.stride == 1 and not (self.training or x.requires_grad or weight.requires_grad)
        return plain and slow_in_double(x.device) and torch.get_float32_matmul_precision() == "highest"

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

    def _integers(self, dtype: torch.dtype) -> "Integers":
        """The weight and bias that count now. OverflowError if a checkpoint holds ones whose sums are not exact."""
        if self.training:
            self.frozen.fill_(False)
            return Integers(*self._rounded(dtype), None)
        buffers = self.weight_int, self.bias_int, self.frozen
        versions = [buffer._version for buffer in buffers]
        known = self._checked
        if known and known.versions == versions and all(a is b for a, b in zip(known.buffers, buffers, strict=True)):
            return known.integers
        if not self.frozen:
            return Integers(*self._rounded(dtype), None)
        weight, bias = self.weight_int.to(dtype).contiguous(), self.bias_int.to(dtype)
        check_sums(weight, bias)
        self._checked = _Checked(buffers, versions, Integers(weight, bias, digits_for(weight)))
        return self._checked.integers


class Integers(NamedTuple):
    """The weight and bias of a layer as whole numbers, and how `digit_products` splits activations."""

    weight: Tensor
    bias: Tensor
    split: tuple[int, int] | None


class _Checked(NamedTuple):
    """Integers that were made of these versions of a layer's buffers, and found to be exact."""

    buffers: tuple[Tensor, ...]
    versions: list[int]
    integers: Integers


def products(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution (B,out,h,w) of contiguous x (B,C,h,w), edges padded with zeros: a product of matrices for each tap.

    It is with the padded pictures from some sample on, row after row. So nothing is copied out, as a convolution in
    float64 does, which takes up to twice as long. Nor is anything transformed, which would compute with fractions.
    """
    height, width = x.shape[2:]
    sums = bias.view(1, -1, 1).repeat(len(x), 1, height * (width + weight.shape[-1] - 1))
    for tap, samples in _taps(x, weight):
        sums.baddbmm_(tap.expand(len(x), -1, -1), samples)
    return sums.view(len(x), len(weight), height, -1)[..., :width]


def _taps(x: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each tap (out,C) of a square kernel, and a view (B,C,n) of all samples of x (B,C,h,w) that it is applied to.

    n counts rows of the padded picture; the last sums of each are of no use.
    """
    height, size = x.shape[2], weight.shape[-1]
    reach = size // 2
    padded = F.pad(x, (reach, reach, reach, size - 1))
    row, padded = padded.shape[3], padded.flatten(2)
    for n, tap in enumerate(weight.permute(2, 3, 0, 1).flatten(0, 1).contiguous()):
        start = n // size * row + n % size
        yield tap, padded[..., start : start + height * row]


def slow_in_double(device: torch.device) -> bool:
    """Whether a device computes in float64 so slowly that several sums in float32 take less time."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    return torch.cuda.get_device_capability(device) not in FAST_DOUBLE


def digits_for(weight: Tensor) -> tuple[int, int] | None:
    """How many digits, of how many bits, activations are split into so that no sum passes 2^24; None if none will do.

    All but the highest digit are positive; with its sign that is at most 2^bits in magnitude, too.
    """
    largest = int(weight.abs().sum(dim=(1, 2, 3)).max())
    bits = min((EXACT_SINGLE // max(largest, 1)).bit_length() - 1, ACTIVATION_BITS)
    return (math.ceil(ACTIVATION_BITS / bits), bits) if bits > 0 else None


def digit_products(x: Tensor, weight: Tensor, split: tuple[int, int]) -> Tensor:
    """A convolution (B,out,h,w) of whole numbers x (B,C,h,w) in float64, out of products of matrices in float32.

    `split` is what `digits_for` says of the weight. No partial sum of a digit's passes 2^24, in any order.
    """
    (digits, bits), rest, parts = split, x.float(), []
    for _ in range(digits - 1):
        higher = torch.floor(rest / 2**bits)
        parts.append(rest - higher * 2**bits)
        rest = higher
    single = weight.float()
    sums = products(torch.cat([*parts, rest]), single, single.new_zeros(len(single)))
    *lower, total = sums.double().chunk(digits)
    for part in reversed(lower):
        total = total * 2**bits + part
    return total


def check_sums(weight: Tensor, bias: Tensor) -> None:
    """OverflowError unless every partial sum, in any order, stays below 2^52 for activations up to 65535."""
    largest = weight.abs().sum(dim=(1, 2, 3)) * LARGEST + bias.abs() + 2.0 ** (UNIT_BITS + WEIGHT_BITS)
    if not (largest < EXACT).all():
        raise OverflowError(f"sums of this layer may reach {largest.max():.3g}, which float64 does not hold exactly")
