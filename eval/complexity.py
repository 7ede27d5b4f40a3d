# SPDX-License-Identifier: MIT
"""What a network costs: seconds by component (paper, Fig. 10), parameters, multiply-accumulates."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import codec
from eval.tables import markdown

SIZES = {"480p": (480, 864), "1080p": (1088, 1920)}  # height and width as the networks see them, padded to 32
COMPONENTS = ("features", "pyramid and matching", "coarse blocks", "fine blocks", "synthesis")


class Cost(NamedTuple):
    """Median seconds of each component, and multiply-accumulates of convolutions and products of matrices."""

    seconds: dict[str, float]
    macs: float


def report(models: Sequence[codec.Model], sizes: Sequence[str], *, repeats: int) -> str:
    """Markdown: a line a model and size."""
    head = ["model", "size", *(f"{name} (s)" for name in COMPONENTS), "frame (s)", "GMAC", "parameters (M)"]
    lines = []
    for size in sizes:
        for model, cost in zip(models, measure(models, SIZES[size], repeats=repeats), strict=True):
            seconds = [f"{cost.seconds[name]:.4f}" for name in (*COMPONENTS, "frame")]
            lines.append([model.name, size, *seconds, f"{cost.macs / 1e9:.1f}", f"{parameters(model) / 1e6:.2f}"])
    return markdown(head, lines)


def parameters(model: codec.Model) -> int:
    """How many numbers the network needs to make a frame: all but those of the teacher block."""
    return sum(p.numel() for name, p in model.network.named_parameters() if "teacher" not in name)


@torch.inference_mode()
def measure(models: Sequence[codec.Model], size: tuple[int, int], *, repeats: int) -> list[Cost]:
    """The cost of one frame of (height, width) by each model, in turn after one round that does not count."""
    device = next(models[0].network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    past, future = (torch.rand(1, 3, *size, generator=generator).to(device) for _ in range(2))
    macs = [_macs(model, past, future) for model in models]  # this is also the round that warms up
    runs: list[list[dict[str, float]]] = [[] for _ in models]
    for _ in range(repeats):
        for model, own in zip(models, runs, strict=True):
            own.append(_time(model, past, future))
    return [
        Cost({name: median(run[name] for run in own) for name in own[0]}, count)
        for own, count in zip(runs, macs, strict=True)
    ]


def _macs(model: codec.Model, past: Tensor, future: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        model.network(past, future, 0.5)
    return counter.get_total_flops() / 2


def _time(model: codec.Model, past: Tensor, future: Tensor) -> dict[str, float]:
    """Seconds of each component and of the whole frame.

    A component lasts from its module to the next component's, so warps and resizing count to what they feed, and
    the matching, which is no module, to the pyramid.
    """
    marks: list[tuple[str, float]] = []

    def mark(name: str) -> None:
        if past.device.type == "cuda":
            torch.cuda.synchronize(past.device)
        marks.append((name, time.perf_counter()))

    with ExitStack() as hooks:
        for name, register in _boundaries(model):
            hooks.enter_context(register(lambda *_, name=name: mark(name)))
        mark(COMPONENTS[0])
        model.network(past, future, 0.5)
        mark("end")
    seconds = dict.fromkeys(COMPONENTS, 0.0)
    for (name, start), (_, end) in pairwise(marks):
        seconds[name] += end - start
    return seconds | {"frame": marks[-1][1] - marks[0][1]}


def _boundaries(model: codec.Model) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Where each component starts: what takes the hook that notes the time."""
    features, matching, coarse, fine, synthesis = COMPONENTS
    config, parts = model.network.config, dict(model.network.flow.named_children())
    coarse_blocks = config.coarse_blocks if config.estimator == "ncm" else 0
    yield features, model.network.flow.register_forward_pre_hook
    if config.pyramid:
        yield matching, parts["pyramid"].register_forward_pre_hook
    for index in range(len(config.widths)):
        yield (coarse if index < coarse_blocks else fine), parts[f"block{index}"].register_forward_pre_hook
    if coarse_blocks:  # the coarse motions are resized, and the full pictures warped, for the fine blocks
        yield fine, parts[f"block{coarse_blocks - 1}"].register_forward_hook
    yield synthesis, model.network.synthesis.register_forward_pre_hook
