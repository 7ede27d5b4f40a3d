# SPDX-License-Identifier: MIT
"""NCM: flow estimation and frame synthesis between two frames (Jia et al., ACM MM 2022). Needs torch alone."""

from .config import NcmConfig
from .network import FrameSynthesis, Prediction, build
from .warp import resize, resize_flow, warp

__all__ = ["FrameSynthesis", "NcmConfig", "Prediction", "build", "resize", "resize_flow", "warp"]
