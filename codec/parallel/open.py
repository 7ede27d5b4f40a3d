# SPDX-License-Identifier: MIT
"""Which executor a job gets."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch

from ..bframe.predictor import Predictor
from ..device import cores, one_thread
from ..errors import InputError
from ..models.open import predictor_at
from ..video.picture import VideoInfo
from .cluster import cluster_pool
from .executor import Executor, InProcess
from .pool import Pool
from .process import ProcessWorker, Recipe

LARGEST_BATCH = 16  # B-frames: more start hardly fewer operators
BYTES_A_PIXEL = 2500  # of a B-frame that is made, at the most: 1,800 were measured on a CPU
MOST_WORKERS = 1024
LEAST = 8.0  # seconds of work that a worker should have, as it takes three or four to start


@contextmanager
def executor_for(
    bframes: Predictor, workers: int | None, work: float, cluster: str | None = None
) -> Iterator[Executor]:
    """What does tasks for a job of so many seconds' `work` on one core: `workers` processes, by default as many as pay.

    A GPU gets tasks in batches. On a CPU all processes use one thread, this one too, so that results do not depend on
    their number; only 0 workers leave this process its threads. With the address of a `cluster` the workers are there.
    InputError for workers beside another device, or out of range.
    """
    check_workers(bframes.device, workers, cluster)
    if bframes.device.type != "cpu":
        yield InProcess(bframes, batch_for(bframes))
        return
    if cluster is not None:
        with one_thread(), cluster_pool(cluster, _recipe(bframes), workers) as pool:
            yield pool
        return
    count = int(min(cores(), work / LEAST)) if workers is None else workers
    with ExitStack() as stack:
        if workers != 0:
            stack.enter_context(one_thread())
        yield (
            stack.enter_context(Pool(partial(ProcessWorker, _recipe(bframes)), count))
            if count > 1
            else InProcess(bframes)
        )


def check_workers(device: torch.device, workers: int | None, cluster: str | None) -> None:
    """InputError for workers beside another device than a CPU, or out of range."""
    if workers is not None and not 0 <= workers <= MOST_WORKERS:
        raise InputError(f"--workers {workers} is out of range; give 0 to {MOST_WORKERS} processes")
    for flag, given in (("--workers", workers), ("--ray", cluster)):
        if device.type != "cpu" and given is not None and given not in (0, 1):
            raise InputError(f"{flag} {given} is for a CPU, not for {device}; leave it out")


def batch_for(bframes: Predictor) -> int:
    """How many B-frames go through the networks of a device at once: as half of its free memory allows, at most 16."""
    if bframes.device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(bframes.device)
    return max(1, min(LARGEST_BATCH, int(free / 2 / (BYTES_A_PIXEL * bframes.info.pixels))))


def work_of(info: VideoInfo, frames: int | None, seconds: float) -> float:
    """Seconds of work that a video is, at so many a pixel; endless if its length is not known."""
    return float("inf") if frames is None else frames * info.pixels * seconds


def _recipe(bframes: Predictor) -> Recipe:
    """How a worker gets what makes B-frames just as these are made."""
    assert bframes.model.path is not None, "a model of no file cannot be loaded by another process"
    beside = bframes.anchor_filter.beside if bframes.anchor_filter is not None else None
    return partial(
        predictor_at,
        bframes.model.path,
        bframes.info,
        coding=type(bframes) is not Predictor,
        turned=bframes.model.network.config.flip_average,
        half=bframes.model.half,
        neighbours=beside.path if beside is not None else None,
        tile=bframes.model.network.tile,
    )
