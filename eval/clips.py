# SPDX-License-Identifier: MIT
"""What scripts share that measure every clip of a folder: a run that can be resumed, and a table of its rows."""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track

import codec
import ncm
from eval.command import check_output
from eval.sequences import distinct, videos
from eval.tables import read_rows, some_rows, write_rows

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
Commands = Any  # what argparse's add_subparsers returns


def add_run(commands: Commands, action: Callable[[argparse.Namespace], None], what: str) -> argparse.ArgumentParser:
    """The command `run`, with the clips and the CSV as options; its parser, for others."""
    parser: argparse.ArgumentParser = commands.add_parser("run", help=f"{what}; clips already in the CSV are kept")
    parser.add_argument("--root", type=Path, required=True, help="a folder of videos, or one")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")
    parser.set_defaults(action=action)
    return parser


def add_table(commands: Commands, kind: type[R], report: Callable[[Sequence[R]], str]) -> None:
    """The command `table`, which prints a report of the rows in a CSV."""
    parser = commands.add_parser("table", help="the results as Markdown")
    parser.add_argument("results", type=Path)
    parser.set_defaults(action=lambda arguments: print(report(some_rows(arguments.results, kind))))


def network_for(task: str, name: str, device: torch.device) -> ncm.FrameSynthesis:
    """The network of a model. CodecError if it is missing or made for another task."""
    network = codec.load_model(name, device).network
    if network.config.task != task:
        raise codec.InputError(f"model {name}: is made for {network.config.task}, not for {task}; give another")
    return network


def made_by(methods: Collection[str]) -> Callable[[Sequence[Any]], bool]:
    """Whether rows of a clip are of all these methods, for `measure_clips`."""
    return lambda rows: {row.method for row in rows} >= set(methods)


def measure_clips(
    root: Path,
    output: Path,
    kind: type[R],
    measure: Callable[[Path], Sequence[R]],
    alike: Callable[[Sequence[R]], bool],
    options: str,
) -> None:
    """Measure every clip that the CSV has no rows of, and write it anew after each. CodecError.

    `options` stand in every row. InputError if the rows that it has of a clip are not `alike` what this run makes, or
    were made by others; older rows do not say.
    """
    check_output(output)
    rows: list[Any] = read_rows(output, kind) if output.exists() else []
    paths = []
    for path in distinct(videos(root)):
        own = [row for row in rows if row.clip == path.name]
        if own and not (alike(own) and {row.options for row in own} <= {"", options}):
            raise codec.InputError(f"{output}: it holds {path.name} by other options; give another file with -o")
        paths += [] if own else [path]
    for path in track(paths, console=Console(stderr=True), disable=not sys.stderr.isatty()):
        with torch.inference_mode():
            rows += [replace(row, options=options) for row in measure(path)]
        write_rows(output, rows)
