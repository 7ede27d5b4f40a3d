# SPDX-License-Identifier: MIT
"""The command `codec train`. Nothing here loads torch before a command needs it."""

import argparse
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..values import parse_count
from .tasks import TASKS, Listed

GIVEN = ("init", "steps", "base", "slope")  # options that go before what the recipe says


def add_train(parser: argparse.ArgumentParser) -> None:
    """Add a command for each task, and those that stand beside them; each sets `command`, which returns a status."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, task in TASKS.items():
        what = f"train {task.help}, or go on with a run"
        _add_task(commands.add_parser(name, aliases=task.aliases, help=what), name, task)
    _add_export(commands.add_parser("export", help="write a run's averaged weights as a model"))
    _add_tables(commands.add_parser("tables", help="write a B-frame model with tables by what streams of it hold"))
    _add_decode_passes(commands.add_parser("decode-passes", help="code a training cache, and keep what is decoded"))


def _add_task(parser: argparse.ArgumentParser, name: str, task: Listed) -> None:
    add, tables = parser.add_argument, ", ".join(f"[{table}]" for table in task.tables)
    recipe, run = task.recipe or name, Path("runs") / name
    what = f"the recipe: a TOML file with {tables}, or the name of one that ships (default {recipe})"
    add("--config", default=recipe, metavar="RECIPE", help=what)
    clips = "folders of clips, decoded once into RUN/../cache"
    add("--data", type=Path, required=True, nargs="+", metavar="DIR", help=clips)
    what = f"checkpoint, log and best weights; resumed if it has a checkpoint (default {run})"
    add("--run", type=Path, default=run, metavar="DIR", help=what)
    add("--init", default="", metavar="MODEL", help="weights to start from, by name or .safetensors file")
    if task.base:
        add("--base", default="", metavar="MODEL", help=f"{task.base}, not the recipe's")
    if task.rates:
        add("--lambda", dest="slope", type=_slope, metavar="L", help="one rate: L * MSE + bits per pixel")
    add("--steps", type=_count, metavar="N", help="optimiser steps, instead of the recipe's")
    add("--threads", type=_count, metavar="N", help="CPU threads a process")
    _add_device(parser)
    parser.set_defaults(command=_train, task=name)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="folder of the run")
    _add_output(parser)
    parser.set_defaults(command=_export)


def _add_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("streams", type=Path, nargs="+", metavar="STREAM", help=".ncm files of that model")
    _add_output(parser)
    _add_device(parser)
    parser.set_defaults(command=_tables)


def _add_decode_passes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="training cache, as a run makes it")
    parser.add_argument("--passes", type=_count, default=2, metavar="N", help="versions of every clip in all (2)")
    what = "code the missing versions by stronger encoders, half of the clips without leaving pictures out"
    parser.add_argument("--strong", action="store_true", help=what)
    parser.set_defaults(command=_decode_passes)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".safetensors file to write")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps, ...")


def _count(text: str) -> int:
    try:
        return parse_count(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _slope(text: str) -> float:
    try:
        slope = float(text)
    except ValueError:
        slope = math.nan
    if not 0 < slope < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return slope


def _train(arguments: argparse.Namespace) -> int:
    """Train; the log goes to standard output."""
    import logging

    import torch

    from ..device import choose_device
    from .loop import train

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    given: dict[str, Any] = {name: value for name, value in vars(arguments).items() if name in GIVEN}
    device = choose_device(arguments.device)
    train(arguments.task, arguments.config, arguments.data, arguments.run, device=device, **given)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from .loop import export_run

    export_run(arguments.run, arguments.output)
    return 0


def _tables(arguments: argparse.Namespace) -> int:
    from ..progress import quiet
    from ..progress_bar import progress_bar
    from .tables import fit_tables

    with progress_bar("counting") if sys.stderr.isatty() else nullcontext(quiet) as progress:
        count = fit_tables(arguments.streams, arguments.output, device=arguments.device, progress=progress)
    print(f"tables of {count} B-frames")
    return 0


def _decode_passes(arguments: argparse.Namespace) -> int:
    from .decoded import build_passes

    build_passes(arguments.cache, arguments.passes, strong=arguments.strong)
    return 0
