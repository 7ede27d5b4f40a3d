# SPDX-License-Identifier: MIT
"""A report of results as one page that needs no other file and no network: page/ is its skeleton."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import codec
from eval import bdtable
from eval.curves import MEASURES, average, curves, groups, sequences
from eval.pictures import Layers, data_url, decoded, shown
from eval.rows import FrameRow, Row
from eval.runs import stream_name
from eval.sequences import Clip
from eval.tables import Table, write_text

PAGE = Path(__file__).with_name("page")
TABLED = ("psnr_rgb", "ms_ssim")
SOURCE = "source"


def write_report(
    output: Path,
    rows: Sequence[Row],
    frames: Sequence[FrameRow],
    *,
    pictures: Sequence[dict[str, Any]] = (),
    reference: str | None = None,
) -> None:
    """Write the page whole. OutputError if it cannot be written."""
    data = {
        "rows": [_row(row) for row in rows],
        "measures": _measures(rows),
        "curves": _curves(rows),
        "frames": _frames(rows, frames),
        "pictures": list(pictures),
        "conditions": _conditions(rows),
    }
    parts = {
        "@TITLE@": "Rate and distortion",
        "@STYLE@": (PAGE / "page.css").read_text(encoding="utf-8"),
        "@TABLES@": _tables(rows, reference),
        "@DATA@": json.dumps(_finite(data), ensure_ascii=False).replace("</", "<\\/"),
        "@SCRIPT@": (PAGE / "page.js").read_text(encoding="utf-8"),
    }
    page = (PAGE / "page.html").read_text(encoding="utf-8")
    for mark, text in parts.items():
        page = page.replace(mark, text)
    try:
        write_text(output, page)
    except OSError as err:
        raise codec.OutputError(f"{output}: cannot be written ({err.strerror or err}); check the directory") from err


def collect(
    rows: Sequence[Row],
    frames: Sequence[FrameRow],
    *,
    streams: Path,
    clips: Sequence[Clip],
    pocs: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Pictures of chosen frames of every sequence and rate point whose stream is kept, the source's with them.

    Without `pocs`, a B-frame in the middle of each sequence and the frame after it. InputError if there is no stream.
    """
    found: list[dict[str, Any]] = []
    paths = {clip.title: clip for clip in clips}
    for sequence in sequences(rows):
        own = [row for row in rows if row.sequence == sequence and (streams / stream_name(*row.key)).exists()]
        if not own:
            continue
        chosen = sorted(set(pocs or _middle([frame for frame in frames if frame.sequence == sequence])))
        matrix = own[0].rgb or "bt709"
        if sequence in paths:
            with paths[sequence].open() as source:
                colour = codec.Colour(matrix, source.info.colour.full_range)
                for poc, layers in shown(source, chosen, colour).items():
                    found.append(_picture(sequence, SOURCE, poc, None, None, layers))
        for row in own:
            found += _pictures_of(row, frames, streams / stream_name(*row.key), chosen, matrix)
    if not found:
        raise codec.InputError(f"{streams}: no streams of these rows there; make them with `run --keep {streams}`")
    return found


def _pictures_of(
    row: Row, frames: Sequence[FrameRow], stream: Path, pocs: Sequence[int], matrix: str
) -> list[dict[str, Any]]:
    with codec.open(stream) as video:
        colour = codec.Colour(matrix, video.info.colour.full_range)
    values = {frame.poc: frame for frame in frames if frame.key == row.key}
    made = decoded(stream, pocs, colour)
    return [_picture(row.sequence, row.codec, poc, row, values.get(poc), made[poc]) for poc in pocs if poc in made]


def _picture(
    sequence: str, name: str, poc: int, row: Row | None, frame: FrameRow | None, layers: Layers
) -> dict[str, Any]:
    exact = ("decoded", "prediction")  # what is compared by eye must not be coded again
    urls = {layer: data_url(rgb, lossless=layer in exact) for layer, rgb in layers.pictures.items()}
    return {
        "sequence": sequence,
        "codec": name,
        "poc": poc,
        "row": _id(row) if row else None,
        "kind": frame.kind if frame else "",
        "bits": frame.bits if frame else None,
        "psnr": frame.psnr_rgb if frame else None,
        "layers": urls,
        "notes": layers.notes,
    }


def _middle(frames: Sequence[FrameRow]) -> list[int]:
    """The B-frame nearest to the middle, of any codec, and the frame after it."""
    last = max((frame.poc for frame in frames), default=0)
    bframes = sorted({frame.poc for frame in frames if frame.kind == "B"}, key=lambda poc: abs(poc - last / 2))
    middle = bframes[0] if bframes else last // 2
    return [middle, min(middle + 1, last)]


def _id(row: Row) -> str:
    return stream_name(*row.key)


def _row(row: Row) -> dict[str, Any]:
    names = ("sequence", "codec", "crf", "bpp", "command")
    return {name: getattr(row, name) for name in names} | {"id": _id(row), "option": row.rate_option}


def _measures(rows: Sequence[Row]) -> dict[str, str]:
    """Those that any row has, with their titles."""
    return {m: title for m, title in MEASURES.items() if any(not math.isnan(getattr(row, m)) for row in rows)}


def _curves(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The means of classes of several sequences, then every sequence."""
    found: list[dict[str, Any]] = []
    for group, own in groups(rows).items():
        if len(sequences(own)) > 1:
            found.append({"title": f"{group}, mean", "curves": {m: average(own, m) for m in MEASURES}})
    for title in sequences(rows):
        found.append({"title": title, "curves": {m: curves(rows, title, m) for m in MEASURES}})
    return found


def _frames(rows: Sequence[Row], frames: Sequence[FrameRow]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    known = {row.key: _id(row) for row in rows}
    for frame in frames:
        if frame.key in known:
            values = {name: getattr(frame, name) for name in ("poc", "kind", "bits", *MEASURES)}
            found.setdefault(known[frame.key], []).append(values)
    return found


def _conditions(rows: Sequence[Row]) -> str:
    parts = {
        "frames": {f"{row.frames} frames" for row in rows},
        "rgb": {f"RGB by {row.rgb}" for row in rows if row.rgb},
        "versions": {row.versions for row in rows if row.versions},
        "commit": {f"commit {row.commit}" for row in rows if row.commit},
        "machine": {row.machine for row in rows if row.machine},
    }
    return " · ".join(" or ".join(sorted(texts)) for texts in parts.values() if texts)


def _tables(rows: Sequence[Row], reference: str | None) -> str:
    """BD-rates where there is something to compare, then every rate point."""
    pairs = bdtable.references((row.codec for row in rows), reference)
    parts: list[tuple[str, Table]] = []
    for measure in TABLED:
        found = bdtable.compare(rows, pairs, measure)
        if found:
            parts.append((f"BD-rate, {MEASURES[measure]}", bdtable.overview(found, pairs)))
            parts.append((f"Both interpolations, {MEASURES[measure]}", bdtable.details(found)))
    savings = bdtable.savings(rows, pairs)
    parts += [("Bits at one quality", savings)] if savings.lines else []
    parts.append(("Rate points", _points(rows)))
    return "\n".join(
        f'<h3>{html.escape(title)}</h3>\n<div class="scroll">\n{table.html()}\n</div>' for title, table in parts
    )


def _points(rows: Sequence[Row]) -> Table:
    head = ["sequence", "codec", "rate point", "bytes", "bpp", "bpp I", "bpp P", "bpp B", "PSNR Y", "PSNR YUV"]
    head += ["PSNR RGB", "MS-SSIM", "encode (s)", "decode (s)", "memory (MB)"]
    lines = []
    for row in rows:
        rates = [_number(value, 4) for value in (row.bpp, row.bpp_i, row.bpp_p, row.bpp_b)]
        quality = [_number(value, 2) for value in (row.psnr_y, row.psnr_yuv, row.psnr_rgb)]
        cost = [_number(row.encode_seconds, 1), _number(row.decode_seconds, 1)]
        memory = "-" if math.isnan(row.encode_memory) else f"{row.encode_memory:.0f} / {row.decode_memory:.0f}"
        point = f"{row.rate_option} {row.crf:g}"
        quality.append(_number(row.ms_ssim, 4))
        lines.append([row.sequence, row.codec, point, str(row.bytes), *rates, *quality, *cost, memory])
    return Table(head, lines)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _finite(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """The same with null for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
