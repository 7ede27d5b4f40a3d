# SPDX-License-Identifier: MIT
"""Pictures to look at, as PNG."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..files import replacing


def write_png(path: Path, rgb: Tensor) -> None:
    """Write a picture (3,H,W) in [0,1]; OutputError if that cannot be done."""
    pixels: NDArray[np.uint8] = (rgb * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1)
    packets = [*encoder.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *encoder.encode(None)]
    with replacing(path) as file:
        file.writelines(bytes(packet) for packet in packets)
