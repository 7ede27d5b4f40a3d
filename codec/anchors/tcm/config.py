# SPDX-License-Identifier: MIT
"""Sizes of a TCM codec, and what its networks offer: one path for training, writing and reading."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from entropy import Tape

from ...learned.latents import check_lambdas, quantiser_step

LAMBDAS = (256.0, 512.0, 1024.0, 2048.0)  # of the paper's four rates: lambda * MSE of RGB in [0,1] + bits a pixel
MULTIPLE = 64  # what heights and widths of pictures are padded to
NETWORKS = ("paper", "lite")


@dataclass(frozen=True, kw_only=True)
class TcmConfig:
    """What a TCM codec is made of. An unknown key is a TypeError, a value that makes no sense a ValueError.

    "paper" is the published pair of networks, which know one rate; of its sizes only `intra_width` is free.
    """

    network: str = "lite"
    lambdas: tuple[float, ...] = LAMBDAS  # one a rate
    intra_width: int = 192  # of the paper's I-frame codec

    # Of lite alone.
    widths: tuple[int, ...] = (24, 40, 48)  # features at 1/2, 1/4, 1/8
    intra_latents: int = 128  # channels at 1/8
    latents: int = 96  # the same for the P-frames' residual
    motion_latents: int = 16  # channels at 1/16
    motion_width: int = 24
    hyper: int = 32  # channels at 1/32
    coder_width: int = 44  # within the entropy models of pictures

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network is {self.network!r}; there are {', '.join(NETWORKS)}")
        check_lambdas(self.lambdas)
        if self.network == "paper" and len(self.lambdas) != 1:
            raise ValueError(f"lambdas is {self.lambdas}; a network of the paper has one, so train one for each")
        if len(self.widths) != 3:
            raise ValueError(f"widths is {self.widths}; there are three scales")

    @property
    def step(self) -> float:
        """The quantiser step of pictures to begin with."""
        return quantiser_step(self.lambdas)


class Reference(NamedTuple):
    """What the next P-frame is coded from: frame (B,3,H,W) in [0,1]; features behind it, None after an I-frame.

    `warped` is what motion alone made of the reference before; only training looks at it.
    """

    frame: Tensor
    feature: Tensor | None = None
    warped: Tensor | None = None


class IntraCodec(Protocol):
    """Codes pictures (B,3,H,W), sizes multiples of 64, on a tape; x is None where they are read."""

    def __call__(self, tape: Tape, x: Tensor | None, *, size: tuple[int, int], quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W), without features; size is (H, W), quality a number or one a sample."""


class InterCodec(Protocol):
    """Codes pictures given the one before, on a tape; x is None where they are read."""

    def __call__(self, tape: Tape, x: Tensor | None, reference: Reference, *, quality: float | Tensor) -> Reference:
        """The decoded pictures (B,3,H,W) as a Reference, with the features that the next ones may use."""
