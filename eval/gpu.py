# SPDX-License-Identifier: MIT
"""Ten minutes of a GPU, used wholly: check, measure, train, export. python eval/gpu.py --data DIR --output OUT > gpu.md

check    symbols and pictures are those of a CPU: of its streams and of our own, by batches, and sums by digits
measure  frames a second, encode and decode, at two sizes, with and without payloads, beside RIFE 4.0
train    with --data: a recipe, for as long as there is time
export   with --data: the weights that were trained, as a model

Each stage ends when its time is over, and what was not done is said. Decode the clips beforehand, which takes no GPU:
`codec train bframe --config bframe-joint --data DIR --run OUT/before --steps 1 --device cpu`. Prints Markdown.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from entropy.exact import digit_products, digits_for
from eval.command import parse_count, parse_size, run_command
from eval.tables import markdown

SIZES = ((416, 240), (1920, 1080))
BATCHES = (1, 4, 8, 16)
MEASURED = 0.45  # share of the time by which measuring is over, if there is something to train
EXPORT = 30.0  # seconds kept for it, and for the last validation before
MOST_OFF = 0.01  # share of samples that may differ by a level from a CPU's


class Case(NamedTuple):
    """A mode with its model."""

    mode: str
    model: str


class Clock:
    """Seconds until everything must be done."""

    def __init__(self, minutes: float) -> None:
        self.seconds, self._start = 60 * minutes, time.monotonic()

    def left(self, share: float = 1.0) -> float:
        """Until this share of all is over."""
        return share * self.seconds - (time.monotonic() - self._start)


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


def written(size: tuple[int, int], frames: int, path: Path) -> Path:
    """The sample clip as a file."""
    with codec.open_sink(path, codec.VideoInfo(*size, Fraction(25), Fraction(1, 25))) as sink:
        for frame in sample(size, frames):
            sink.write(frame)
    return path


def checks(model: str, size: tuple[int, int], device: str) -> list[dict[str, str]]:
    """A row for each thing that must be as on a CPU, and whether it is."""
    with TemporaryDirectory() as folder:
        clip, streams = written(size, 9, Path(folder) / "clip.y4m"), {}
        for place in ("cpu", device):
            streams[place] = Path(folder) / f"{place.partition(':')[0]}.ncm"
            codec.encode(clip, streams[place], mode="bitneed", model=model, crf=28.0, device=place, metrics=False)
        pairs = {"a CPU's stream": streams["cpu"], "a stream of its own": streams[device]}
        rows = [_row(f"{what}, by batches", _agreeing(path, device)) for what, path in pairs.items()]
    return [*rows, _digits(device)]


def _agreeing(stream: Path, device: str) -> tuple[bool, str]:
    """Whether a stream decodes alike on a CPU and, by batches, on the device."""
    pictures = []
    for place, batch in (("cpu", 1), (device, BATCHES[-1])):
        with codec.open(stream, device=place) as video:
            executor = codec.InProcess(video.predictor, batch)
        with codec.open(stream, device=place, executor=executor) as video:
            pictures.append([frame.picture for frame in video])
            damage = [problem for problem in video.problems if "payload" in problem]
    planes = [zip(a.planes, b.planes, strict=True) for a, b in zip(*pictures, strict=True)]
    off = np.concatenate([np.abs(a.astype(int) - b).ravel() for pair in planes for a, b in pair])
    share = float((off > 0).mean())
    agree = not damage and off.max() <= 1 and share < MOST_OFF
    return agree, f"{share:.2%} of samples off, by {off.max()} at most; {len(damage)} payloads damaged"


def _digits(device: str) -> dict[str, str]:
    """The sums of integer networks in float32 beside those in float64."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randint(-2000, 2001, (64, 135, 3, 3), generator=generator).double()
    x = torch.randint(-65535, 65536, (2, 135, 32, 52), generator=generator).double()
    split, expected = digits_for(weight), torch.nn.functional.conv2d(x, weight, padding=1)
    assert split is not None
    same = torch.equal(digit_products(x.to(device), weight.to(device), split).cpu(), expected)
    return _row("sums by digits", (same, f"{split[0]} digits of {split[1]} bits"))


def _row(what: str, found: tuple[bool, str]) -> dict[str, str]:
    return {"checked": what, "as on a CPU": "yes" if found[0] else "NO", "found": found[1]}


def measured(
    case: Case, size: tuple[int, int], frames: int, device: str, time_is_left: Callable[[], bool]
) -> list[dict[str, str]]:
    """A row for encode, and one for decode with each size of batch."""
    where = {"size": f"{size[0]}x{size[1]}", "mode": case.mode}
    with TemporaryDirectory() as folder:
        clip, stream = written(size, frames, Path(folder) / "clip.y4m"), Path(folder) / "s.ncm"
        settings = codec.EncodeSettings(mode=case.mode, model=case.model, crf=28.0, device=device, metrics=False)
        start = time.perf_counter()
        count = codec.encode(clip, stream, settings).frames
        rows = [where | {"what": "encode", "batch": "as memory allows"} | _speed(count, time.perf_counter() - start)]
        for batch in BATCHES:
            if time_is_left():
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


def forward(name: str, size: tuple[int, int], device: str, repeats: int) -> list[dict[str, str]]:
    """A row for a network's forward pass alone, one frame at a time."""
    network = codec.load_model(name, device).network
    height, width = (-(-side // 32) * 32 for side in (size[1], size[0]))
    past, future = torch.rand(2, 1, 3, height, width, device=device)
    with torch.no_grad():
        for number in range(repeats + 3):
            if number == 3:
                _wait(device)
                start = time.perf_counter()
            network(past, future, 0.5, None)
        _wait(device)
    row = {"size": f"{size[0]}x{size[1]}", "mode": name, "what": "forward pass", "batch": "1"}
    return [row | _speed(repeats, time.perf_counter() - start)]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _speed(frames: int, seconds: float) -> dict[str, str]:
    return {"frames a second": f"{frames / seconds:.2f}"}


def measurements(options: argparse.Namespace, clock: Clock) -> Iterator[dict[str, str]]:
    """All rows for which there is time."""
    for sides in options.sizes:
        for one in _work(sides, options, lambda: clock.left(MEASURED if options.data else 1.0) > 0):
            yield from one()


def _work(
    size: tuple[int, int], options: argparse.Namespace, time_is_left: Callable[[], bool]
) -> Iterator[Callable[[], list[dict[str, str]]]]:
    """What to measure at one size, in order, as long as time is left."""
    everything: list[Callable[[], list[dict[str, str]]]] = [
        partial(measured, Case(mode, model), size, options.frames, options.device, time_is_left)
        for mode, model in zip(("bitfree", "bitneed"), options.models, strict=True)
    ]
    everything += [partial(forward, name, size, options.device, 10) for name in ("rife", options.models[0])]
    for number, one in enumerate(everything):
        if not time_is_left():
            print(f"{size[0]}x{size[1]}: no time for {len(everything) - number} measurements", file=sys.stderr)
            return
        yield one


def trained(options: argparse.Namespace, seconds: float) -> str:
    """Train for so long, stop between two steps, and export; what there is to say of it."""
    run, command = options.output / "run", [sys.executable, "-m", "codec", "train"]
    words = ["--config", options.recipe, "--data", *options.data, "--run", run, "--device", options.device]
    with subprocess.Popen([*command, "bframe", *map(str, words)], stdout=sys.stderr) as process:
        try:
            process.wait(max(seconds - EXPORT, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # a checkpoint is saved
            process.wait()
    output = options.output / "trained.safetensors"
    subprocess.run([*command, "export", "--run", str(run), "-o", str(output)], check=True, stdout=sys.stderr)
    steps = pd.read_csv(run / "log.csv", header=None)[0].max()
    return f"{options.recipe}: {steps} steps; {output}"


def main(argv: Sequence[str] | None = None) -> int:
    """Do everything and print it; the exit status."""
    parser = codec.Parser(prog="gpu.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=SIZES, metavar="WxH")
    parser.add_argument("--frames", type=parse_count, default=65)
    parser.add_argument("--models", nargs=2, default=["base", "bframe"], help="for bitfree and bitneed")
    parser.add_argument("--data", nargs="+", type=Path, metavar="DIR", help="clips to train on; decoded beforehand")
    parser.add_argument("--recipe", default="bframe-joint", help="of `codec train bframe`")
    parser.add_argument("--output", type=Path, default=Path("gpu"), metavar="DIR", help="of the run and its weights")
    parser.set_defaults(action=_measure_and_train)
    return run_command(parser, argv)


def _measure_and_train(options: argparse.Namespace) -> None:
    clock = Clock(options.minutes)
    device = options.device
    codec.choose_device(device)  # or say that there is none
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    print(f"{name}, torch {torch.__version__}, float32, {options.frames} frames\n")
    print(markdown(pd.DataFrame(checks(options.models[1], options.sizes[0], device))), "\n", flush=True)
    if rows := list(measurements(options, clock)):
        print(markdown(pd.DataFrame(rows)), flush=True)
    if options.data:
        print(f"\n{trained(options, clock.left())}")


if __name__ == "__main__":
    sys.exit(main())
