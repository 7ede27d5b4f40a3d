# SPDX-License-Identifier: MIT
"""Train a frame-synthesis network: the loop behind `codec train ncm`.

A run is a folder: checkpoint.pt (resumed if there), log.csv, best.safetensors (the best validated weights so far),
and samples/ if pictures were asked for.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, OutputError
from .config import TrainConfig, load_config
from .data import Library, open_corpus
from .objective import objective
from .ranks import Ranks, joined
from .sampling import Batch, Sampler, prefetch
from .state import CHECKPOINT, TrainState, resume, save, start
from .watch import Watch

log = logging.getLogger(__name__)


StateT = TypeVar("StateT", bound=TrainState)


def train(
    config_file: Path,
    data: Sequence[Path],
    run: Path,
    *,
    init: str = "",
    steps: int | None = None,
    device: torch.device,
) -> TrainState:
    """Train as a file says, on the clips of some folders; `init` and `steps` go before what the file says.

    Folders are decoded into `cache` beside the run the first time. Under torchrun, all processes call this alike.
    """
    config = load_config(config_file)
    config = replace(config, init=init or config.init, steps=steps or config.steps)
    with opened(data, run, device) as (library, ranks):
        return train_ncm(config, library, run, ranks=ranks)


@contextmanager
def opened(data: Sequence[Path], run: Path, device: torch.device) -> Iterator[tuple[Library, Ranks]]:
    """The corpora of some folders, cached beside the run, and the processes that train on them."""
    with joined(device) as ranks:
        yield open_library(data, run.parent / "cache", ranks=ranks), ranks


def open_library(data: Sequence[Path], caches: Path, *, ranks: Ranks) -> Library:
    """The corpora of some folders; where there is something to decode, the first rank does it for all."""
    if not ranks.first:
        ranks.any(False)  # wait until it is done
    library = Library(*(open_corpus(folder, caches) for folder in data))
    if ranks.first:
        ranks.any(False)
    return library


def train_ncm(config: TrainConfig, library: Library, run: Path, *, ranks: Ranks) -> TrainState:
    """See `carry_on`."""
    return carry_on(
        run,
        library,
        ranks=ranks,
        start=lambda: start(config, library.describe(), ranks.device),
        resume=lambda: _resume(config, run, ranks),
        watch=Watch,
        step=train_step,
    )


def carry_on(
    run: Path,
    library: Library,
    *,
    ranks: Ranks,
    start: Callable[[], StateT],
    resume: Callable[[], StateT],
    watch: Callable[[StateT, Library, Path, torch.device], Watch],
    step: Callable[[StateT, Iterator[Batch], Ranks], dict[str, float]],
    sampler: type[Sampler] = Sampler,
) -> StateT:
    """Train until config.steps, from the run's checkpoint if it has one; Ctrl-C or SIGTERM saves and returns."""
    make_folder(run)
    state = resume() if (run / CHECKPOINT).exists() else start()
    batches = share_of_batches(state, library, ranks, sampler)
    watching = watch(state, library, run, ranks.device) if ranks.first else None
    drive(state, run, watching, lambda: step(state, batches, ranks), ranks=ranks)
    return state


def make_folder(run: Path) -> None:
    """The run's folder. OutputError if it cannot be."""
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{run}: {error.strerror or error}") from error


def drive(
    state: TrainState, run: Path, watch: Watch | None, step: Callable[[], dict[str, float]], *, ranks: Ranks
) -> None:
    """Take steps until config.steps or a signal; the rank with a `watch` validates, logs and saves."""
    if watch:
        log.info("%s, step %d: %s", run, state.step, state.config)
        if state.step == 0:
            watch.validate()
    with stop_between_steps() as stop:
        while state.step < state.config.steps and not ranks.any(stop.is_set()):
            losses = step()
            if watch:
                watch.after_step(losses)
    if watch:
        if state.step == state.config.steps:
            watch.validate()
        save(state, run)
        watch.close()


def share_of_batches(
    state: TrainState, library: Library, ranks: Ranks, sampler: type[Sampler] = Sampler
) -> Iterator[Batch]:
    """This rank's part of every batch to come.

    Step s trains on samples s * S to (s + 1) * S - 1, where S = batch * accumulate, however many ranks share them:
    their number changes nothing but the order in which gradients are summed.
    """
    config = state.config
    if config.batch % ranks.count:
        raise InputError(f"train.batch is {config.batch}, which {ranks.count} processes cannot share evenly")
    samples = sampler(library, replace(config, batch=config.batch // ranks.count))
    first, end = (step * config.accumulate * ranks.count for step in (state.step, config.steps))
    # A CPU that trains has no core to spare; a GPU waits for whoever feeds it.
    threads = 1 if ranks.device.type == "cpu" else 4
    return prefetch(samples.batch, range(first + ranks.rank, end, ranks.count), threads=threads)


def train_step(state: TrainState, batches: Iterator[Batch], ranks: Ranks) -> dict[str, float]:
    """One optimiser step over `accumulate` batches; the losses, and the gradient's norm before clipping, by name."""
    config, model = state.config, state.model.train()
    if config.coarse_ratios:
        rng = np.random.default_rng((config.seed, state.step, 1))
        model.flow.config = replace(config.model, coarse_ratio=float(rng.choice(config.coarse_ratios)))
    return optimise(state, ranks, lambda _: objective(model, next(batches).to(ranks.device), config))


def optimise(state: TrainState, ranks: Ranks, losses: Callable[[int], dict[str, Tensor]]) -> dict[str, float]:
    """One optimiser step over the "loss" of `accumulate` batches, by number; means of what was measured, by name."""
    config = state.config
    for group in state.optimizer.param_groups:
        group["lr"] = state.rate() * group["factor"]
    sums: dict[str, Tensor] = {}
    for number in range(config.accumulate):
        parts = losses(number)
        torch.autograd.backward(parts["loss"] / config.accumulate)
        for name, value in parts.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / config.accumulate
    trained = [p for p in state.model.parameters() if p.grad is not None]
    ranks.average([*(p.grad for p in trained if p.grad is not None), *sums.values()])
    norm = torch.nn.utils.clip_grad_norm_(trained, config.clip)
    if norm.isfinite():  # a sample whose tails overflow is not worth a run
        state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.update_average()
    return {name: float(value) for name, value in (sums | {"gradient": norm}).items()}


def _resume(config: TrainConfig, run: Path, ranks: Ranks) -> TrainState:
    """The run's last checkpoint; of the given config only the number of steps counts."""
    state = resume(run, ranks.device)
    state.config = replace(state.config, steps=config.steps)
    changed = [key for key, value in vars(config).items() if value != getattr(state.config, key)]
    if changed and ranks.first:
        log.warning("%s keeps the settings it began with; not used: %s", run, ", ".join(changed))
    return state


@contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that no step is cut in half before it is saved."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit("runs are started with `codec train ncm` now; its arguments are the same")
