# SPDX-License-Identifier: MIT
"""Results as CSV files of dataclasses, and as Markdown."""

import csv
import html
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """The rows of a results file; the fields of `kind` are of types that a string converts to.

    Columns that the file lacks take their defaults, those that `kind` lacks are skipped. TypeError if a column without
    default is lacking, ValueError if a cell makes no sense.
    """
    kinds = {field.name: field.type for field in fields(kind)}
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [kind(**{k: kinds[k](v) for k, v in line.items() if k in kinds}) for line in lines]  # type: ignore


def write_rows(path: Path, rows: Sequence[R]) -> None:
    """Write a results file whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a file whole: beside first, then renamed."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


class Table(NamedTuple):
    """A table of text, for Markdown and LaTeX."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown."""
        return markdown(self.head, self.lines)

    def html(self) -> str:
        """The table in HTML."""
        head = "".join(f"<th>{_html(cell)}</th>" for cell in self.head)
        lines = ("".join(f"<td>{_html(cell)}</td>" for cell in line) for line in self.lines)
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    def latex(self) -> str:
        """The table in LaTeX, for the package booktabs."""
        columns = "l" + "r" * (len(self.head) - 1)
        head, *lines = (" & ".join(map(_latex, line)) + r" \\" for line in (self.head, *self.lines))
        body = [r"\toprule", head, r"\midrule", *lines, r"\bottomrule"]
        return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"])


def _html(cell: str) -> str:
    """A cell's text for HTML."""
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(cell).replace("-&gt;", "→"))


def _latex(cell: str) -> str:
    """A cell's text for LaTeX; what is **bold** in Markdown is bold there too."""
    text = re.sub(r"([%_&#$])", r"\\\1", cell).replace("->", r"$\to$")
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])
