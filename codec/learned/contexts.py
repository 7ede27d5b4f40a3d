# SPDX-License-Identifier: MIT
"""Contexts: features of what both sides have, at 1/2, 1/4 and 1/8 of the picture.

Source: temporal context mining (Sheng et al., "Temporal context mining for learned video compression", 2022).
"""

from torch import Tensor, nn

from entropy.hyperprior import conv, upsampling

from .layers import Residual
from .residual_coder import Contexts


class ContextPyramid(nn.Module):
    """From half a picture's size down to an eighth and up again. Nothing is convolved at full size.

    `at_half` makes widths[0] features of whatever the caller stacks.
    """

    def __init__(self, at_half: nn.Module, widths: tuple[int, ...]) -> None:
        super().__init__()
        first, second, third = widths
        self.at_half = at_half
        self.at_quarter = nn.Sequential(conv(first, second, stride=2), Residual(second))
        self.at_eighth = nn.Sequential(conv(second, third, stride=2), Residual(third))
        self.up_quarter, self.up_half = upsampling(third, second), upsampling(second, first)

    def mine(self, stack: Tensor) -> Contexts:
        """The contexts at 1/2, 1/4 and 1/8 of the picture, from a stack (B,C,H/2,W/2) of what both sides have."""
        half = self.at_half(stack)
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        quarter = quarter + self.up_quarter(eighth)
        return half + self.up_half(quarter), quarter, eighth
