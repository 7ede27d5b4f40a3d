# SPDX-License-Identifier: MIT
"""Rate points measured: encode and decode in processes of their own, compare what the decoder wrote with the source."""

import json
import math
import multiprocessing
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import codec
from eval.codecs import CodecName
from eval.rows import FrameRow, Row
from eval.sequences import Clip
from eval.timed import Took

ROOT = Path(__file__).resolve().parents[1]
MATRICES = ("bt709", "bt601")
MEANS = ["psnr_y", "psnr_u", "psnr_v", "psnr_yuv", "psnr_rgb", "ms_ssim", "xpsnr", "vmaf"]  # of a row, over its frames


@dataclass(frozen=True)
class Settings:
    """What all rate points of a run share; `keep` is a folder where the streams stay."""

    frames: int | None = None
    intra_period: int = 32
    preset: str | None = None
    model: str | None = None
    device: str = "auto"
    rgb: str = "bt709"
    keep: Path | None = None


@dataclass(frozen=True)
class Point:
    """One rate point to be measured."""

    clip: Clip
    codec: CodecName
    option: str
    value: float

    @property
    def key(self) -> tuple[str, str, float]:
        """Sequence, codec and rate point, as the row of its results has them."""
        return self.clip.title, self.codec.name, self.value

    @property
    def stream(self) -> str:
        """Name of the file that keeps its stream."""
        return stream_name(*self.key)


def stream_name(sequence: str, name: str, value: float) -> str:
    """What a rate point's stream is called in the folder of `run --keep`."""
    return re.sub(r"[^\w.@-]+", "_", f"{sequence}.{name}.{value:g}") + ".ncm"


def encode_words(point: Point, settings: Settings) -> list[str]:
    """The options of `codec encode` for a rate point, all but the files, quiet ones left out."""
    words = [*point.codec.words(), f"--{point.option}", f"{point.value:g}"]
    words += ["--intra-period", str(settings.intra_period)]
    words += ["--frames", str(settings.frames)] if settings.frames else []
    words += ["--anchor-preset", settings.preset] if settings.preset and "--anchor-preset" not in words else []
    words += ["--model", settings.model] if settings.model and point.codec.mode else []
    if raw := point.clip.raw:
        words += ["--size", f"{raw.width}x{raw.height}", "--fps", str(raw.fps), "--pix-fmt", "yuv420p"]
    return words


def command(point: Point, settings: Settings) -> str:
    """The command that makes a rate point, with the file's name alone."""
    return shlex.join(["codec", "encode", point.clip.path.name, *encode_words(point, settings)])


def measure(point: Point, settings: Settings) -> tuple[Row, list[FrameRow]]:
    """Encode, decode, compare: a row and a row a frame. CodecError if any of it fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream, decoded = folder / point.stream, folder / "decoded.y4m"
        # No worker processes: points are measured side by side (--jobs), each on its share of the threads.
        source, device = str(point.clip.path), ["--device", settings.device, "--workers", "0"]
        words = encode_words(point, settings)
        encoded = timed(["encode", source, "-o", str(stream), *words, "--no-metrics", *device], folder)
        took = timed(["decode", str(stream), "-o", str(decoded), *device], folder)
        info, size = codec.info(stream), stream.stat().st_size
        frames = _frames(point, info, decoded, settings.rgb)
        if settings.keep:
            with codec.replacing(settings.keep / stream.name) as file:
                file.write(stream.read_bytes())
    return _row(point, settings, info, frames, size, encoded=encoded, decoded=took), frames


def timed(words: Sequence[str], folder: Path) -> Took:
    """Run a command of `codec` in a process of its own. CodecError with its line if it fails."""
    report = folder / "took.json"
    report.unlink(missing_ok=True)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    program = [sys.executable, "-m", "eval.timed", str(report), *words]
    result = subprocess.run(program, env=environment, capture_output=True, text=True)
    if result.returncode or not report.exists():
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise codec.CodecError(f"{shlex.join(['codec', *words])} failed: {lines[-1].removeprefix('codec: ')}")
    return Took(*json.loads(report.read_text()))


def _frames(point: Point, info: codec.StreamInfo, decoded: Path, rgb: str) -> list[FrameRow]:
    """Every frame of a stream, its decoded picture compared with the source. StreamError if one is lacking."""
    rows: list[FrameRow] = []
    vmaf = codec.Vmaf() if codec.vmaf_available() else None
    with point.clip.open() as source, codec.open_source(decoded) as result:
        colour = codec.Colour(rgb, source.info.colour.full_range)
        xpsnr = codec.Xpsnr(source.info)
        for record, a, b in zip(info.frames, source, result, strict=False):
            q = codec.compare(a.picture, b.picture, colour)
            if vmaf:
                vmaf.add(a.picture, b.picture)
            values = (q.psnr_y, q.psnr_u, q.psnr_v, q.psnr_yuv, q.psnr_rgb, q.ms_ssim, xpsnr.add(a.picture, b.picture))
            rows.append(FrameRow(*point.key, record.poc, record.kind, record.bits, *values))
    if len(rows) != len(info.frames):
        raise codec.StreamError(f"{point.stream}: {len(rows)} of {len(info.frames)} frames can be compared")
    scores = vmaf.finish() if vmaf else [math.nan] * len(rows)
    return [FrameRow(**(vars(row) | {"vmaf": score})) for row, score in zip(rows, scores, strict=True)]


def _row(
    point: Point,
    settings: Settings,
    info: codec.StreamInfo,
    frames: list[FrameRow],
    size: int,
    *,
    encoded: Took,
    decoded: Took,
) -> Row:
    header = info.header
    area = header.width * header.height
    return Row(
        sequence=point.clip.title,
        codec=point.codec.name,
        crf=point.value,
        frames=len(frames),
        bytes=size,
        bpp=8 * size / (area * len(frames)),
        **_averages(frames, area),
        encode_seconds=encoded.seconds,
        decode_seconds=decoded.seconds,
        settings=header.anchor_settings,
        sequence_class=point.clip.group,
        codec_class=point.codec.codec_class,
        width=header.width,
        height=header.height,
        rate_option=point.option,
        encode_memory=encoded.memory,
        decode_memory=decoded.memory,
        **_provenance(point, settings),
    )


def _averages(frames: list[FrameRow], area: int) -> dict[str, Any]:
    """Fields of a row: the mean quality of all frames, and bits a pixel of those of each kind."""
    table = pd.DataFrame(frames)
    kinds = table.groupby("kind")[["bits", "psnr_rgb"]].mean().reindex(list("IPB"))  # NaN of a kind that is not there
    rates = {f"bpp_{kind.lower()}": kinds.bits[kind] / area for kind in "IPB"}
    return {**table[MEANS].mean(), **rates, "psnr_rgb_b": kinds.psnr_rgb["B"]}


def _provenance(point: Point, settings: Settings) -> dict[str, Any]:
    """Fields of a row: how it was measured, with what, and where."""
    return {
        "rgb": settings.rgb,
        "command": command(point, settings),
        "versions": versions(point.codec.anchor),
        "commit": commit(),
        "machine": machine(settings.device),
    }


@cache
def versions(anchor: str) -> str:
    """Names and versions of the packages that results depend on, separated by commas.

    The anchors' codec is among them if this installation lists it.
    """
    packages = ("torch", "compressai", "av", "pytorch-msssim")
    found = [("ncm-codec", codec.__version__), *((name, version(name)) for name in packages)]
    found += [(listing.name, listing.version) for listing in codec.anchor_listings() if listing.name == anchor]
    return ", ".join(f"{name} {number}" for name, number in found)


@cache
def commit() -> str:
    """The commit of this project, '-dirty' if files differ from it; '' if it is not in git."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(device: str = "auto") -> str:
    """Processor, the GPU if that is the device, and threads."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    name = found[1] if found else platform.processor() or platform.machine()
    chosen = codec.choose_device(device)
    gpu = f", {torch.cuda.get_device_name(chosen)}" if chosen.type == "cuda" else ""
    return f"{name}{gpu}, {torch.get_num_threads()} threads"


def measure_all(
    points: Sequence[Point],
    settings: Settings,
    *,
    jobs: int | None,
    done: Callable[[Row, list[FrameRow]], None],
    ray: str | None = None,
) -> Iterator[None]:
    """Measure points, handing each to `done` as it ends; yields after each. CodecError as measure.

    `jobs` are measured at a time, by default one; on the Ray cluster at an address, as many as it has processors.
    """
    if ray is None and jobs in (None, 1):
        for point in points:
            done(*measure(point, settings))
            yield
        return
    with _processes(jobs or 1) if ray is None else _machines(ray, jobs) as (pool, one):
        futures = [pool.submit(one, point, settings) for point in points]
        for future in as_completed(futures):
            done(*future.result())
            yield


Measure = Callable[[Point, Settings], tuple[Row, list[FrameRow]]]


@contextmanager
def _processes(jobs: int) -> Iterator[tuple[Executor, Measure]]:
    """So many processes, which share the processor's threads, and what they do."""
    threads = max(1, len(os.sched_getaffinity(0)) // jobs) if hasattr(os, "sched_getaffinity") else 1
    context = multiprocessing.get_context("spawn")  # torch does not survive a fork with its threads running
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_limit_threads, initargs=(threads,)) as pool:
        try:
            yield pool, measure
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _machines(address: str, jobs: int | None) -> Iterator[tuple[Executor, Measure]]:
    """Threads that each have points measured on a cluster, and how they do that."""
    with codec.open_cluster(address, jobs) as cluster:

        def there(point: Point, settings: Settings) -> tuple[Row, list[FrameRow]]:
            paths = (point.clip.path, *filter(None, [settings.keep]))
            return cluster.call(measure, point, replace(settings, device="cpu"), paths=paths)

        pool = ThreadPoolExecutor(cluster.size)
        try:
            yield pool, there
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _limit_threads(threads: int) -> None:
    """So many threads for this process and those it starts."""
    torch.set_num_threads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
