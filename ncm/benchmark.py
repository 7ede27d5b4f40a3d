# SPDX-License-Identifier: MIT
"""Time matching against other ways to compute the same.

    python -m ncm.benchmark

Medians of CPU time on one thread, the ways taking turns; on every size all of them must agree first.
"""

import argparse
import itertools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch
import torch.nn.functional as F
from torch import Tensor

from .matching import match_neighbours, spread

Match = Callable[[Tensor, Tensor], Tensor]

CHANNELS, SCALES, WINDOW = 64, 4, 3
SIZES = ((256, 448), (384, 672))  # of pictures; matching works at 1/8
RADIUS = WINDOW // 2


def by_loop(past: Tensor, future: Tensor) -> Tensor:
    """Equation 3 as it is written: 81 products of two shifted views a scale."""
    planes = []
    for k in range(SCALES):
        around_past, around_future = (_views(f, k) for f in (past, future))
        planes += [(a * b).sum(1) for a, b in itertools.product(around_past, around_future)]
    return torch.stack(planes, 1) * CHANNELS**-0.5


def by_unfold(past: Tensor, future: Tensor) -> Tensor:
    """All neighbourhoods copied out by `F.unfold`, then one einsum a scale."""
    batch, _, height, width = past.shape
    outputs = []
    for k in range(SCALES):
        a, b = (_unfolded(f, k) for f in (past, future))
        products = torch.einsum("bcip,bcjp->bijp", a, b) * CHANNELS**-0.5
        outputs.append(products.reshape(batch, WINDOW**4, height, width))
    return torch.cat(outputs, 1)


def by_matmul(past: Tensor, future: Tensor) -> Tensor:
    """All neighbourhoods stacked, then one small matrix product a pixel."""
    batch, channels, height, width = past.shape
    outputs = []
    for k in range(SCALES):
        a, b = (torch.stack(_views(f, k), 1).flatten(3).permute(0, 3, 1, 2) for f in (past, future))
        products = a @ b.transpose(-1, -2) * channels**-0.5  # (B,h*w,9,9)
        outputs.append(products.flatten(2).transpose(1, 2).reshape(batch, WINDOW**4, height, width))
    return torch.cat(outputs, 1)


def _views(feature: Tensor, k: int) -> list[Tensor]:
    """The feature at the nine positions around every pixel, (B,C,h,w) each."""
    height, width = feature.shape[-2:]
    step = 2**k
    wide = spread(feature, k, RADIUS * step)
    corners = itertools.product(range(0, WINDOW * step, step), repeat=2)
    return [wide[:, :, y : y + height, x : x + width] for y, x in corners]


def _unfolded(feature: Tensor, k: int) -> Tensor:
    batch, channels = feature.shape[:2]
    columns = F.unfold(spread(feature, k, RADIUS * 2**k), WINDOW, dilation=2**k)
    return columns.view(batch, channels, WINDOW**2, -1)


WAYS: dict[str, Match] = {"shared": match_neighbours, "loop": by_loop, "unfold": by_unfold, "matmul": by_matmul}


def measure(height: int, width: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of each way for features (1,64,h,w). ValueError if they disagree."""
    past, future = torch.randn(2, 1, CHANNELS, height, width, generator=torch.Generator().manual_seed(0))
    expected = by_loop(past, future)
    for name, way in WAYS.items():
        if not torch.allclose(way(past, future), expected, atol=1e-5):
            raise ValueError(f"{name} does not compute equation 3")
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            start = time.process_time()
            way(past, future)
            times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main(argv: list[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m ncm.benchmark", description="Time ways to match neighbours.")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.processor() or platform.machine()}, torch {torch.__version__}")
    print("picture    " + "".join(f"{name:>12}" for name in WAYS))
    for height, width in SIZES:
        times = measure(height // 8, width // 8, args.repeats)
        print(f"{width}x{height:<7}" + "".join(f"{value:9.1f} ms" for value in times.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
