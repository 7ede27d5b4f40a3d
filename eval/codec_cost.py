# SPDX-License-Identifier: MIT
"""What it costs to write and to read one B-frame: seconds and multiply-accumulates by component, memory, bytes."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import codec
from eval.memory import PeakMemory
from eval.tables import markdown

SLOPE = 512.0  # bits a pixel for a unit of MSE: about x265 at crf 23
NOISE = 0.01  # RMS error of the anchors, 40 dB
PARTS = ("prediction", "motion", "contexts", "frame")
INNER = "entropy"  # part of others: entropy models and coding


class Side(NamedTuple):
    """Writing or reading one B-frame, in all and by component.

    seconds are medians, macs multiply-accumulates, memory is the peak in 10^6 bytes.
    """

    seconds: dict[str, float]
    macs: dict[str, float]
    memory: float


class Cost(NamedTuple):
    """What one B-frame costs to write and to read, and the bytes of its payload.

    `read` is None, and bytes is 0, where no payload lowered R + lambda * D.
    """

    write: Side
    read: Side | None
    bytes: int


def report_codecs(models: Sequence[codec.Model], sizes: Mapping[str, tuple[int, int]], *, repeats: int) -> str:
    """Markdown: a line a model, size and direction, seconds and then kMAC a pixel. Sizes are (height, width)."""
    lines, counts = [], []
    for name, size in sizes.items():
        for model in models:
            cost = measure(model, size, repeats=repeats)
            for direction, side in (("write", cost.write), ("read", cost.read)):
                if side is not None:
                    where = {"model": model.name, "size": name, "direction": direction}
                    seconds = {f"{column} (s)": f"{value:.4f}" for column, value in _columns(side.seconds).items()}
                    memory = {"memory (MB)": f"{side.memory:.0f}", "payload (bytes)": str(cost.bytes)}
                    lines.append(where | seconds | memory | {"parameters (M)": f"{parameters(model) / 1e6:.2f}"})
                    macs = {column: value / math.prod(size) / 1e3 for column, value in _columns(side.macs).items()}
                    counts.append(where | {f"{c} (kMAC a pixel)": f"{value:.2f}" for c, value in macs.items()})
    return f"{markdown(pd.DataFrame(lines))}\n\n{markdown(pd.DataFrame(counts))}"


def parameters(model: codec.Model) -> int:
    """How many numbers the codec has, the network that predicts left out."""
    return sum(p.numel() for p in model.codec.parameters()) if model.codec else 0


def measure(model: codec.Model, size: tuple[int, int], *, repeats: int) -> Cost:
    """The cost of one B-frame of (height, width): a texture in motion, with noise that no neighbour predicts."""
    past, source, future = (_picture(size, number) for number in range(3))
    info = codec.VideoInfo(size[1], size[0], Fraction(25), Fraction(1, 25))
    coder: Any = codec.predictor(model, info)
    where = codec.Interval(past, future, 0.5, NOISE, (past, future), 2)

    def write() -> Any:  # noqa: ANN401 (a Choice, which is the codec's own)
        return coder.write(codec.ToWrite(interval=where, source=source, poc=1, slope=SLOPE))

    written = _side(model, coder.device, write, repeats)
    choice = write()
    if choice.packet is None:
        return Cost(written, None, 0)
    read = _side(model, coder.device, lambda: coder.read(where, choice.packet), repeats)
    return Cost(written, read, len(choice.packet.data))


def _side(model: codec.Model, device: torch.device, work: Any, repeats: int) -> Side:  # noqa: ANN401 (a call)
    with PeakMemory(device) as memory:
        work()  # this is also the round that warms up
    with FlopCounterMode(display=False) as counter:
        macs = _sums(model, work, lambda: counter.get_total_flops() / 2)
    runs = [_time(model, device, work) for _ in range(repeats)]
    return Side({name: median(run[name] for run in runs) for name in runs[0]}, macs, memory.peak)


def _columns(values: Mapping[str, float]) -> dict[str, float]:
    """By heading, the values of a table's columns."""
    parts = {name: values.get(name, 0.0) for name in PARTS}
    whole, inner = values["all"], values.get(INNER, 0.0)
    return parts | {"rest": whole - sum(parts.values()), "in all": whole, f"of which {INNER}": inner}


def _components(model: codec.Model) -> dict[str, list[nn.Module]]:
    """Modules by component; the teacher, which finds the motion to be sent, counts to the motion."""
    parts = dict(model.codec.named_children()) if model.codec else {}
    found: dict[str, list[nn.Module]] = {"prediction": [model.network]}
    for name in ("motion", "contexts", "frame"):
        if name in parts:
            found[name] = [parts[name]]
    inner = [dict(parts[name].named_children())["coder"] for name in ("motion", "frame") if name in parts]
    teacher = dict(model.network.flow.named_children()).get("teacher")
    if teacher is not None and "motion" in found:
        found["motion"].append(teacher)
    return found | {INNER: inner}


def _time(model: codec.Model, device: torch.device, work: Any) -> dict[str, float]:  # noqa: ANN401 (a call)
    """Seconds within each component, and in all."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return _sums(model, work, now)


def _sums(model: codec.Model, work: Any, read: Callable[[], float]) -> dict[str, float]:  # noqa: ANN401 (a call)
    """How far a counter moves within each component, and in all."""
    components = _components(model)
    sums = dict.fromkeys([*components, "all"], 0.0)

    def change(name: str, sign: int) -> None:
        sums[name] += sign * read()

    with ExitStack() as hooks:
        for name, modules in components.items():
            for module in modules:
                begin = module.register_forward_pre_hook(lambda *_, name=name: change(name, -1))
                end = module.register_forward_hook(lambda *_, name=name: change(name, 1))
                hooks.callback(begin.remove)
                hooks.callback(end.remove)
        change("all", -1)
        work()
        change("all", 1)
    return sums


def _picture(size: tuple[int, int], number: int) -> codec.Yuv420:
    """Frame `number` of a texture that moves two pixels a frame to the right, with fresh noise."""
    height, width = size
    fixed, fresh = np.random.default_rng(0), np.random.default_rng(number + 1)
    coarse = np.kron(fixed.random((height // 16 + 1, width // 16 + 2)), np.ones((16, 16)))
    y = 48 + 128 * coarse[:height, 16 - 2 * number :][:, :width] + fresh.normal(0, 4, (height, width))

    def plane(samples: NDArray[np.float64]) -> NDArray[np.uint8]:
        return samples.round().clip(0, 255).astype(np.uint8)

    chroma = plane(np.full((height // 2, width // 2), 128.0))
    return codec.Yuv420(plane(y), chroma, chroma)
