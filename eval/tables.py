# SPDX-License-Identifier: MIT
"""Results as CSV files of dataclasses, and tables of text as Markdown, HTML and LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

import codec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The rows of a results file; the fields of `kind` are of types that a string converts to.

    Columns that the file lacks take their defaults, those that `kind` lacks are skipped. InputError if the file cannot
    be read, lacks a column without default, or holds a cell that makes no sense.
    """
    types: dict[Any, Any] = {field.name: field.type for field in fields(kind)}
    try:
        lines = pd.read_csv(path, converters=types, index_col=False).to_dict("records")
        if lines and (lacking := [name for name in _needed(kind) if name not in lines[0]]):
            raise ValueError(f"it lacks the columns {', '.join(lacking)}")
        return [kind(**{str(name): cell for name, cell in line.items() if name in types}) for line in lines]
    except (OSError, ValueError, TypeError) as err:
        raise codec.InputError(f"{path}: no results file ({str(err).strip()}); the command's `run` makes one") from err


def some_rows(path: Path, kind: type[R]) -> list[R]:
    """The rows of a results file as `read_rows` has them. InputError if there are none."""
    rows = read_rows(path, kind)
    if not rows:
        raise codec.InputError(f"{path}: there are no rows in it; the command's `run` makes some")
    return rows


def _needed(kind: type[R]) -> list[str]:
    """The fields without a default."""
    return [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]


def table_of(rows: Sequence[R], kind: type[R]) -> pd.DataFrame:
    """A line a row, a column a field, also if there are no rows."""
    return pd.DataFrame(list(rows), columns=[field.name for field in fields(kind)])


def write_rows(path: Path, rows: Sequence[R]) -> None:
    """Write a results file whole."""
    write_text(path, table_of(rows, type(rows[0])).to_csv(index=False, na_rep="nan", lineterminator="\n"))


def write_text(path: Path, text: str) -> None:
    """Write a file whole: beside first, then renamed."""
    with codec.replacing(path) as file:
        file.write(text.encode())


def markdown(table: pd.DataFrame) -> str:
    """A table of text in Markdown, its first column to the left and the others to the right."""
    head, *lines = (f"| {' | '.join(cells)} |" for cells in [table.columns, *table.to_numpy()])
    return "\n".join([head, "| --- |" + " ---: |" * (table.shape[1] - 1), *lines])


def html(table: pd.DataFrame) -> str:
    """A table of text in HTML; what is **bold** in Markdown is bold there too."""
    text = table.to_html(index=False, border=0, justify="unset").replace("-&gt;", "→")
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)


def latex(table: pd.DataFrame) -> str:
    """A table of text in LaTeX, for the package booktabs; what is **bold** in Markdown is bold there too."""
    columns = "l" + "r" * (table.shape[1] - 1)
    text = table.to_latex(index=False, escape=True, column_format=columns).replace("->", r"$\to$")
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text).rstrip()
