# SPDX-License-Identifier: MIT
"""Pictures to look at: past, future, target and prediction side by side, as PNG."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncm import FrameSynthesis

from ..files import replacing
from .config import TrainConfig
from .objective import predict
from .sampling import ValidationItem


@torch.no_grad()
def side_by_side(model: FrameSynthesis, item: ValidationItem, config: TrainConfig, device: torch.device) -> Tensor:
    """One row (3,H,4W) in [0,1]: past, future, target, prediction."""
    batch = item.batch.to(device)
    frame = predict(model.eval(), batch, config).frame
    row = torch.cat([batch.past, batch.future, batch.target, frame])[:, :, : item.height, : item.width]
    return torch.cat(list(row), 2).clamp(0, 1)


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
