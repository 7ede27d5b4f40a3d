# SPDX-License-Identifier: MIT
"""Predicted frames side by side, zoomed, as the paper's Figs. 6 and 12.

    python eval/comparison.py VIDEO --at 12 40 --step 2 --models base rife -o fig12.png
    python eval/comparison.py VIDEO --at 12 40 --extrapolate --models extrapolate -o fig6.png

A row is a frame: both inputs overlaid, the truth, then each model with its PSNR of the whole picture. The part where
most moves is shown.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import codec
import ncm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.clips import network_for
from eval.command import parse_count, parse_whole, run_command
from eval.metrics import round_to_bytes, score
from eval.strips import busiest, check_picture, save, strip


def triplet(path: Path, at: int, step: int, *, extrapolate: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Both inputs and the frame `at`, as RGB. InputError if the video has no such frames."""
    pocs = (at - 2 * step, at - step, at) if extrapolate else (at - step, at + step, at)
    with codec.open_source(path) as source:
        found = {
            poc: codec.rgb_of(frame.picture, source.info.colour)
            for poc, frame in zip(range(max(pocs) + 1), source, strict=False)
            if poc in pocs
        }
    if len(found) < len(pocs):
        raise codec.InputError(f"{path}: it has not all of the frames {', '.join(map(str, sorted(pocs)))}")
    return found[pocs[0]], found[pocs[1]], found[pocs[2]]


def rows(
    path: Path, at: Sequence[int], step: int, models: dict[str, ncm.FrameSynthesis], *, extrapolate: bool, side: int
) -> dict[str, list[Tensor]]:
    """A row of pictures for each frame, by what it shows."""
    found = {}
    make = ncm.extrapolate if extrapolate else ncm.interpolate
    for poc in at:
        a, b, truth = triplet(path, poc, step, extrapolate=extrapolate)
        window = busiest([a, b], side, max(1, side * 3 // 4))
        made = {name: round_to_bytes(make(a, b, network=network)) for name, network in models.items()}
        texts = [f"{name} {score(frame, truth).psnr:.2f} dB" for name, frame in made.items()]
        title = f"frame {poc}: " + " | ".join(["inputs", "truth", *texts])
        found[title] = [window.cut(frame) for frame in ((a + b) / 2, truth, *made.values())]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture and return the exit status."""
    parser = codec.Parser(prog="comparison.py", description=(__doc__ or "").split("\n", 1)[0])
    add = parser.add_argument
    add("video", type=Path)
    add("--at", type=parse_whole, nargs="+", required=True, metavar="FRAME", help="frames to predict")
    parser.add_argument(
        "--step", type=parse_count, default=1, help="frames from one input to the next, or to the target (1)"
    )
    add("--extrapolate", action="store_true", help="from the two frames before it")
    add("--models", nargs="+", default=["base", "rife"], metavar="NAME")
    parser.add_argument(
        "--side", type=parse_count, default=120, help="width of the part that is shown, in pixels (120)"
    )
    add("--zoom", type=parse_count, default=2, help="times as large (2)")
    add("--device", default="auto")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help=".png or .jpg")
    parser.set_defaults(action=_compare)
    return run_command(parser, argv)


def _compare(arguments: argparse.Namespace) -> None:
    check_picture(arguments.output)
    device = codec.choose_device(arguments.device)
    task = "extrapolation" if arguments.extrapolate else "interpolation"
    models = {name: network_for(task, name, device) for name in arguments.models}
    how: dict[str, Any] = {"extrapolate": arguments.extrapolate, "side": arguments.side}
    with torch.inference_mode():
        found = rows(arguments.video, arguments.at, arguments.step, models, **how)
    save(strip(found, arguments.zoom), arguments.output)


if __name__ == "__main__":
    sys.exit(main())
