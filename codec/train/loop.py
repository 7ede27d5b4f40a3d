# SPDX-License-Identifier: MIT
"""Train a frame-synthesis network.

    python -m codec.train.loop --config configs/base.toml --data CLIPS --run runs/base

A run is a folder: checkpoint.pt (resumed if there), log.csv, best.safetensors (the best validated weights so far).
"""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncm import FrameSynthesis
from ncm.estimator import CoarseToFine
from ncm.network import blend_of, time_plane

from ..errors import CodecError, InputError
from .config import TrainConfig, load_config
from .data import Corpus, build_cache
from .losses import distillation, reconstruction
from .sampling import Batch, Sampler, prefetch
from .state import CHECKPOINT, TrainState, export, resume, save, start
from .watch import Watch

log = logging.getLogger(__name__)


def train_ncm(config: TrainConfig, corpus: Corpus, run: Path, *, device: torch.device) -> TrainState:
    """Train until config.steps, from the run's checkpoint if it has one; Ctrl-C or SIGTERM saves and returns."""
    run.mkdir(parents=True, exist_ok=True)
    state = _resume(config, run, device) if (run / CHECKPOINT).exists() else start(config, corpus.describe(), device)
    config = state.config
    log.info("%s, step %d: %s", run, state.step, config)
    watch = Watch(state, corpus, run, device)
    numbers = range(state.step * config.accumulate, config.steps * config.accumulate)
    # A CPU that trains has no core to spare; a GPU waits for whoever feeds it.
    batches = prefetch(Sampler(corpus, config).batch, numbers, threads=1 if device.type == "cpu" else 4)
    if state.step == 0:
        watch.validate()
    with _stop_between_steps() as stop:
        while state.step < config.steps and not stop.is_set():
            watch.after_step(train_step(state, batches, device))
        save(state, run)
    if state.step == config.steps:
        watch.validate()
        save(state, run)
    return state


def train_step(state: TrainState, batches: Iterator[Batch], device: torch.device) -> dict[str, float]:
    """One optimiser step over `accumulate` batches; the losses, and the gradient's norm before clipping, by name."""
    config, model = state.config, state.model.train()
    if config.coarse_ratios:
        rng = np.random.default_rng((config.seed, state.step, 1))
        model.flow.config = replace(config.model, coarse_ratio=float(rng.choice(config.coarse_ratios)))
    for group in state.optimizer.param_groups:
        group["lr"] = state.rate() * group["factor"]
    sums: dict[str, float] = {}
    for _ in range(config.accumulate):
        losses = objective(model, next(batches).to(device), config)
        torch.autograd.backward(losses["loss"] / config.accumulate)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach()) / config.accumulate
    sums["gradient"] = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip))
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    state.update_average()
    return sums


def objective(model: FrameSynthesis, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """The paper's equation 8 for one batch: "loss" and the parts that it was made of."""
    past, target, future, at, noise = batch
    with torch.autocast(past.device.type, torch.bfloat16, enabled=config.bf16):
        frame, steps = model(past, future, at, noise)
        if config.supervise == "coarse":
            steps = steps[: config.model.coarse_blocks]
            frame = blend_of(past, future, steps[-1])
        parts = {"student": reconstruction(frame, target, config.loss)}
        loss = parts["student"]
        if config.teacher:
            assert isinstance(model.flow, CoarseToFine)  # checked in TrainConfig
            taught = model.flow.teach(past, future, time_plane(past, at), steps[-1], target)
            parts["teacher"] = reconstruction(blend_of(past, future, taught), target, config.loss)
            parts["distillation"] = distillation(steps, taught, past, future, target)
            loss = loss + config.teacher * parts["teacher"] + config.distillation * parts["distillation"]
    return {"loss": loss, **parts}


def _resume(config: TrainConfig, run: Path, device: torch.device) -> TrainState:
    """The run's last checkpoint; of the given config only the number of steps counts."""
    state = resume(run, device)
    state.config = replace(state.config, steps=config.steps)
    if changed := [key for key, value in vars(config).items() if value != getattr(state.config, key)]:
        log.warning("%s keeps the settings it began with; not used: %s", run, ", ".join(changed))
    return state


@contextmanager
def _stop_between_steps() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that no step is cut in half before it is saved."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def open_corpus(data: Path, cache: Path) -> Corpus:
    """The corpus of a folder: a cache itself, or clips that are decoded into `cache` the first time."""
    if (data / "index.json").exists():
        return Corpus(data)
    return Corpus(cache) if (cache / "index.json").exists() else build_cache(data, cache)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m codec.train.loop", description="Train a frame-synthesis network.")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; resumed if it has a checkpoint")
    parser.add_argument("--config", type=Path, help="TOML file with [model] and [train]")
    parser.add_argument("--data", type=Path, help="folder of clips (decoded into RUN/../cache once), or such a cache")
    parser.add_argument("--init", type=Path, help="safetensors to start from, instead of the config's")
    parser.add_argument("--steps", type=int, help="instead of the config's")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--export", type=Path, help="do not train: write the run's averaged weights to this file")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; its exit status."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    try:
        _run(args)
    except CodecError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _run(args: argparse.Namespace) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.export:
        export(resume(args.run, device), args.export)
        return
    if not (args.config and args.data):
        raise InputError("training needs --config and --data")
    config = load_config(args.config)
    config = replace(config, init=str(args.init or config.init), steps=args.steps or config.steps)
    train_ncm(config, open_corpus(args.data, args.run.parent / "cache" / args.data.name), args.run, device=device)


if __name__ == "__main__":
    sys.exit(main())
