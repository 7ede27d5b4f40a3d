# SPDX-License-Identifier: MIT
"""Results of frame interpolation as Markdown: the paper's tables with our rows under them, then every other data set.

Source: Jia 2022, "Neighbor Correspondence Matching for Flow-based Video Frame Synthesis", tables 1, 2 and 5. Figures
are PSNR/SSIM, then the runtime of a frame of 480 and of 1080 lines in ms and the parameters in millions; * marks what
its authors copied from the original papers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from eval.tables import markdown, table_of

INTERPOLATION = """
DAIN       26.78/0.8065 39.73/0.9902 35.46/0.9780 30.17/0.9335 25.09/0.8584 34.99/0.9683 34.71/0.9756 32.42/0.9300 130* - 24.0*
AdaCoF     23.90/0.7271 39.80/0.9900 35.05/0.9754 29.46/0.9244 24.31/0.9439 34.90/0.9680 34.47/0.9730 31.70/0.9288 36 210 21.8
XVFI       30.12/0.8704 39.92/0.9902 35.37/0.9777 29.57/0.9272 24.17/0.8448 35.18/0.9685 35.07/0.9756 32.77/0.9363 60 398 5.7
SoftSplat  - - - - - 35.39/0.9700 36.10/0.9800 - 135* - 7.7*
BMBC       29.35/0.8791 39.90/0.9902 35.31/0.9774 29.33/0.9270 23.92/0.8432 35.15/0.9689 35.01/0.9764 32.57/0.9374 894 5787 11.0
ABME       30.16/0.8793 39.59/0.9901 35.77/0.9789 30.58/0.9364 25.42/0.8639 35.38/0.9698 36.18/0.9805 33.30/0.9425 226 1386 17.6
RIFE       29.14/0.8765 40.02/0.9905 35.73/0.9787 30.08/0.9328 24.82/0.8530 35.28/0.9690 35.61/0.9779 32.95/0.9398 12 56 10.1
RIFE-Large 28.94/0.8721 40.23/0.9907 35.86/0.9792 30.19/0.9332 24.81/0.8540 35.41/0.9700 36.13/0.9800 33.08/0.9399 54 350 10.1
NCM-Base   31.63/0.9185 39.98/0.9903 35.94/0.9788 30.72/0.9359 25.55/0.8624 35.36/0.9695 35.88/0.9795 33.58/0.9478 38 82 12.1
NCM-Large  31.86/0.9225 40.14/0.9905 36.12/0.9793 30.88/0.9370 25.70/0.8647 35.43/0.9700 36.22/0.9807 33.76/0.9492 122 419 12.1
"""  # noqa: E501
EXTRAPOLATION = """
DVF        19.18/0.6879 25.39/0.8728 23.30/0.8279 21.41/0.7798 19.49/0.7251 31.29/0.9433 26.21/0.8815 23.75/0.8169 40 256 3.8
RIFE       26.34/0.8456 36.76/0.9821 32.31/0.9566 27.10/0.8880 22.59/0.8061 31.69/0.9441 31.68/0.9580 29.78/0.9115 12 56 10.1
RIFE-Large 21.85/0.8014 33.02/0.9501 29.83/0.9274 25.78/0.8666 22.10/0.7941 31.78/0.9447 32.07/0.9611 28.06/0.8922 54 350 10.1
NCM-Base   27.69/0.8694 36.46/0.9814 32.21/0.9557 27.28/0.8881 22.84/0.8090 31.72/0.9444 31.84/0.9595 30.01/0.9154 38 82 12.1
NCM-Large  28.05/0.8786 36.40/0.9814 32.24/0.9561 27.41/0.8895 23.00/0.8120 31.81/0.9449 32.10/0.9614 30.14/0.9177 122 419 12.1
"""  # noqa: E501
WITHOUT_DIRTY = """
RIFE       35.56/0.9745 31.95/0.9536
RIFE-Large 35.67/0.9752 32.06/0.9545
NCM-Base   35.64/0.9752 31.98/0.9541
NCM-Large  35.75/0.9757 32.08/0.9548
"""


class Benchmark(NamedTuple):
    """A column of the paper's tables, our name for it, and its number of clips."""

    title: str
    dataset: str
    clips: int


BENCHMARKS = (
    Benchmark("X4K1000FPS", "x4k", 15),
    Benchmark("SNU-FILM Easy", "snu-film-easy", 310),
    Benchmark("Medium", "snu-film-medium", 310),
    Benchmark("Hard", "snu-film-hard", 310),
    Benchmark("Extreme", "snu-film-extreme", 310),
    Benchmark("UCF101", "ucf101", 379),
    Benchmark("Vimeo90K", "vimeo", 3782),
)
REST = ("Average", "480p (ms)", "1080p (ms)", "Parameters (M)")
CLEAN_UCF101 = Benchmark("UCF101 without dirty", "ucf101-without-dirty", 281)
SETTINGS = ("interpolation", "extrapolation")
FIGURES = ["psnr", "ssim"]
LONGEST_LIST = 40  # clips; of more only the mean is shown


@dataclass(frozen=True)
class Row:
    """One clip by one model; `fingerprint` tells the states of a model in training apart.

    `setting` is "interpolation" or "extrapolation" for the data sets of the tables, and how it was done for others.
    """

    dataset: str
    setting: str
    clip: str
    model: str
    fingerprint: str
    triplets: int
    psnr: float
    ssim: float


def report(rows: Sequence[Row]) -> str:
    """Markdown of all results: tables 1, 2 and 5 of the paper with our rows, then a table for every other data set."""
    table = table_of(rows, Row)
    sections = {
        "Interpolation, PSNR/SSIM (paper, table 1)": _benchmarks(table, "interpolation", INTERPOLATION),
        "Extrapolation, PSNR/SSIM (paper, table 2)": _benchmarks(table, "extrapolation", EXTRAPOLATION),
        "UCF101 without the dirty triplets, PSNR/SSIM (paper, table 5)": _without_dirty(table),
    }
    others = table[~table.setting.isin(SETTINGS)]
    for (dataset, setting), own in others.groupby(["dataset", "setting"], sort=False):
        sections[f"{dataset}: {setting}, PSNR/SSIM"] = _clips(own)
    return "\n\n".join(f"### {title}\n\n{body}" for title, body in sections.items())


def _benchmarks(rows: pd.DataFrame, setting: str, published: str) -> str:
    """A table of the paper, and a line for each of our models that has any of its data sets."""
    head = ["Model", *(benchmark.title for benchmark in BENCHMARKS), *REST]
    lines = _lines(published)
    complete = {benchmark.dataset: benchmark.clips for benchmark in BENCHMARKS}
    for label, own in _by_model(rows[(rows.setting == setting) & rows.dataset.isin(complete)]):
        means = own.groupby("dataset")[FIGURES].mean().reindex(list(complete))
        cells = [_cell(own[own.dataset == dataset], clips) for dataset, clips in complete.items()]
        lines.append([f"**{label}**", *cells, _text(means.mean(skipna=False)), *["-"] * (len(REST) - 1)])
    return markdown(pd.DataFrame(lines, columns=head))


def _without_dirty(rows: pd.DataFrame) -> str:
    """The paper's table of the cleaned UCF101, and a line for each of our models that has it."""
    lines = _lines(WITHOUT_DIRTY)
    for label, own in _by_model(rows[rows.dataset == CLEAN_UCF101.dataset]):
        cells = [_cell(own[own.setting == setting], CLEAN_UCF101.clips) for setting in SETTINGS]
        lines.append([f"**{label}**", *cells])
    return markdown(pd.DataFrame(lines, columns=["Model", *(setting.capitalize() for setting in SETTINGS)]))


def _clips(rows: pd.DataFrame) -> str:
    """A line a clip, a column a model, the mean over the clips that all models have below."""
    models = {label: own.groupby("clip", sort=False)[FIGURES].mean() for label, own in _by_model(rows)}
    common = pd.concat(models, axis=1).dropna()
    few = len(common) <= LONGEST_LIST
    common.loc[f"**mean of {len(common)}**"] = common.mean()
    shown = common if few else common[-1:]
    text = pd.DataFrame({label: shown[label].apply(_text, axis=1) for label in models})
    return markdown(text.rename_axis("clip").reset_index())


def _lines(published: str) -> list[list[str]]:
    """The cells of a table of the paper."""
    return [line.split() for line in published.strip().splitlines()]


def _by_model(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each model by a label, its name, with the fingerprint where that alone tells two apart."""
    twins = rows.groupby("model").fingerprint.nunique() > 1
    for key, own in rows.groupby(["model", "fingerprint"], sort=False):
        name, mark = map(str, key)
        yield f"{name}@{mark[:8]}" if twins[name] else name, own


def _cell(rows: pd.DataFrame, complete: int) -> str:
    """A data set's mean; the number of clips behind it, if that is not all of them."""
    return _text(rows[FIGURES].mean()) + (f" ({len(rows)} clips)" if 0 < len(rows) != complete else "")


def _text(figures: pd.Series) -> str:
    """PSNR/SSIM, '-' if they are not known."""
    return "-" if figures.isna().any() else f"{figures.psnr:.2f}/{figures.ssim:.4f}"
