# SPDX-License-Identifier: MIT
"""What worker processes gain, and what handing work to them costs.

    python -m eval.parallel measure CLIP... --workers 2      # against one process with as many threads, run in turn
    python -m eval.parallel simulate --seconds 0.65          # decoding, B-frames replaced by sleeps, 1 to 64 workers
    python -m eval.parallel memory --frames 300 3000         # how much this process grows, by length and workers
    python -m eval.parallel tiles CLIP --tile 512            # predictions by tiles: peak, and PSNR against the whole

All print Markdown. Run them on an idle machine.
"""

import argparse
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval.command import parse_count, run_command
from eval.memory import PeakMemory
from eval.runs import timed
from eval.tables import markdown

SIDES = 416, 240  # of the pictures that are simulated


class Sleeper:
    """A worker whose tasks all take the same time; tasks and results are pickled, as for another process."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(self, task: Any) -> Any:  # noqa: ANN401 (a task, and what it returns)
        """One of the task's references, after a while."""
        start = time.perf_counter()
        pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        result = pickle.dumps(SimpleNamespace(picture=task.interval.past, problem=""), pickle.HIGHEST_PROTOCOL)
        time.sleep(max(0.0, self.seconds - (time.perf_counter() - start)))
        return pickle.loads(result)

    def stop(self) -> None:
        """Nothing is to be stopped."""

    def close(self) -> None:
        """Nothing is left."""


class Took(NamedTuple):
    """Seconds of wall clock, and of processor time of this process; and by how many MB it grew while it decoded."""

    seconds: float
    processor: float
    growth: float


def simulate(stream: Path, workers: int, seconds: float) -> Took:
    """What it takes to decode a stream with so many workers whose tasks all take so long; all else is done as ever."""
    start, processor = time.perf_counter(), time.process_time()
    with (
        codec.Pool(lambda: Sleeper(seconds), workers) as pool,
        codec.open(stream, executor=pool) as video,
        PeakMemory(video.predictor.device) as memory,
    ):
        for frame in video:
            frame.picture.tobytes()
    return Took(time.perf_counter() - start, time.process_time() - processor, memory.peak)


def simulated(stream: Path, workers: Sequence[int], seconds: float) -> str:
    """Markdown: a line for each number of workers."""
    bframes = sum(frame.kind == "B" for frame in codec.info(stream).frames)
    lines = []
    for count in workers:
        took, ideal = simulate(stream, count, seconds), bframes * seconds / count
        lines.append(
            {
                "workers": str(count),
                "seconds": f"{took.seconds:.2f}",
                "B-frames a second": f"{bframes / took.seconds:.1f}",
                "ideal seconds": f"{ideal:.2f}",
                "overhead": f"{1 - ideal / took.seconds:.1%}",
                "this process (ms of a core a B-frame)": f"{1000 * took.processor / bframes:.1f}",
            }
        )
    return markdown(pd.DataFrame(lines))


def make_stream(path: Path, frames: int, side: int | None = None) -> Path:
    """A stream of the sample clip's first frames, played to and fro; no network is needed for it.

    Of each frame a corner of `side` pixels, if that is given.
    """
    with codec.open_source(Path(codec.__file__).parent / "sample" / "bunny.mp4") as source:
        pictures = [corner(frame.picture, side) if side else frame.picture for frame in source]
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    width, height = pictures[0].width, pictures[0].height
    info = codec.VideoInfo(width, height, Fraction(25), Fraction(1, 25))
    clip = path.with_suffix(".y4m")
    with codec.open_sink(clip, info) as sink:
        for number in range(frames):
            sink.write(codec.Frame(number, there_and_back[number % len(there_and_back)]))
    codec.encode(clip, path, mode="bitfree", anchor_preset="ultrafast", crf=32, metrics=False, workers=1)
    clip.unlink()
    return path


def corner(picture: codec.Yuv420, side: int) -> codec.Yuv420:
    """The corner of a picture, an even number of pixels wide and high."""
    half = side // 2
    return codec.Yuv420(picture.y[:side, :side], picture.u[:half, :half], picture.v[:half, :half], picture.bit_depth)


def measured(clips: Sequence[Path], workers: int, *, mode: str, frames: int, repeats: int) -> str:
    """Markdown: medians of encode and decode with workers, beside one process with as many threads, run in turn."""
    lines = []
    with TemporaryDirectory() as folder:
        stream, output = Path(folder) / "s.ncm", Path(folder) / "out.y4m"
        for clip in clips:
            encode = ["encode", clip, "-o", stream, "--mode", mode, "--frames", frames]
            for words in (encode, ["decode", stream, "-o", output]):
                times: dict[int, list[float]] = {0: [], workers: []}
                for _ in range(repeats):
                    for count, runs in times.items():
                        runs.append(_command([*words, "--workers", count], threads=workers))
                alone, side = (median(runs) for runs in times.values())
                lines.append(
                    {
                        "clip": clip.name,
                        "what": words[0],
                        f"1 process, {workers} threads (s)": f"{alone:.1f}",
                        f"{workers} workers (s)": f"{side:.1f}",
                        "ratio": f"{alone / side:.2f}",
                    }
                )
    return markdown(pd.DataFrame(lines))


def _command(words: Sequence[object], *, threads: int) -> float:
    """Seconds of wall clock that a command of ours takes."""
    start = time.perf_counter()
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "codec", *map(str, words)], check=True, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def tiled(clip: Path, side: int, model: str, folder: Path) -> str:
    """Markdown: three frames of a clip, the middle one predicted at once and by tiles: peak, time, and PSNR."""
    lines: list[dict[str, str]] = []
    decoded: list[Path] = []
    encode = ["encode", clip, "-o", folder / "s.ncm", "--mode", "bitfree", "--model", model, "--frames", 3]
    _command([*encode, "--no-metrics"], threads=1)
    for name, words in (("at once", []), (f"tiles of {side}", ["--tile", side])):
        decoded.append(folder / f"{len(decoded)}.y4m")
        decode = ["decode", folder / "s.ncm", "-o", decoded[-1], "--workers", 1, *words]
        took = timed([*map(str, decode)], folder)
        lines.append({"predicted": name, "seconds": f"{took.seconds:.1f}", "peak (MB)": f"{took.memory:.0f}"})
    whole, tiles, source = (_middle(path) for path in (*decoded, clip))
    colour = codec.info(folder / "s.ncm").header.info.colour
    for line, picture in zip(lines, (whole, tiles), strict=True):
        line["PSNR-RGB (dB)"] = f"{codec.compare(source, picture, colour).psnr_rgb:.4f}"
    off = np.abs(whole.y.astype(int) - tiles.y)
    return f"{markdown(pd.DataFrame(lines))}\n{(off > 0).mean():.2%} of luma differs, by at most {off.max()}."


def _middle(path: Path) -> codec.Yuv420:
    with codec.open_source(path) as source:
        return [frame.picture for frame in islice(source, 3)][1]


def peaks(folder: Path, lengths: Sequence[int], workers: Sequence[int], side: int | None = None) -> str:
    """Markdown: by how much a process that decodes grows, workers aside, by length and number of workers."""
    lines = []
    for frames in lengths:
        stream = make_stream(folder / f"{frames}.ncm", frames, side)
        for count in workers:
            growth = simulate(stream, count, seconds=0.02).growth
            lines.append({"frames": str(frames), "workers": str(count), "growth (MB)": f"{growth:.1f}"})
    return markdown(pd.DataFrame(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the four commands and return its exit status."""
    parser = codec.Parser(prog="eval.parallel", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("clips", nargs="+", type=Path)
    measure.add_argument("--workers", type=parse_count, default=2)
    measure.add_argument("--mode", default="bitneed")
    measure.add_argument("--frames", type=parse_count, default=65)
    measure.add_argument("--repeats", type=parse_count, default=3)
    simulation = commands.add_parser("simulate")
    simulation.add_argument("--seconds", type=float, default=0.65)
    simulation.add_argument("--frames", type=parse_count, default=1025)
    simulation.add_argument("--workers", type=parse_count, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    memory = commands.add_parser("memory")
    memory.add_argument("--frames", type=parse_count, nargs="+", default=[300, 3000])
    memory.add_argument("--workers", type=parse_count, nargs="+", default=[1, 2, 8])
    memory.add_argument("--side", type=parse_count, help="of a corner of the pictures; default: whole ones")
    tiles = commands.add_parser("tiles")
    tiles.add_argument("clip", type=Path)
    tiles.add_argument("--tile", type=parse_count, default=512)
    tiles.add_argument("--model", default="base")
    parser.set_defaults(action=_run)
    return run_command(parser, argv)


def _run(options: argparse.Namespace) -> None:
    with TemporaryDirectory() as folder:
        if options.command == "measure":
            how = {"mode": options.mode, "frames": options.frames, "repeats": options.repeats}
            print(measured(options.clips, options.workers, **how))
        elif options.command == "tiles":
            print(tiled(options.clip, options.tile, options.model, Path(folder)))
        elif options.command == "simulate":
            stream = make_stream(Path(folder) / "s.ncm", options.frames)
            print(simulated(stream, options.workers, options.seconds))
        else:
            print(peaks(Path(folder), options.frames, options.workers, options.side))


if __name__ == "__main__":
    sys.exit(main())
