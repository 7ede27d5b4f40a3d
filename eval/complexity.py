# SPDX-License-Identifier: MIT
"""What B-frames cost: seconds by component (paper, Fig. 10), parameters, multiply-accumulates by module, peak memory.

    python eval/complexity.py --models base bframe --sizes 240p 480p 1080p --device cpu --figure fig10.png

For every network the making of one frame; for a B-frame codec also writing and reading one (eval/codec_cost.py).
The first round warms up and does not count.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.command import check_output, parse_count, run_command
from eval.memory import PeakMemory
from eval.tables import markdown

SIZES = {
    "240p": (256, 416),
    "480p": (480, 864),
    "1080p": (1088, 1920),
}  # height and width as the networks see them, padded to 32
FIGURES = (".png", ".pdf", ".svg")
COMPONENTS = ("features", "pyramid and matching", "coarse blocks", "fine blocks", "synthesis")


class Cost(NamedTuple):
    """Median seconds of each component; multiply-accumulates of convolutions and products of matrices, in all and by
    module; the most memory beyond what the network itself takes, in 10^6 bytes."""

    seconds: dict[str, float]
    macs: float
    modules: dict[str, float]
    memory: float


def report(models: Sequence[codec.Model], sizes: Sequence[str], *, repeats: int, figure: Path | None = None) -> str:
    """Markdown: a line a model and size, then multiply-accumulates a pixel, a line a module.

    `figure` is where the times are drawn. OutputError if that cannot be written.
    """
    lines, modules = [], []
    bars: dict[str, dict[str, float]] = {}
    for size in sizes:
        pixels = math.prod(SIZES[size])
        for model, cost in zip(models, measure(models, SIZES[size], repeats=repeats), strict=True):
            where = {"model": model.name, "size": size}
            bars[f"{model.name}, {size}"] = cost.seconds
            seconds = {f"{name} (s)": f"{cost.seconds[name]:.4f}" for name in (*COMPONENTS, "frame")}
            counts = {
                "GMAC": f"{cost.macs / 1e9:.1f}",
                "kMAC a pixel": f"{cost.macs / pixels / 1e3:.1f}",
                "memory (MB)": f"{cost.memory:.0f}",
                "parameters (M)": f"{parameters(model) / 1e6:.2f}",
            }
            lines.append(where | seconds | counts)
            for name, macs in cost.modules.items():
                share = {"kMAC a pixel": f"{macs / pixels / 1e3:.2f}", "share": f"{macs / cost.macs:.1%}"}
                modules.append({"module": name} | where | share)
    if figure is not None:
        draw_runtime(bars, figure)
    return f"{markdown(pd.DataFrame(lines))}\n\n{markdown(pd.DataFrame(modules))}"


def draw_runtime(bars: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """The milliseconds of each component, a bar a network and size (paper, Fig. 10). OutputError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1 + 0.4 * len(bars)))
    axis = figure.subplots()
    start = [0.0] * len(bars)
    for name in COMPONENTS:
        lengths = [1000 * seconds[name] for seconds in bars.values()]
        axis.barh(list(bars), lengths, left=start, label=name)
        start = [a + b for a, b in zip(start, lengths, strict=True)]
    axis.invert_yaxis()
    axis.set_xlabel("ms a frame")
    axis.legend(fontsize="small")
    with codec.replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:], dpi=120, bbox_inches="tight")


def parameters(model: codec.Model) -> int:
    """How many numbers the network needs to make a frame: all but those of the teacher block."""
    return sum(p.numel() for name, p in model.network.named_parameters() if "teacher" not in name)


@torch.inference_mode()
def measure(models: Sequence[codec.Model], size: tuple[int, int], *, repeats: int) -> list[Cost]:
    """The cost of one frame of (height, width) by each model, in turn after one round that does not count."""
    device = next(models[0].network.parameters()).device
    generator = torch.Generator().manual_seed(0)
    past, future = (torch.rand(1, 3, *size, generator=generator).to(device) for _ in range(2))
    counts, memories = [], []
    for model in models:  # this is also the round that warms up
        with PeakMemory(device) as memory:
            counts.append(_macs_by_module(model, past, future))
        memories.append(memory.peak)
    runs: list[list[dict[str, float]]] = [[] for _ in models]
    for _ in range(repeats):
        for model, own in zip(models, runs, strict=True):
            own.append(_time(model, past, future))
    return [
        Cost({name: median(run[name] for run in own) for name in own[0]}, sum(modules.values()), modules, memory)
        for own, modules, memory in zip(runs, counts, memories, strict=True)
    ]


def _macs_by_module(model: codec.Model, past: Tensor, future: Tensor) -> dict[str, float]:
    """Multiply-accumulates of each part of the flow estimator, of the synthesis, and of what is in neither."""
    with FlopCounterMode(display=False, depth=4) as counter:
        model.network(past, future, 0.5)
    total, found = counter.get_total_flops() / 2, dict[str, float]()
    for name, operations in counter.get_flop_counts().items():
        part = name.partition(".")[2]  # the first is the class of the whole
        if part == "synthesis" or (part.count(".") == 1 and part.startswith("flow.")):
            found[part] = sum(operations.values()) / 2
    rest = total - sum(found.values())
    return found | ({"the rest" if found else "all": rest} if rest else {})


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


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables and return the exit status."""
    parser = codec.Parser(prog="complexity.py", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--models", nargs="+", default=["base", "bframe"], metavar="NAME")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--repeats", type=parse_count, default=5, metavar="N")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="also the times as a picture: .png, .pdf or .svg")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(action=_report)
    return run_command(parser, argv)


def _report(arguments: argparse.Namespace) -> None:
    if arguments.figure is not None:
        check_output(arguments.figure, "figure", FIGURES)
    device = codec.choose_device(arguments.device)
    models = [codec.load_model(name, device) for name in arguments.models]
    from eval.codec_cost import report_codecs
    from eval.runs import machine

    print(f"{machine(arguments.device)}, torch {torch.__version__}, float32, medians of {arguments.repeats}\n")
    print(report(models, arguments.sizes, repeats=arguments.repeats, figure=arguments.figure))
    if codecs := [model for model in models if model.codec is not None]:
        sizes = {name: SIZES[name] for name in arguments.sizes}
        print(f"\n{report_codecs(codecs, sizes, repeats=arguments.repeats)}")


if __name__ == "__main__":
    sys.exit(main())
