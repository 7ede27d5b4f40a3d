# SPDX-License-Identifier: MIT
"""Frames a second on a GPU, one B-frame at a time and in batches, beside RIFE 4.0: python eval/gpu.py > gpu.md

It takes the sample clip at two sizes, codes it with and without payloads, and decodes it with both. On an H200-class
GPU all of it should take under eight minutes; `--frames` makes it shorter. Prints Markdown, the machine first.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.tables import markdown

SIZES = ("416x240", "1920x1080")
BATCHES = (1, 4, 8, 16)


class Case(NamedTuple):
    """A mode with its model."""

    mode: str
    model: str


def sample(size: tuple[int, int], frames: int) -> Iterator[codec.Frame]:
    """The sample clip, enlarged to at least (width, height) and cropped; played once, at most so many frames."""
    width, height = size
    with codec.open_source(Path(codec.__file__).parent / "sample" / "bunny.mp4") as source:
        for number, frame in zip(range(frames), source, strict=False):
            picture = frame.picture
            times = max(-(-width // picture.width), -(-height // picture.height))
            sides = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
            y, u, v = (
                np.ascontiguousarray(plane.repeat(times, 0).repeat(times, 1)[:h, :w])
                for plane, (h, w) in zip(picture.planes, sides, strict=True)
            )
            yield codec.Frame(number, codec.Yuv420(y, u, v))


def measured(case: Case, size: tuple[int, int], frames: int, device: str, folder: Path) -> list[dict[str, str]]:
    """A row for encode, and one for decode with each size of batch."""
    info = codec.VideoInfo(*size, Fraction(25), Fraction(1, 25))
    clip, stream = folder / "clip.y4m", folder / "s.ncm"
    with codec.open_sink(clip, info) as sink:
        for frame in sample(size, frames):
            sink.write(frame)
    settings = codec.EncodeSettings(mode=case.mode, model=case.model, crf=28.0, device=device, metrics=False)
    start = time.perf_counter()
    count = codec.encode(clip, stream, settings).frames
    where = {"size": f"{size[0]}x{size[1]}", "mode": case.mode}
    rows = [where | {"what": "encode", "batch": "1"} | _speed(count, time.perf_counter() - start)]
    for batch in BATCHES:
        rows.append(where | {"what": "decode", "batch": str(batch)} | _decoded(stream, batch, device))
    return rows


def _decoded(stream: Path, batch: int, device: str) -> dict[str, str]:
    with codec.open(stream, device=device) as video:
        executor = codec.InProcess(video.predictor, batch)
    try:
        for _ in range(2):  # the first time warms up
            start = time.perf_counter()
            with codec.open(stream, device=device, executor=executor) as video:
                count = sum(1 for _ in video)
            took = time.perf_counter() - start
    except torch.OutOfMemoryError:
        return {"frames a second": "out of memory"}
    return _speed(count, took)


def rife(size: tuple[int, int], device: str, repeats: int) -> dict[str, str]:
    """RIFE 4.0's forward pass alone, one frame at a time."""
    network = codec.load_model("rife", device).network
    height, width = (-(-side // 32) * 32 for side in (size[1], size[0]))
    past, future = torch.rand(2, 1, 3, height, width, device=device)
    with torch.no_grad():
        for number in range(repeats + 3):
            if number == 3:
                _wait(device)
                start = time.perf_counter()
            network(past, future, 0.5, None)
        _wait(device)
    row = {"size": f"{size[0]}x{size[1]}", "mode": "RIFE 4.0", "what": "forward pass", "batch": "1"}
    return row | _speed(repeats, time.perf_counter() - start)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _speed(frames: int, seconds: float) -> dict[str, str]:
    return {"frames a second": f"{frames / seconds:.2f}"}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("--frames", type=int, default=65)
    parser.add_argument("--models", nargs=2, default=["base", "bframe"], help="for bitfree and bitneed")
    options = parser.parse_args(argv)
    device = options.device
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    print(f"{name}, torch {torch.__version__}, float32, {options.frames} frames\n")
    rows: list[dict[str, str]] = []
    for text in options.sizes:
        width, height = map(int, text.split("x"))
        for mode, model in zip(("bitfree", "bitneed"), options.models, strict=True):
            with TemporaryDirectory() as folder:
                rows += measured(Case(mode, model), (width, height), options.frames, device, Path(folder))
        rows.append(rife((width, height), device, 10))
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
