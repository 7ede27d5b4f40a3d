# SPDX-License-Identifier: MIT
"""The four flow blocks of RIFE 4.0, kept as a peer to measure against. After Practical-RIFE (MIT, see NOTICE)."""

import torch
from torch import Tensor, nn

from .ifblock import Motion
from .warp import resize, resize_flow, warp

SCALES = (8, 4, 2, 1)


def _conv(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1), nn.PReLU(out_channels))


class Rife40Block(nn.Module):
    """Residual flow (B,4,H,W) and mask logit (B,1,H,W), estimated at 1/scale."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_conv(in_channels, width // 2, 2), _conv(width // 2, width, 2))
        self.convblock = nn.Sequential(*(_conv(width, width, 1) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(width, 5, 4, stride=2, padding=1)

    def forward(self, x: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor]:
        full = (x.shape[-2], x.shape[-1])
        size = (full[0] // scale, full[1] // scale)
        x = resize(x, size)
        if flow is not None:
            x = torch.cat([x, resize_flow(flow, size)], 1)
        x = self.conv0(x)
        out = self.lastconv(self.convblock(x) + x)  # at half the block's size
        out = resize(out, full)
        return out[:, :4] * (2 * scale), out[:, 4:]


class Rife40Flow(nn.Module):
    """Flow and mask after each of four blocks; same call as `CoarseToFine`."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.block0 = Rife40Block(7, widths[0])
        self.block1, self.block2, self.block3 = (Rife40Block(12, width) for width in widths[1:])

    def forward(self, past: Tensor, future: Tensor, time: Tensor, quality: Tensor | None = None) -> list[Motion]:
        """The motion after each block, in full-size pixels; past, future (B,3,H,W), time (B,1,H,W) in (0,1)."""
        nothing = past.new_zeros(past.shape[0], 0, *past.shape[-2:])
        flow, mask = self.block0(torch.cat([past, future, time], 1), None, SCALES[0])
        steps = [Motion(flow, mask, nothing)]
        for block, scale in zip((self.block1, self.block2, self.block3), SCALES[1:], strict=True):
            x = torch.cat([warp(past, flow[:, :2]), warp(future, flow[:, 2:]), time, mask], 1)
            delta, mask_delta = block(x, flow, scale)
            flow, mask = flow + delta, mask + mask_delta
            steps.append(Motion(flow, mask, nothing))
        return steps
