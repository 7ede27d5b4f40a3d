# SPDX-License-Identifier: MIT
"""A report of results as one page that needs no other file and no network: page/ is its skeleton."""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import codec
from eval import bdtable, tables
from eval.curves import MEASURES, average, curves
from eval.pictures import Layers, data_url, decoded, frames_of, shown
from eval.rows import KEY
from eval.runs import stream_name
from eval.sequences import Clip

PAGE = Path(__file__).with_name("page")
TABLED = ("psnr_rgb", "ms_ssim")
SOURCE = "source"
UNKNOWN = {"kind": "", "bits": None, "psnr": None}  # of a frame that was not measured
COLUMNS = {
    "bytes": ("bytes", 0),
    "bpp": ("bpp", 4),
    "bpp I": ("bpp_i", 4),
    "bpp P": ("bpp_p", 4),
    "bpp B": ("bpp_b", 4),
    "PSNR Y": ("psnr_y", 2),
    "PSNR YUV": ("psnr_yuv", 2),
    "PSNR RGB": ("psnr_rgb", 2),
    "MS-SSIM": ("ms_ssim", 4),
    "XPSNR": ("xpsnr", 2),
    "VMAF": ("vmaf", 2),
    "encode (s)": ("encode_seconds", 1),
    "decode (s)": ("decode_seconds", 1),
}  # of the table of rate points: by title the column of a row, and its digits


def write_report(
    output: Path,
    rows: pd.DataFrame,
    frames: pd.DataFrame,
    *,
    pictures: Sequence[dict[str, Any]] = (),
    reference: str | None = None,
) -> None:
    """Write the page whole. OutputError if it cannot be written."""
    data = {
        "rows": _rows(rows),
        "measures": {measure: title for measure, title in MEASURES.items() if rows[measure].notna().any()},
        "curves": _curves(rows),
        "frames": _frames(rows, frames),
        "pictures": list(pictures),
        "conditions": _conditions(rows),
    }
    parts = {
        "@TITLE@": "Rate and distortion",
        "@STYLE@": (PAGE / "page.css").read_text(encoding="utf-8"),
        "@TABLES@": _tables(rows, reference),
        "@DATA@": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
        "@SCRIPT@": (PAGE / "page.js").read_text(encoding="utf-8"),
    }
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    for mark, text in parts.items():
        page = page.replace(mark, text)
    try:
        tables.write_text(output, page)
    except OSError as err:
        raise codec.OutputError(f"{output}: cannot be written ({err.strerror or err}); check the directory") from err


def collect(
    rows: pd.DataFrame,
    frames: pd.DataFrame,
    *,
    streams: Path,
    clips: Sequence[Clip],
    pocs: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Pictures of chosen frames of every sequence and rate point whose stream is kept, the source's with them.

    Without `pocs`, a B-frame in the middle of the first intra period and the frame after it. InputError if there is no
    stream.
    """
    found: list[dict[str, Any]] = []
    paths = {clip.title: clip for clip in clips}
    rows, frames = _for_page(rows), _for_page(frames).rename(columns={"psnr_rgb": "psnr"})
    rows = rows.loc[[(streams / name).exists() for name in rows.id]]
    for sequence, own in ((str(name), own) for name, own in rows.groupby("sequence", sort=False)):
        chosen = sorted(set(pocs or _middle(frames[frames.sequence == sequence])))
        matrix = own.rgb.iloc[0] or "bt709"
        if sequence in paths:
            with paths[sequence].open() as source:
                made = shown(frames_of(source, chosen), codec.Colour(matrix, source.info.colour.full_range))
            what = {"sequence": sequence, "codec": SOURCE, "row": None}
            found += [what | {"poc": poc} | UNKNOWN | _picture(made[poc]) for poc in made]
        for title, name in zip(own.codec, own.id, strict=True):
            known: Any = frames[frames.id == name].set_index("poc")[list(UNKNOWN)].to_dict("index")
            made = decoded(streams / name, chosen, matrix)
            what = {"sequence": sequence, "codec": title, "row": name}
            found += [what | {"poc": poc} | known.get(poc, UNKNOWN) | _picture(made[poc]) for poc in made]
    if not found:
        raise codec.InputError(f"{streams}: no streams of these rows there; make them with `run --keep {streams}`")
    return found


def _picture(layers: Layers) -> dict[str, Any]:
    """A frame's pictures for the page, and how to read them."""
    exact = ("decoded", "prediction")  # what is compared by eye must not be coded again
    urls = {layer: data_url(rgb, lossless=layer in exact) for layer, rgb in layers.pictures.items()}
    return {"layers": urls, "notes": layers.notes}


def _middle(frames: pd.DataFrame) -> list[int]:
    """The B-frame nearest to the middle of the first intra period, of any codec, and the frame after it."""
    later = frames.poc[(frames.kind == "I") & (frames.poc > 0)]
    last = int(later.min() - 1 if len(later) else max(frames.poc, default=0))
    bframes = sorted(set(frames.poc[(frames.kind == "B") & (frames.poc < last)]))
    middle = min(bframes, key=lambda poc: abs(poc - last / 2), default=last // 2)
    return [middle, min(middle + 1, last)]


def _for_page(table: pd.DataFrame) -> pd.DataFrame:
    """Rows or frames with the name of their stream as `id`, and None for NaN, which JSON does not have."""
    names = [stream_name(*key) for key in table[KEY].itertuples(index=False, name=None)]
    return table.assign(id=names).replace({math.nan: None})


def _rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """What the page knows of the rows."""
    table = _for_page(rows).rename(columns={"rate_option": "option"})
    lines: Any = table[["sequence", "codec", "crf", "bpp", "command", "id", "option"]].to_dict("records")
    return lines


def _curves(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The means of classes of several sequences, then every sequence."""
    classes = rows.groupby("sequence_class", sort=False)
    means = {f"{group}, mean": own for group, own in classes if own.sequence.nunique() > 1}
    found = [{"title": title, "curves": {m: average(own, m) for m in MEASURES}} for title, own in means.items()]
    for title in rows.sequence.unique():
        found.append({"title": title, "curves": {m: curves(rows, title, m) for m in MEASURES}})
    return found


def _frames(rows: pd.DataFrame, frames: pd.DataFrame) -> dict[str, Any]:
    """By stream, what was measured of its frames."""
    found, names = _for_page(frames), _for_page(rows).id
    values = ["poc", "kind", "bits", *MEASURES]
    known = found[found.id.isin(names)].groupby("id", sort=False)
    return {str(name): own[values].to_dict("records") for name, own in known}


def _conditions(rows: pd.DataFrame) -> str:
    """What all rows were made with, in one line."""
    texts = {"frames": "{} frames", "rgb": "RGB by {}", "versions": "{}", "commit": "commit {}", "machine": "{}"}
    parts = [sorted(text.format(value) for value in set(rows[name]) if value) for name, text in texts.items()]
    return " · ".join(" or ".join(part) for part in parts if part)


def _tables(rows: pd.DataFrame, reference: str | None) -> str:
    """BD-rates where there is something to compare, then every rate point."""
    pairs = bdtable.references(rows.codec, reference)
    parts: list[tuple[str, pd.DataFrame]] = []
    for measure in TABLED:
        if found := bdtable.compare(rows, pairs, measure):
            parts.append((f"BD-rate, {MEASURES[measure]}", bdtable.overview(found, pairs)))
            parts.append((f"Both interpolations, {MEASURES[measure]}", bdtable.details(found)))
    parts += [("Bits at one quality", bdtable.savings(rows, pairs)), ("Rate points", _points(rows))]
    return "\n".join(
        f'<h3>{html.escape(title)}</h3>\n<div class="scroll">\n{tables.html(table)}\n</div>'
        for title, table in parts
        if len(table)
    )


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A line a rate point, '-' for what is not known."""
    text = pd.DataFrame({"sequence": rows.sequence, "codec": rows.codec})
    text["rate point"] = rows.rate_option + " " + rows.crf.map("{:g}".format)
    for title, (name, digits) in COLUMNS.items():
        text[title] = _numbers(rows[name], digits)
    memory = _numbers(rows.encode_memory, 0) + " / " + _numbers(rows.decode_memory, 0)
    text["memory (MB)"] = memory.replace("- / -", "-")
    return text


def _numbers(values: pd.Series, digits: int) -> pd.Series:
    """Numbers as text, '-' for NaN."""
    return values.map(f"{{:.{digits}f}}".format).replace("nan", "-")
