# SPDX-License-Identifier: MIT
"""NCM: flow estimation and frame synthesis between two frames (Jia et al., ACM MM 2022). Needs torch alone."""

from .config import NcmConfig
from .effects import extrapolate, interpolate, motion_blur, slow_motion
from .network import FrameSynthesis, Prediction, build
from .warp import resize, resize_flow, warp
from .weights import load

__all__ = [
    "FrameSynthesis",
    "NcmConfig",
    "Prediction",
    "build",
    "extrapolate",
    "interpolate",
    "load",
    "motion_blur",
    "resize",
    "resize_flow",
    "slow_motion",
    "warp",
]
