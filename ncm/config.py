# SPDX-License-Identifier: MIT
"""The numbers that make one network out of the parts."""

from dataclasses import dataclass

CHOICES = {
    "estimator": ("ncm", "rife40"),
    "task": ("interpolation", "extrapolation"),
    "synthesis": ("unet", "subpixel"),
}


@dataclass(frozen=True, kw_only=True)
class NcmConfig:
    """Sizes of a frame-synthesis network.

    An unknown key is a TypeError, a value outside its choices a ValueError.
    """

    task: str = "interpolation"  # "extrapolation": both references are past, the frame after them is wanted (A.3)
    estimator: str = "ncm"  # "ncm": coarse-to-fine blocks; "rife40": the four blocks of RIFE 4.0
    widths: tuple[int, ...] = (192, 128, 96, 64, 32)  # channels of each IFBlock, coarse ones first
    depths: tuple[int, ...] = ()  # residual convolutions of each IFBlock; () = 8 in all, as RIFE
    coarse_blocks: int = 3  # how many of them work on the picture of size (a, W/H*a); 0 = none does
    coarse_scales: tuple[int, ...] = (4, 2, 1)  # K_c of the paper, relative to the coarse picture
    fine_scales: tuple[int, ...] = (1, 1)  # K_f, relative to the full picture; see also `fine_scales_far`
    fine_scales_far: tuple[int, ...] = (2, 1)  # K_f where the coarse picture is smaller than half (paper 3.3)
    coarse_short_side: int = 256  # a of the paper: the coarse picture's short side is at most this
    coarse_ratio: float = 0.5  # ... and at most this fraction of the full one
    image_features: int = 4  # channels of the full-size features that every block sees warped; 0 = none
    last_features: bool = True  # whether the last block answers features too, for the teacher if for anyone
    pyramid: tuple[int, ...] = ()  # channels at 1, 1/2, 1/4, 1/8 of the coarse picture; () = no matching
    motion_features: int = 0  # channels of f_M, fused from correspondences and flow; 0 = none
    matching_scales: int = 4  # K + 1 of the paper
    matching_window: int = 3  # d of the paper
    matching_along_flow: bool = False  # windows centred where the flow points, not on the pixel (table 4)
    fine_matching: bool = False  # pyramid and matching in the fine blocks as well (table 4)
    quality_input: bool = False  # whether the references' quality steers the network
    synthesis: str = "unet"  # "unet": RIFE's context net and U-Net; "subpixel": a small one at 1/4 of the picture
    context_width: int = 16  # first level of the context net, doubling at each of four; of "subpixel" the only width
    double_resolution: bool = False  # features twice as fine in IFBlocks and U-Net: `large`, paper A.1
    flip_average: bool = False  # inference averages the answers for the pictures and for them upside down (A.1)
    half_synthesis: bool = False  # inference computes the synthesis, after all motion is known, in bfloat16
    teacher_width: int = 64  # 0 = no teacher block

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            if (value := getattr(self, key)) not in choices:
                raise ValueError(f"{key} is {value!r}; it is {' or '.join(map(repr, choices))}")
        if self.estimator == "rife40":
            self._check_rife40()
        elif len(self.widths) != self.coarse_blocks + len(self.fine_scales):
            raise ValueError(
                f"{len(self.widths)} widths for {self.coarse_blocks} coarse + {len(self.fine_scales)} fine blocks"
            )
        if self.depths and len(self.depths) != len(self.widths):
            raise ValueError(f"{len(self.depths)} depths for {len(self.widths)} widths")
        if self.teacher_width and not self.last_features:
            raise ValueError("a teacher block sees the features of the last one: last_features is needed")
        if len(self.pyramid) != 4 and (self.pyramid or self.motion_features or self.fine_matching):
            raise ValueError("a pyramid has four levels; motion features and fine matching need one")

    def _check_rife40(self) -> None:
        if self.task != "interpolation" or self.double_resolution or self.depths:
            raise ValueError("the estimator 'rife40' has no extrapolation, double resolution or depths")
