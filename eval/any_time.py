# SPDX-License-Identifier: MIT
"""Frames at every eighth of the time between two frames: networks beside repetition and blending.

    python eval/any_time.py run --root DIR --models base rife -o times.csv
    python eval/any_time.py table times.csv
    python eval/any_time.py strip VIDEO --at 28 --models base rife -o strip.png

Every eighth frame of a video is given, the seven between are predicted. A network predicts each of them directly, and
once more by halving: 1/2 from both ends, 1/4 and 3/4 from the ends and what was made at 1/2, and so on.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

import codec
import ncm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.clips import add_run, add_table, made_by, measure_clips, network_for
from eval.command import parse_count, parse_size, parse_whole, run_command
from eval.metrics import round_to_bytes, score
from eval.strips import busiest, check_picture, save, strip
from eval.tables import markdown, table_of

PARTS = 8
Method: TypeAlias = Callable[[Tensor, Tensor], list[Tensor]]  # both ends (1,3,H,W) -> the seven frames between them


@dataclass(frozen=True)
class Row:
    """The frames of one clip at `eighths` of the time, by one method."""

    clip: str
    method: str
    eighths: int
    frames: int
    psnr: float
    ssim: float
    options: str = ""


def repetition(a: Tensor, b: Tensor) -> list[Tensor]:
    """The past frame, as a player shows it."""
    return [a] * (PARTS - 1)


def blending(a: Tensor, b: Tensor) -> list[Tensor]:
    """The weighted mean of both frames."""
    return [a + (b - a) * part / PARTS for part in range(1, PARTS)]


def direct(network: ncm.FrameSynthesis) -> Method:
    """Each frame from both ends."""
    return lambda a, b: [ncm.interpolate(a, b, part / PARTS, network=network) for part in range(1, PARTS)]


def halving(network: ncm.FrameSynthesis) -> Method:
    """Each frame from its nearest neighbours that are there, midpoints first."""

    def between(a: Tensor, b: Tensor, parts: int) -> list[Tensor]:
        if parts == 1:
            return []
        middle = ncm.interpolate(a, b, network=network)
        return [*between(a, middle, parts // 2), middle, *between(middle, b, parts // 2)]

    return lambda a, b: between(a, b, PARTS)


def methods(models: Sequence[str], device: str) -> dict[str, Method]:
    """All methods by name: two for each network. CodecError if a network is missing or made for another task."""
    found: dict[str, Method] = {"repetition": repetition, "blending": blending}
    for name in models:
        network = network_for("interpolation", name, codec.choose_device(device))
        found |= {name: direct(network), f"{name}, halving": halving(network)}
    return found


def stretches(path: Path, count: int, limit: int) -> Iterator[list[Tensor]]:
    """So many runs of nine frames as RGB, spread over a video. InputError if it has less than nine frames."""
    with codec.open_source(path) as source:
        frames = [frame.picture for frame, _ in zip(source, range(limit), strict=False)]
        colour = source.info.colour
    if len(frames) <= PARTS:
        raise codec.InputError(f"{path}: {len(frames)} frames; it takes {PARTS + 1}")
    last = len(frames) - 1 - PARTS
    for start in sorted({round(last * number / max(count - 1, 1)) for number in range(count)}):
        yield [codec.rgb_of(picture, colour) for picture in frames[start : start + PARTS + 1]]


def strip_of(path: Path, at: int, ways: dict[str, Method], size: tuple[int, int]) -> Image.Image:
    """The seven frames after frame `at` and what each method makes of them, where most moves; a row a method."""
    with codec.open_source(path) as source:
        colour = source.info.colour
        frames = [codec.rgb_of(frame.picture, colour) for frame in islice(source, at, at + PARTS + 1)]
    if len(frames) <= PARTS:
        raise codec.InputError(f"{path}: has no {PARTS + 1} frames from frame {at} on; give another --at")
    window = busiest(frames, *size)
    made = {"truth": frames[1:-1]} | {name: way(frames[0], frames[-1]) for name, way in ways.items()}
    return strip({name: [window.cut(frame) for frame in row] for name, row in made.items()})


def measure(path: Path, ways: dict[str, Method], *, count: int, limit: int) -> list[Row]:
    """A row for each method and time, the mean over a clip's stretches."""
    lines = []
    for frames in stretches(path, count, limit):
        for name, way in ways.items():
            for part, made in enumerate(way(frames[0], frames[-1]), 1):
                found = score(round_to_bytes(made), frames[part])
                lines.append({"method": name, "eighths": part, "psnr": found.psnr, "ssim": found.ssim})
    table = pd.DataFrame(lines)
    rows = []
    for name in ways:
        for part in range(1, PARTS):
            own = table[(table.method == name) & (table.eighths == part)]
            rows.append(Row(path.name, name, part, len(own), float(own.psnr.mean()), float(own.ssim.mean())))
    return rows


def report(rows: Sequence[Row]) -> str:
    """Markdown: PSNR and SSIM by time, a line a method, the mean over the clips that all methods have."""
    table = table_of(rows, Row)
    ways = list(dict.fromkeys(row.method for row in rows))
    clips = [clip for clip, own in table.groupby("clip") if set(own["method"]) == set(ways)]
    table = table[table["clip"].isin(clips)]
    lines = []
    for name in ways:
        own = table[table["method"] == name].groupby("eighths")[["psnr", "ssim"]].mean()
        cells = {f"{part}/8": f"{own.psnr[part]:.2f}/{own.ssim[part]:.4f}" for part in range(1, PARTS)}
        lines.append({"method": name} | cells | {"mean": f"{own.psnr.mean():.2f}/{own.ssim.mean():.4f}"})
    return f"{len(clips)} clips, PSNR/SSIM of RGB\n\n{markdown(pd.DataFrame(lines))}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands and return its exit status."""
    parser = codec.Parser(prog="any_time.py", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    run = add_run(commands, _run, "measure every clip by every method")
    run.add_argument("--models", nargs="+", default=["base", "rife"], metavar="NAME")
    run.add_argument("--stretches", type=parse_count, default=3, help="runs of nine frames in each video (3)")
    run.add_argument("--frames", type=parse_count, default=96, help="frames of each video that are looked at (96)")
    run.add_argument("--device", default="auto")
    add_table(commands, Row, report)
    pictures = commands.add_parser("strip", help="the truth and every method as a picture")
    pictures.add_argument("video", type=Path)
    pictures.add_argument("--at", type=parse_whole, default=0, metavar="FRAME", help="the frame before the seven (0)")
    pictures.add_argument("--models", nargs="+", default=["base", "rife"], metavar="NAME")
    pictures.add_argument("--size", type=parse_size, default=(160, 144), metavar="WxH", help="of the part (160x144)")
    pictures.add_argument("--device", default="auto")
    pictures.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".png or .jpg")
    pictures.set_defaults(action=_strip)
    return run_command(parser, argv)


def _strip(arguments: argparse.Namespace) -> None:
    check_picture(arguments.output)
    ways = {name: way for name, way in methods(arguments.models, arguments.device).items() if "halving" not in name}
    del ways["repetition"]
    with torch.inference_mode():
        save(strip_of(arguments.video, arguments.at, ways, arguments.size), arguments.output)


def _run(arguments: argparse.Namespace) -> None:
    ways = methods(arguments.models, arguments.device)
    how = {"count": arguments.stretches, "limit": arguments.frames}
    options = f"{arguments.stretches} stretches of {arguments.frames} frames"
    measure_clips(
        arguments.root, arguments.output, Row, lambda path: measure(path, ways, **how), made_by(ways), options
    )


if __name__ == "__main__":
    sys.exit(main())
