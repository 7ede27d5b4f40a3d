# SPDX-License-Identifier: MIT
"""Rate-distortion figures as the paper's Figs. 14 and 15: quality over bits per pixel, PSNR and MS-SSIM."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")  # figures go to files, on machines without a screen too
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import codec
from eval.command import make_folder
from eval.curves import MEASURES, Curves, average, curves
from eval.reference import Published, published

DRAWN = ("psnr_rgb", "ms_ssim")
AVERAGE = "average"
MARKERS = "osD^vP*X"
WIDEST = 4  # panels side by side


class Panel(NamedTuple):
    """One plot: curves by codec, and published points to draw beside them."""

    title: str
    measure: str
    found: Curves
    beside: Sequence[Published] = ()


def draw(rows: pd.DataFrame, folder: Path, *, each: bool = False, beside: bool = False) -> list[Path]:
    """Figures as PNG and PDF; the files written.

    A figure a class: its mean, then its sequences. One of the average over all sequences, with the classes' means if
    there are several. With `each` a figure a sequence too. `beside` adds what was published for a class.
    """
    make_folder(folder)
    styles = {name: number for number, name in enumerate(rows.codec.unique())}
    figures: dict[str, list[Panel]] = {}
    classes = {str(group): own for group, own in rows.groupby("sequence_class", sort=False)}
    for group, own in classes.items():
        titles = own.sequence.unique()
        means = [_mean_panel(f"{group}, mean", own, measure, beside) for measure in DRAWN] if len(titles) > 1 else []
        panels = means + [Panel(Path(s).stem, m, curves(own, s, m)) for m in DRAWN for s in titles]
        figures[group] = sorted(panels, key=lambda panel: DRAWN.index(panel.measure))
        if each:
            figures |= {Path(s).stem: [Panel("", m, curves(own, s, m)) for m in DRAWN] for s in titles}
    if rows.sequence.nunique() > 1:
        figures[AVERAGE] = _average(classes, rows, beside)
    written: list[Path] = []
    for name, panels in figures.items():
        if drawn := [panel for panel in panels if panel.found]:
            written += _figure(name, drawn, styles, folder)
    return written


def _average(classes: Mapping[str, pd.DataFrame], rows: pd.DataFrame, beside: bool) -> list[Panel]:
    panels = []
    for measure in DRAWN:
        panels.append(_mean_panel("all sequences" if len(classes) > 1 else "", rows, measure, beside))
        if len(classes) > 1:
            panels += [_mean_panel(group, own, measure, beside) for group, own in classes.items()]
    return panels


def _mean_panel(title: str, rows: pd.DataFrame, measure: str, beside: bool) -> Panel:
    found = published(set(rows.sequence_class), measure) if beside else ()
    return Panel(title, measure, average(rows, measure), found)


def _figure(name: str, panels: Sequence[Panel], styles: Mapping[str, int], folder: Path) -> list[Path]:
    """PSNR in the upper rows, MS-SSIM below; side by side if there is one panel of each."""
    most = max(sum(panel.measure == measure for panel in panels) for measure in DRAWN)
    columns = len(panels) if most == 1 else min(most, WIDEST)
    cells: list[Panel | None] = []
    for measure in DRAWN:
        own: list[Panel | None] = [panel for panel in panels if panel.measure == measure]
        cells += own if most == 1 else own + [None] * (-len(own) % columns)
    size = (6.4, 4.8) if most == 1 else (4.6, 3.8)
    lines = math.ceil(len(cells) / columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(size[0] * columns, size[1] * lines), squeeze=False, layout="constrained"
    )
    for axis, cell in zip(axes.flat, cells, strict=True):
        if cell is None:
            axis.set_axis_off()
        else:
            _plot(axis, cell, styles)
    figure.suptitle(name)
    return saved(figure, folder, re.sub(r"[^-\w.]+", "_", name))


def saved(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write a figure of pyplot as PNG and PDF, and close it; the files written. OutputError."""
    paths = [folder / f"{stem}.{suffix}" for suffix in ("png", "pdf")]
    for path in paths:
        with codec.replacing(path) as file:
            figure.savefig(file, format=path.suffix[1:], dpi=120)
    plt.close(figure)
    return paths


def _plot(axis: Axes, panel: Panel, styles: Mapping[str, int]) -> None:
    for name, points in panel.found.items():
        style, number = "-" if name.startswith("ncm-") else "--", styles[name]
        marker = MARKERS[number % len(MARKERS)]
        axis.plot(*zip(*points, strict=True), style, marker=marker, color=f"C{number % 10}", label=name)
    for entry in panel.beside:
        axis.plot(*zip(*entry.points, strict=True), ":", marker="o", fillstyle="none", label=entry.label)
    axis.set(xlabel="bits per pixel", ylabel=MEASURES[panel.measure])
    axis.set_title(panel.title, fontsize="small")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
