# SPDX-License-Identifier: MIT
"""The numbers that make one network out of the parts."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NcmConfig:
    """Sizes of a frame-synthesis network.

    An unknown key is a TypeError, a value outside its choices a ValueError.
    """

    estimator: str = "ncm"  # "ncm": coarse-to-fine blocks; "rife40": the four blocks of RIFE 4.0
    widths: tuple[int, ...] = (192, 128, 96, 64, 32)  # channels of each IFBlock, coarse ones first
    coarse_blocks: int = 3  # how many of them work on the picture of size (a, W/H*a); 0 = none does
    coarse_scales: tuple[int, ...] = (4, 2, 1)  # K_c of the paper, relative to the coarse picture
    fine_scales: tuple[int, ...] = (1, 1)  # K_f, relative to the full picture; see also `fine_scales_far`
    fine_scales_far: tuple[int, ...] = (2, 1)  # K_f where the coarse picture is smaller than half (paper 3.3)
    coarse_short_side: int = 256  # a of the paper: the coarse picture's short side is at most this
    coarse_ratio: float = 0.5  # ... and at most this fraction of the full one
    image_features: int = 4  # channels of the full-size features that every block sees warped
    pyramid: tuple[int, ...] = ()  # channels at 1, 1/2, 1/4, 1/8 of the coarse picture; () = no matching
    motion_features: int = 0  # channels of f_M, fused from correspondences and flow; 0 = none
    matching_scales: int = 4  # K + 1 of the paper
    matching_window: int = 3  # d of the paper
    quality_input: bool = False  # whether the references' quality steers the network
    context_width: int = 16  # first level of the context net; it doubles at each of four levels
    teacher_width: int = 64  # 0 = no teacher block

    def __post_init__(self) -> None:
        if self.estimator not in ("ncm", "rife40"):
            raise ValueError(f"estimator is {self.estimator!r}; it is 'ncm' or 'rife40'")
        if self.estimator == "ncm" and len(self.widths) != self.coarse_blocks + len(self.fine_scales):
            raise ValueError(
                f"{len(self.widths)} widths for {self.coarse_blocks} coarse + {len(self.fine_scales)} fine blocks"
            )
        if self.motion_features and len(self.pyramid) != 4:
            raise ValueError("motion features need a pyramid of four levels")
