# SPDX-License-Identifier: MIT
"""What training minimises: reconstruction terms, and the teacher's supervision of the flows (Jia 2022, 3.5)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ncm.ifblock import Motion
from ncm.network import blend_of

LEVELS = 5  # of the Laplacian pyramid, as RIFE


def reconstruction(frame: Tensor, target: Tensor, weights: dict[str, float]) -> Tensor:
    """The weighted sum of the named TERMS between two pictures (B,3,H,W)."""
    frame, target = frame.float(), target.float()
    terms = [weight * TERMS[name](frame, target) for name, weight in weights.items()]
    return torch.stack(terms).sum()


def distillation(steps: Sequence[Motion], taught: Motion, past: Tensor, future: Tensor, target: Tensor) -> Tensor:
    """How far the flows after each block are from the teacher's, in pixels (paper, equation 7).

    As in RIFE, a pixel counts only where the teacher's blend is the better one; no gradient reaches the teacher.
    """
    teacher_flow = taught.flow.detach().float()
    with torch.no_grad():
        teacher_error = _error(past, future, taught, target)
    total = target.new_zeros(())
    for step in steps:
        with torch.no_grad():
            better = teacher_error + 0.01 < _error(past, future, step, target)  # 0.01 as in RIFE
        difference = step.flow.float() - teacher_flow
        distance = _length(difference[:, :2]) + _length(difference[:, 2:])
        total = total + (distance * better).mean()
    return total


def _length(vectors: Tensor) -> Tensor:
    """(B,1,H,W) from (B,2,H,W); the small constant keeps the gradient finite at zero."""
    return (vectors.square().sum(1, keepdim=True) + 1e-12).sqrt()


def _error(past: Tensor, future: Tensor, motion: Motion, target: Tensor) -> Tensor:
    """The mean absolute error (B,1,H,W) of the blend along a motion."""
    return (blend_of(past, future, motion).float() - target).abs().mean(1, keepdim=True)


def laplacian(a: Tensor, b: Tensor) -> Tensor:
    """L1 between the Laplacian pyramids, the bands summed; the bands are linear, so those of the difference do."""
    difference = a - b
    total = difference.new_zeros(())
    for _ in range(LEVELS):
        smaller = _blur(difference)[:, :, ::2, ::2]
        band = difference - F.interpolate(smaller, size=difference.shape[-2:], mode="bilinear", align_corners=False)
        total, difference = total + band.abs().mean(), smaller
    return total + difference.abs().mean()


def _blur(x: Tensor) -> Tensor:
    """The binomial 5x5 filter (1 4 6 4 1)^2 / 256 on each channel, edges reflected (repeated where too small)."""
    line = x.new_tensor([1, 4, 6, 4, 1]) / 16
    mode = "reflect" if min(x.shape[-2:]) > 2 else "replicate"
    x = F.pad(x, (2, 2, 2, 2), mode=mode)
    channels = x.shape[1]
    x = F.conv2d(x, line.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
    return F.conv2d(x, line.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of one shape, a scalar in their unit."""
    return (a - b).abs().mean()


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of two tensors of one shape, a scalar in the square of their unit."""
    return (a - b).square().mean()


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """A rounded L1, zero at equality; quadratic below about one level of 8 bits."""
    eps = 1 / 255
    return ((a - b).square() + eps**2).sqrt().mean() - eps


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """The mean over samples of log(1 + MSE * 1e5): what a mean of PSNRs measures, without its pole at equality."""
    return torch.log1p((a - b).square().mean((1, 2, 3)) * 1e5).mean()


def squared_error(frame: Tensor, target: Tensor) -> Tensor:
    """The mean squared error of each sample (B,)."""
    return (frame.float() - target).square().mean((1, 2, 3))


def decibels(error: Tensor) -> Tensor:
    """PSNR in dB of mean squared errors in [0,1] units, of any shape; without gradient."""
    return -10 * torch.log10(error.detach() + 1e-10)


TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "laplacian": laplacian,
    "charbonnier": charbonnier,
    "l1": l1,
    "mse": mse,
    "psnr": psnr,
}
