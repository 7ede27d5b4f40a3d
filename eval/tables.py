# SPDX-License-Identifier: MIT
"""Results as CSV files of dataclasses, and as Markdown."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The rows of a results file; the fields of `kind` are of types that a string converts to."""
    kinds = {field.name: field.type for field in fields(kind)}
    with path.open(newline="") as file:
        return [kind(**{k: kinds[k](v) for k, v in line.items()}) for line in csv.DictReader(file)]  # type: ignore


def write_rows(path: Path, rows: Sequence[R]) -> None:
    """Write a results file whole: beside first, then renamed."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    part.replace(path)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])
