# SPDX-License-Identifier: MIT
"""The next frame from two past ones (paper, A.3): networks beside repetition and linear motion.

    python eval/next_frame.py run --root DIR --models extrapolate -o next.csv
    python eval/next_frame.py table next.csv

Linear motion moves the last frame along the motion between both past ones, as `--motion` finds it.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from torch import Tensor

import codec
import ncm
from ncm.pictures import padded

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.clips import add_run, add_table, made_by, measure_clips, network_for
from eval.command import parse_count, run_command
from eval.metrics import round_to_bytes, score
from eval.tables import markdown, table_of

Method: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # two past frames (1,3,H,W) -> the next


@dataclass(frozen=True)
class Row:
    """The mean over frames of one clip by one method."""

    clip: str
    method: str
    frames: int
    psnr: float
    ssim: float
    options: str = ""


def linear_motion(network: ncm.FrameSynthesis) -> Method:
    """The last frame moved on as it moved before, by the flows that a network for interpolation finds."""

    def method(a: Tensor, b: Tensor) -> Tensor:
        height, width = a.shape[-2:]
        past, last = padded(a, network.multiple), padded(b, network.multiple)
        flow = network(past, last, 0.5).motion.flow
        motion = flow[:, 2:] - flow[:, :2]  # from the past frame to the last, on the grid halfway between
        # The next frame's grid lies one and a half frames further on: the motion is looked up where it came from.
        motion = ncm.warp(motion, -1.5 * motion)
        return ncm.warp(last, -motion)[..., :height, :width]

    return method


def extrapolation(network: ncm.FrameSynthesis) -> Method:
    """The frame that a network for extrapolation makes."""
    return lambda a, b: ncm.extrapolate(a, b, network=network)


def methods(models: Sequence[str], motion: str, device: str) -> dict[str, Method]:
    """All methods by name. CodecError if a network is missing or made for another task."""
    where = codec.choose_device(device)
    found: dict[str, Method] = {
        "repetition": lambda _, last: last,
        "linear motion": linear_motion(network_for("interpolation", motion, where)),
    }
    for name in models:
        found[name] = extrapolation(network_for("extrapolation", name, where))
    return found


def triplets(path: Path, count: int, limit: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """So many runs of three frames as RGB, spread over the first `limit` frames. InputError if there are too few."""
    with codec.open_source(path) as source:
        frames = [frame.picture for frame, _ in zip(source, range(limit), strict=False)]
        colour = source.info.colour
    if len(frames) < 3:
        raise codec.InputError(f"{path}: {len(frames)} frames; it takes 3")
    for start in sorted({round(x) for x in np.linspace(0, len(frames) - 3, count)}):
        a, b, wanted = (codec.rgb_of(picture, colour) for picture in frames[start : start + 3])
        yield a, b, wanted


def measure(path: Path, ways: dict[str, Method], *, count: int, limit: int) -> list[Row]:
    """A row for each method."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for a, b, wanted in triplets(path, count, limit):
        for name, way in ways.items():
            scores[name].append(score(round_to_bytes(way(a, b)), wanted))
    means = {name: np.mean(own, 0) for name, own in scores.items()}
    return [Row(path.name, name, len(scores[name]), float(psnr), float(ssim)) for name, (psnr, ssim) in means.items()]


def report(rows: Sequence[Row]) -> str:
    """Markdown: a line a clip, a column a method, the mean below."""
    table = table_of(rows, Row)
    text = table.assign(text=[f"{row.psnr:.2f}/{row.ssim:.4f}" for row in rows])
    ways = list(dict.fromkeys(row.method for row in rows))
    every = text.pivot(index="clip", columns="method", values="text")[ways].dropna()
    own = table[table["clip"].isin(every.index)]
    means = own.groupby("method")[["psnr", "ssim"]].mean()
    every.loc["**mean**"] = [f"{means.psnr[way]:.2f}/{means.ssim[way]:.4f}" for way in ways]
    return markdown(pd.DataFrame(every.reset_index()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands and return its exit status."""
    parser = codec.Parser(prog="next_frame.py", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    run = add_run(commands, _run, "measure every clip by every method")
    run.add_argument("--models", nargs="+", default=["extrapolate"], metavar="NAME")
    run.add_argument("--motion", default="base", metavar="NAME", help="network that finds linear motion (base)")
    run.add_argument("--triplets", type=parse_count, default=8, help="predicted frames of each video (8)")
    run.add_argument("--frames", type=parse_count, default=96, help="frames of each video that are looked at (96)")
    run.add_argument("--device", default="auto")
    add_table(commands, Row, report)
    return run_command(parser, argv)


def _run(arguments: argparse.Namespace) -> None:
    ways = methods(arguments.models, arguments.motion, arguments.device)
    how = {"count": arguments.triplets, "limit": arguments.frames}
    options = f"{arguments.triplets} triplets of {arguments.frames} frames"
    measure_clips(
        arguments.root, arguments.output, Row, lambda path: measure(path, ways, **how), made_by(ways), options
    )


if __name__ == "__main__":
    sys.exit(main())
