# SPDX-License-Identifier: MIT
"""Rate-distortion figures as the paper's Figs. 14 and 15: quality over bits per pixel, a panel a measure."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import matplotlib

matplotlib.use("Agg")  # figures go to files, on machines without a screen too
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from eval.rd_curves import Row

MEASURES = {"psnr_rgb": "PSNR RGB (dB)", "ms_ssim": "MS-SSIM"}
AVERAGE = "average"
MARKERS = "osD^vP*X"


class Point(NamedTuple):
    """One rate point of one codec."""

    bpp: float
    quality: float


def curves(rows: Sequence["Row"], sequence: str, measure: str) -> dict[str, list[Point]]:
    """By codec, the points of a sequence in order of rate; those without the measure (NaN) are left out."""
    found: dict[str, list[Point]] = {}
    for row in rows:
        value = getattr(row, measure)
        if row.sequence == sequence and value == value:
            found.setdefault(row.codec, []).append(Point(row.bpp, value))
    return {name: sorted(points) for name, points in found.items()}


def average(rows: Sequence["Row"], measure: str) -> dict[str, list[Point]]:
    """By codec, the mean over sequences of each of its rate points, as the papers draw a class.

    Only sequences that every codec has with all its rate points count.
    """
    names = dict.fromkeys(row.codec for row in rows)
    points = {name: dict.fromkeys(row.crf for row in rows if row.codec == name) for name in names}
    table = {(row.sequence, row.codec, row.crf): row for row in rows if getattr(row, measure) == getattr(row, measure)}
    common = [
        sequence
        for sequence in dict.fromkeys(row.sequence for row in rows)
        if all((sequence, name, crf) in table for name in names for crf in points[name])
    ]
    if not common:
        return {}

    def mean(name: str, crf: float) -> Point:
        chosen = [table[sequence, name, crf] for sequence in common]
        return Point(fmean(row.bpp for row in chosen), fmean(getattr(row, measure) for row in chosen))

    return {name: sorted(mean(name, crf) for crf in points[name]) for name in names}


def draw(rows: Sequence["Row"], folder: Path) -> list[Path]:
    """A figure a sequence, and one of the average, as PNG and PDF; the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    sequences = dict.fromkeys(row.sequence for row in rows)
    for title in (*sequences, *([AVERAGE] if len(sequences) > 1 else [])):
        panels = {m: average(rows, m) if title == AVERAGE else curves(rows, title, m) for m in MEASURES}
        panels = {measure: found for measure, found in panels.items() if found}
        if panels:
            written += _figure(title, panels, folder)
    return written


def _figure(title: str, panels: dict[str, dict[str, list[Point]]], folder: Path) -> Iterable[Path]:
    figure, axes = plt.subplots(1, len(panels), figsize=(6.4 * len(panels), 4.8), squeeze=False, layout="constrained")
    for axis, (measure, found) in zip(axes[0], panels.items(), strict=True):
        for number, (name, points) in enumerate(found.items()):
            style = "-" if name.startswith("ncm-") else "--"
            axis.plot(*zip(*points, strict=True), style, marker=MARKERS[number % len(MARKERS)], label=name)
        axis.set(xlabel="bits per pixel", ylabel=MEASURES[measure])
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(title)
    paths = [folder / f"{Path(title).stem}.{suffix}" for suffix in ("png", "pdf")]
    for path in paths:
        figure.savefig(path, dpi=120)
    plt.close(figure)
    return paths
