# SPDX-License-Identifier: MIT
"""The frontier: BD-rate of every codec over the time that it takes, and which codecs no other beats at both."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

import codec
from eval.bdtable import MEAN_CURVE, compare, references
from eval.command import make_folder
from eval.curves import MEASURES
from eval.plots import saved

TIMES = {"encode": "encode_seconds", "decode": "decode_seconds"}  # each with its column of rows


def frontier(rows: pd.DataFrame, reference: str, measure: str) -> pd.DataFrame:
    """A line a codec: BD-rate in % against the reference, its own 0, and seconds a frame of encode and decode.

    All are means over the sequences that every codec can be compared on. `encode_best` and `decode_best` say that no
    codec is faster and saves more. InputError if there is no such sequence.
    """
    pairs = references(rows.codec, reference)
    found = pd.DataFrame(compare(rows, pairs, measure))
    if len(found):
        found = found[found.sequence != MEAN_CURVE]
        counts = found.groupby("sequence").codec.nunique()
        found = found[found.sequence.isin(counts[counts == len(pairs)].index)]
    if not len(found):
        raise codec.InputError(f"no sequence where every codec can be compared with {reference!r}; give --codecs fewer")
    rates = found.groupby("codec").bd_rate_akima.mean()
    rates[reference] = 0.0
    common = rows[rows.sequence.isin(found.sequence)]
    table = pd.DataFrame({"bd_rate": rates})
    for name, column in TIMES.items():
        seconds = common[column] / common.frames
        table[name] = seconds.groupby([common.codec, common.sequence]).mean().groupby("codec").mean()
        table[f"{name}_best"] = [_unbeaten(table, codec_name, name) for codec_name in table.index]
    return table.sort_values("encode").rename_axis("codec").reset_index()


def _unbeaten(table: pd.DataFrame, name: str, time: str) -> bool:
    """Whether no other codec is as fast and saves as much, and one of both more; not where the time is not known."""
    own = table.loc[name]
    if pd.isna(own[time]):
        return False
    as_good = (table.bd_rate <= own.bd_rate) & (table[time] <= own[time])
    better = (table.bd_rate < own.bd_rate) | (table[time] < own[time])
    return not (as_good & better).any()


def text_table(points: pd.DataFrame, reference: str, measure: str) -> pd.DataFrame:
    """The points as text; in **bold** the BD-rates of codecs, and the times, that no codec beats."""
    rates = points.bd_rate.map("{:+.1f} %".format)
    cells = {"codec": points.codec, f"BD-rate against {reference}, {MEASURES[measure]}": rates}
    for name in TIMES:
        seconds = points[name].map("{:.3f}".format).replace("nan", "-")
        cells[f"{name} (s a frame)"] = seconds.where(~points[f"{name}_best"], "**" + seconds + "**")
    return pd.DataFrame(cells)


def draw(points: pd.DataFrame, reference: str, measure: str, folder: Path) -> list[Path]:
    """The figure as PNG and PDF, BD-rate over both times; the files written."""
    make_folder(folder)
    figure, axes = plt.subplots(1, len(TIMES), figsize=(6.4 * len(TIMES), 4.8), layout="constrained")
    for axis, name in zip(axes, TIMES, strict=True):
        _plot(axis, points, name)
    axes[0].set_ylabel(f"BD-rate against {reference}, {MEASURES[measure]} (%)")
    return saved(figure, folder, f"frontier-{measure}")


def _plot(axis: Axes, points: pd.DataFrame, time: str) -> None:
    """BD-rate over one time: encoders alone, ours, and a line along the codecs that no other beats."""
    best = points[points[f"{time}_best"]].sort_values(time)
    axis.plot(best[time], best.bd_rate, "-", color="0.6", zorder=1)
    ours = points.codec.map(is_ours)
    for label, chosen, look in (("encoder alone", ~ours, "sC0"), ("ours", ours, "oC1")):
        axis.plot(points[time][chosen], points.bd_rate[chosen], look, label=label)
    for number, (_, own) in enumerate(points.sort_values("bd_rate").iterrows()):
        offset = (5, 4 if number % 2 else -9)  # above and below in turn: neighbours are not written over
        axis.annotate(own.codec, (own[time], own.bd_rate), offset, textcoords="offset points", fontsize="x-small")
    axis.set(xlabel=f"{time}, seconds a frame", xscale="log")
    axis.set_xlim(right=points[time].max() * (points[time].max() / points[time].min()) ** 0.25)  # room for names
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    axis.legend(loc="upper right", fontsize="small")


def is_ours(name: str) -> bool:
    """Whether a codec's B-frames or filter are of this project."""
    return name.startswith("ncm-") or ":filtered" in name
