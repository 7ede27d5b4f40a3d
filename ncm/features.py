# SPDX-License-Identifier: MIT
"""Features of the two references: full-size ones that every block warps, and the pyramid that is matched."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageFeatures(nn.Module):
    """(B,3,H,W) -> (B,4,H,W), H and W even: the image features of the five-block RIFE."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.cnn1 = nn.Conv2d(16, 16, 3, padding=1)
        self.cnn2 = nn.Conv2d(16, 16, 3, padding=1)
        self.cnn3 = nn.ConvTranspose2d(16, out_channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.cnn0, self.cnn1, self.cnn2):
            x = F.leaky_relu(conv(x), 0.2)
        return self.cnn3(x)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut; the first may halve the picture (paper 3.2.2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        # Not a convolution with a stride: of four channels, its gradient writes past its memory on CPUs with AVX2 alone
        # (torch 2.14.1, oneDNN, channels last).
        shortcut = self.shortcut(x[..., :: self.stride, :: self.stride])
        return F.leaky_relu(shortcut + self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)


class FeaturePyramid(nn.Module):
    """(B,3,h,w) -> four features at 1, 1/2, 1/4, 1/8 (paper 3.2.2, n = 4); the last is for matching."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        ins = (3, *channels[:-1])
        self.levels = nn.ModuleList(
            ResidualBlock(i, o, 1 if level == 0 else 2) for level, (i, o) in enumerate(zip(ins, channels, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class MotionFeatures(nn.Module):
    """Fuse correspondences (B,K*d^4,h,w) and flow (B,4,h,w) into f_M (B,C,h,w) (paper Fig. 5, right)."""

    def __init__(self, correspondences: int, out_channels: int) -> None:
        super().__init__()
        self.corr = nn.Conv2d(correspondences, out_channels, 1)
        self.flow = nn.Conv2d(4, out_channels // 4, 3, padding=1)
        self.fuse = nn.Conv2d(out_channels + out_channels // 4, out_channels, 3, padding=1)

    def forward(self, corr: Tensor, flow: Tensor) -> Tensor:
        x = torch.cat([F.leaky_relu(self.corr(corr), 0.2), F.leaky_relu(self.flow(flow), 0.2)], 1)
        return F.leaky_relu(self.fuse(x), 0.2)
