# SPDX-License-Identifier: MIT
"""Train anything: the loop behind `codec train TASK`.

A run is a folder: checkpoint.pt (resumed if there), log.csv, best.safetensors (the best validated weights so far),
and samples/ if pictures were asked for.
"""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, OutputError
from .config import find_recipe
from .data import Corpus, Library, open_corpus
from .decoded import build_passes
from .ranks import Ranks, joined
from .run import CHECKPOINT, ConfigT, ModelT, Run, read_checkpoint
from .sampling import Batch, Sampler, check_sizes, prefetch
from .task import Task
from .tasks import load_task
from .watch import Watch

log = logging.getLogger(__name__)

PASSES = 2  # decoded versions of every clip, where a recipe needs them and there are none


def train(
    name: str,
    recipe: str | Path,
    data: Sequence[Path],
    folder: Path,
    *,
    device: torch.device,
    **given: Any,  # noqa: ANN401
) -> Run[Any, Any]:
    """Train what a task and a recipe say on the clips of some folders; what is given goes before the recipe.

    The recipe is a TOML file, or the name of one that ships. Clips are decoded into `cache` beside the run the first
    time, and coded and decoded again if the recipe wants such references. Under torchrun, all processes call this
    alike.
    InputError if the recipe, the clips or the run cannot be used.
    """
    task = load_task(name)
    config = task.recipe.load(find_recipe(recipe)).given(**given)
    passes = PASSES if config.decoded or task.decoded else 0
    with joined(device) as ranks:
        how: dict[str, Any] = {"passes": passes, "strong": task.strong}
        library = open_library(data, folder.parent / "cache", ranks=ranks, crop=config.crop, **how)
        if library.too_few and ranks.first:
            log.warning("%d clips are too few to hold any out: validation is on clips of training", len(library.clips))
        return train_run(task, config, library, folder, ranks=ranks)


def export_run(folder: Path, output: Path) -> None:
    """Write the averaged weights of a folder's run, whatever it trains. InputError if there is none; OutputError."""
    device = torch.device("cpu")
    task = load_task(read_checkpoint(folder, device)["task"])
    task.export(task.resume(folder, device), output)


def open_library(
    data: Sequence[Path],
    caches: Path,
    *,
    ranks: Ranks,
    passes: int = 0,
    strong: bool = False,
    crop: int = 0,
) -> Library:
    """The corpora of some folders, with so many decoded passes where there are none yet; `strong` as `build_passes`.

    Where there is something to decode, the first rank does it for all. InputError, before passes are made, if no clip
    holds a crop.
    """
    if not ranks.first:
        ranks.any(False)  # wait until it is done
    corpora = [open_corpus(folder, caches) for folder in data]
    check_sizes(Library(*corpora), crop)
    library = Library(*(_with_passes(corpus, passes, strong=strong) for corpus in corpora))
    if ranks.first:
        ranks.any(False)
    return library


def _with_passes(corpus: Corpus, count: int, *, strong: bool) -> Corpus:
    """A corpus with so many decoded passes, if it has none."""
    if corpus.passes or not count:
        return corpus
    log.info("%s: coding and decoding its clips %d times, for references as they are in a codec", corpus.folder, count)
    build_passes(corpus.folder, count, strong=strong)
    return Corpus(corpus.folder)


def train_run(
    task: Task[ModelT, ConfigT], config: ConfigT, library: Library, folder: Path, *, ranks: Ranks
) -> Run[ModelT, ConfigT]:
    """Train until config.steps, from the folder's checkpoint if it has one; Ctrl-C or SIGTERM saves and returns."""
    make_folder(folder)
    if (folder / CHECKPOINT).exists():
        run = go_on(task, config, folder, ranks)
    else:
        run = task.start(config, library.describe(), ranks.device)
    batches = share_of_batches(run, library, ranks, task.sampler)
    watch = Watch(task, run, library, folder, ranks.device) if ranks.first else None
    if watch:
        watch.begin()
    with stop_between_steps() as stop:
        while run.step < run.config.steps and not ranks.any(stop.is_set()):
            losses = train_step(task, run, batches, ranks)
            if watch:
                watch.after_step(losses)
    if watch:
        watch.end()
    return run


def make_folder(folder: Path) -> None:
    """The run's folder. OutputError if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: no folder for a run ({error.strerror or error}); give another --run") from error


def go_on(task: Task[ModelT, ConfigT], config: ConfigT, folder: Path, ranks: Ranks) -> Run[ModelT, ConfigT]:
    """The run of the folder's checkpoint; of the given config only the number of steps counts."""
    run = task.resume(folder, ranks.device)
    run.config = replace(run.config, steps=config.steps)
    changed = [key for key, value in vars(config).items() if value != getattr(run.config, key)]
    if changed and ranks.first:
        log.warning("%s keeps the settings it began with; not used: %s", folder, ", ".join(changed))
    return run


def share_of_batches(
    run: Run[ModelT, ConfigT], library: Library, ranks: Ranks, sampler: type[Sampler] = Sampler
) -> Iterator[Batch]:
    """This rank's part of every batch to come. InputError if ranks cannot share batches evenly.

    Step s trains on samples s * S to (s + 1) * S - 1, where S = batch * accumulate, however many ranks share them:
    their number changes nothing but the order in which gradients are summed.
    """
    config = run.config
    if config.batch % ranks.count:
        raise InputError(f"train.batch is {config.batch}, which {ranks.count} processes cannot share evenly")
    samples = sampler(library, replace(config, batch=config.batch // ranks.count))
    first, end = (step * config.accumulate * ranks.count for step in (run.step, config.steps))
    # A CPU that trains has no core to spare; a GPU waits for whoever feeds it.
    threads = 1 if ranks.device.type == "cpu" else 4
    return prefetch(samples.batch, range(first + ranks.rank, end, ranks.count), threads=threads)


def train_step(
    task: Task[ModelT, ConfigT], run: Run[ModelT, ConfigT], batches: Iterator[Batch], ranks: Ranks
) -> dict[str, float]:
    """One optimiser step over `accumulate` batches; means of the losses, and the gradient's norm, by name."""
    config = run.config
    for group in run.optimizer.param_groups:
        group["lr"] = run.rate() * group["factor"]
    torch.manual_seed((config.seed << 40) + (run.step << 8) + ranks.rank)  # for the noise of quantisation
    run.model.train()
    sums: dict[str, Tensor] = {}
    for number in range(config.accumulate):
        rng = np.random.default_rng((config.seed, 2, run.step, number, ranks.rank))
        parts = task.losses(run, next(batches).to(ranks.device), rng)
        torch.autograd.backward(parts["loss"] / config.accumulate)
        for name, value in parts.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() / config.accumulate
    norm = _update(run, list(sums.values()), ranks)
    return {name: float(value) for name, value in (sums | {"gradient": norm}).items()}


def _update(run: Run[ModelT, ConfigT], measured: list[Tensor], ranks: Ranks) -> Tensor:
    """Average gradients, and what was measured, over ranks; then move the weights. The gradient's norm, a scalar."""
    trained = [p for p in run.model.parameters() if p.grad is not None]
    ranks.average([*(p.grad for p in trained if p.grad is not None), *measured])
    norm = torch.nn.utils.clip_grad_norm_(trained, run.config.clip)
    if norm.isfinite():  # a sample whose tails overflow is not worth a run
        run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.step += 1
    run.update_average()
    return norm


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
