# SPDX-License-Identifier: MIT
"""Pictures as users have them, numpy or torch, and as networks need them. Nothing here imports numpy."""

from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

Pictures = TypeVar("Pictures")  # a numpy array (H,W,3) or (N,H,W,3), or a tensor (3,H,W) or (N,3,H,W)
PEAKS = {torch.uint8: 255, torch.uint16: 65535}


def to_rgb(pictures: Any, device: str | torch.device) -> Tensor:  # noqa: ANN401
    """RGB (N,3,H,W) float32, nominally in [0,1], on a device.

    Whole numbers are uint8 or uint16 and span their whole range. ValueError if it is no picture of three channels.
    """
    x = _tensor(pictures)
    single, channels = x.dim() == 3, x.dim() - 3
    if x.dim() not in (3, 4) or x.shape[channels] != 3 or not x.numel():
        form = "(N,3,H,W)" if isinstance(pictures, Tensor) else "(H,W,3)"
        raise ValueError(f"pictures of shape {tuple(pictures.shape)}; give RGB {form}")
    if not x.is_floating_point() and x.dtype not in PEAKS:
        raise ValueError(f"pictures of {x.dtype}; give uint8, uint16 or floats in [0,1]")
    rgb = x.to(device).float() / PEAKS.get(x.dtype, 1)
    return rgb[None] if single else rgb


def like(pictures: Pictures, rgb: Tensor) -> Pictures:
    """RGB (N,3,H,W) in [0,1] in the form, type and place of `pictures`; whole numbers are rounded and clipped."""
    model = _tensor(pictures)
    x = rgb[0] if model.dim() == 3 else rgb
    if peak := PEAKS.get(model.dtype):
        x = (x.clamp(0, 1) * peak).round().to(torch.int32)
    if isinstance(pictures, Tensor):
        return cast(Pictures, x.to(pictures.device, pictures.dtype))
    array: Any = x.movedim(-3, -1).cpu().contiguous().numpy()
    return cast(Pictures, array.astype(cast(Any, pictures).dtype))


def padded(rgb: Tensor, multiple: int) -> Tensor:
    """RGB (N,3,H,W) with its right and bottom edges repeated until both sizes are multiples."""
    height, width = rgb.shape[-2:]
    return F.pad(rgb, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _tensor(pictures: Any) -> Tensor:  # noqa: ANN401
    """Pictures as a tensor with channels before rows. TypeError if they are neither numpy's nor torch's."""
    if isinstance(pictures, Tensor):
        return pictures
    if not hasattr(pictures, "__array_interface__"):
        raise TypeError(f"{type(pictures).__name__} is no picture; give a numpy array or a torch tensor")
    # A copy in the machine's own byte order: torch takes no other, and no rows that run backwards.
    x = torch.from_numpy(pictures.astype(pictures.dtype.newbyteorder("="), order="C"))
    return x.movedim(-1, -3) if x.dim() >= 3 else x
