# SPDX-License-Identifier: MIT
"""Layers that several networks share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def zero_init(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer with weights and bias zero: an addition that changes nothing until it has learnt something."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class PReLU(nn.PReLU):
    """x (B,C,H,W), times one learned factor a channel where it is negative; in bfloat16 the same bits, far sooner."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is not torch.bfloat16 or torch.is_grad_enabled():
            return super().forward(x)
        # torch's own kernel takes five times as long in bfloat16 as in float32, on a CPU.
        factor = self.weight.to(x.dtype).view(1, -1, 1, 1)
        return torch.addcmul(x.clamp(min=0), factor, x.clamp(max=0))


def upward(in_channels: int, out_channels: int, *, double: bool = True) -> nn.ConvTranspose2d:
    """(B,C,H,W) -> (B,C',2H,2W) by a 4x4 transposed convolution; (B,C',H,W) with the same weights if not `double`."""
    kind = nn.ConvTranspose2d if double else UnstridedUp
    return kind(in_channels, out_channels, 4, stride=2, padding=1)


class UnstridedUp(nn.ConvTranspose2d):
    """(B,C,H,W) -> (B,C',H,W): a 4x4 transposed convolution of stride 2 whose stride has been removed (paper A.1).

    An even kernel has no centre at stride 1. So the four phases of the strided layer are averaged, which is what
    averaging its output 2x2 does: its taps 0, 1+2 and 3 fold into a centred 3x3 kernel, half of each sum per axis.
    Trained weights keep their meaning: where features are smooth the layer answers what the strided one does.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        rows = (self.weight[:, :, 0], self.weight[:, :, 1] + self.weight[:, :, 2], self.weight[:, :, 3])
        columns = [(row[..., 0], row[..., 1] + row[..., 2], row[..., 3]) for row in rows]
        folded = torch.stack([torch.stack(row, -1) for row in columns], -2) / 4
        return F.conv_transpose2d(x, folded, self.bias, padding=1)
