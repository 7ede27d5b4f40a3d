# SPDX-License-Identifier: MIT
"""Tables of BD-rates: by sequence, by class, and the savings at one quality that the paper quotes.

A class has two figures, and they differ: the mean of its sequences' BD-rates, and the BD-rate of its mean curves.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

import codec
from eval import tables
from eval.bdrate import METHODS, bd_quality, bd_rate, rate_at
from eval.curves import Curves, average, curves

MEAN, MEAN_CURVE = "mean", "mean curve"
LEAST_OVERLAP = 0.5
SAVINGS = (("psnr_rgb", 32.0), ("psnr_rgb", 34.0), ("ms_ssim", 0.9650))  # the paper's, section 5


@dataclass(frozen=True)
class Comparison:
    """A codec against a reference: BD-rate in %, BD-quality in the measure's unit, and the range both curves cover."""

    sequence_class: str
    sequence: str
    codec: str
    reference: str
    measure: str
    bd_rate_akima: float
    bd_rate_pchip: float
    bd_quality_akima: float
    bd_quality_pchip: float
    low: float
    high: float
    overlap: float


def references(names: Iterable[str], reference: str | None) -> dict[str, str]:
    """What each codec is measured against: the one named, or the encoder under it. InputError if that has no rows."""
    names = list(dict.fromkeys(names))
    if reference is not None:
        if reference not in names:
            raise codec.InputError(f"codec {reference!r}: no rows of it; there are {', '.join(names)}")
        return {name: reference for name in names if name != reference}
    return {name: name.rpartition("@")[2] for name in names if "@" in name}


def compare(rows: pd.DataFrame, pairs: Mapping[str, str], measure: str) -> list[Comparison]:
    """Every codec of `pairs` against its reference, by sequence, then by the mean curves of each class."""
    found = []
    for group, own in rows.groupby("sequence_class", sort=False):
        for sequence in own.sequence.unique():
            found += _of_curves(str(group), sequence, curves(own, sequence, measure), pairs, measure)
        for name, other in pairs.items():
            both = average(own[own.codec.isin([name, other])], measure)
            found += _of_curves(str(group), MEAN_CURVE, both, {name: other}, measure)
    return found


def _of_curves(group: str, title: str, found: Curves, pairs: Mapping[str, str], measure: str) -> list[Comparison]:
    comparisons = []
    for name, other in pairs.items():
        if name not in found or other not in found:
            continue
        ours, theirs = found[name], found[other]
        try:
            akima, pchip = (bd_rate(theirs, ours, method=method) for method in METHODS)
        except ValueError:  # too few points, or nothing in common
            continue
        gain, other_gain = (_bd_quality(theirs, ours, method) for method in METHODS)
        values = (akima.percent, pchip.percent, gain, other_gain, akima.low, akima.high, akima.overlap)
        comparisons.append(Comparison(group, title, name, other, measure, *values))
    return comparisons


def _bd_quality(reference: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], method: str) -> float:
    try:
        return bd_quality(reference, test, method=method)
    except ValueError:
        return math.nan


def overview(comparisons: Sequence[Comparison], pairs: Mapping[str, str]) -> pd.DataFrame:
    """A line a sequence, a column a codec, BD-rate in %; below each class both its figures, below all the mean."""
    found = tables.table_of(comparisons, Comparison)
    found["text"] = [f"{c.bd_rate_akima:+.1f} %{_mark(c)}" for c in comparisons]
    several = found.sequence_class.nunique() > 1
    parts = []
    for group, own in found.groupby("sequence_class", sort=False):
        label = f"{group}: " if several else ""
        names = {title: f"**{label}{title}**" for title in (MEAN, MEAN_CURVE)}
        cells = own.pivot(index="sequence", columns="codec", values="text")
        cells.loc[MEAN] = _means(own)
        titles = [title for title in own.sequence.unique() if title != MEAN_CURVE]
        parts.append(cells.reindex([*titles, *names]).rename(names))
    if several:
        parts.append(_means(found).to_frame("**mean of all sequences**").T)
    head = {name: f"{name} against {other}" for name, other in pairs.items()}
    cells = pd.concat(parts).reindex(columns=list(head)).fillna("-").rename(columns=head)
    return cells.rename_axis(index="sequence", columns=None).reset_index()


def _mark(comparison: Comparison) -> str:
    """A star where the curves hardly overlap."""
    return "*" if comparison.overlap < LEAST_OVERLAP else ""


def _means(found: pd.DataFrame) -> pd.Series:
    """By codec, the mean of its sequences' BD-rates as text."""
    return found[found.sequence != MEAN_CURVE].groupby("codec").bd_rate_akima.mean().map("{:+.1f} %".format)


def details(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A line a comparison: both interpolations, BD-PSNR, the common range and its share."""
    digits = 4 if comparisons and comparisons[0].measure == "ms_ssim" else 2
    return pd.DataFrame(
        {
            "sequence": f"{c.sequence_class}: {c.sequence}" if c.sequence == MEAN_CURVE else c.sequence,
            "codec": c.codec,
            "reference": c.reference,
            "BD-rate akima": f"{c.bd_rate_akima:+.2f} %",
            "BD-rate pchip": f"{c.bd_rate_pchip:+.2f} %",
            "BD-quality akima": f"{c.bd_quality_akima:+.{digits + 1}f}",
            "BD-quality pchip": f"{c.bd_quality_pchip:+.{digits + 1}f}",
            "common range": f"{c.low:.{digits}f} to {c.high:.{digits}f}",
            "overlap": f"{c.overlap:.2f}{_mark(c)}",
        }
        for c in comparisons
    )


def warnings(comparisons: Iterable[Comparison]) -> list[str]:
    """A line for every figure that means little, as the curves hardly overlap."""
    return [
        f"{c.sequence}, {c.codec} against {c.reference}: the curves share {c.overlap:.0%} of their range in "
        f"{c.measure} ({c.low:.4g} to {c.high:.4g}), less than half; add rate points"
        for c in comparisons
        if c.overlap < LEAST_OVERLAP
    ]


def savings(rows: pd.DataFrame, pairs: Mapping[str, str]) -> pd.DataFrame:
    """Bits of the mean curves of each class at single qualities, as the paper quotes them; '-' where one ends."""
    head = [f"{measure} {quality:g}" for measure, quality in SAVINGS]
    lines = []
    for group, own in rows.groupby("sequence_class", sort=False):
        for name, other in pairs.items():
            both = own[own.codec.isin([name, other])]
            cells = [_saving(average(both, measure), name, other, quality) for measure, quality in SAVINGS]
            if any(cell != "-" for cell in cells):
                lines.append([group, name, other, *cells])
    return pd.DataFrame(lines, columns=["class", "codec", "reference", *head])


def _saving(found: Curves, name: str, other: str, quality: float) -> str:
    if name not in found or other not in found:
        return "-"
    before, after = rate_at(found[other], quality), rate_at(found[name], quality)
    if before is None or after is None:
        return "-"
    return f"{before:.4f} -> {after:.4f} bpp ({100 * (after / before - 1):+.1f} %)"
