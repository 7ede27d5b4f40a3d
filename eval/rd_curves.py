# SPDX-License-Identifier: MIT
"""Rate-distortion runs and their BD-rates.

    python eval/rd_curves.py sequences DIR
    python eval/rd_curves.py run --sequences DIR --codecs ncm-bitfree@x265 x265 -o results.csv
    python eval/rd_curves.py table results.csv
    python eval/rd_curves.py plot results.csv -o figures

A codec is an anchor encoder's name, which then codes all frames with its own B-frames; or `ncm-MODE@ENCODER`, the
codec of this project on top of it (`ncm-bitneed:N@ENCODER` with --effort N); `:ibpb` after an encoder makes it use the
order I-B-P-B with its own B-frames.
Both sides run through the same scheduler and container, so both have the same intra pictures; bytes are whole files,
pictures are what a decoder in a process of its own wrote.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import track

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval import tables
from eval.bdrate import bd_rate
from eval.sequences import find, listing, videos

QUALITIES = {"x265": (18, 23, 28, 33), "x264": (18, 23, 28, 33), "svtav1": (30, 39, 48, 57)}
OWN_ORDER = {"x265": "bframes=1:b-adapt=0:b-pyramid=0", "x264": "bframes=1:b-adapt=0:b-pyramid=none"}


@dataclass(frozen=True)
class Row:
    """One sequence at one rate point of one codec. Rates in bits a pixel, quality as the mean over frames."""

    sequence: str
    codec: str
    crf: float
    frames: int
    bytes: int
    bpp: float
    psnr_y: float
    psnr_yuv: float
    psnr_rgb: float
    ms_ssim: float
    psnr_rgb_b: float
    encode_seconds: float
    decode_seconds: float
    settings: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return its exit status."""
    parser = argparse.ArgumentParser(prog="rd_curves.py", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True)
    known = commands.add_parser("sequences", help="what is in a folder: known sequences, others, what is missing")
    known.add_argument("folder", type=Path)
    known.set_defaults(action=lambda arguments: print(listing(find(arguments.folder))))
    run = commands.add_parser("run", help="code every sequence at every rate point; rows already in the CSV are kept")
    run.add_argument("--sequences", type=Path, required=True, help="a folder of videos, or one video")
    run.add_argument("--codecs", nargs="+", required=True, metavar="NAME")
    run.add_argument("--frames", type=int, help="frames of each sequence (default: all)")
    run.add_argument("--intra-period", type=int, default=32)
    run.add_argument("--preset", help="the anchor encoder's preset")
    run.add_argument("--model", help="model of the ncm codecs (default: that of their mode)")
    run.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")
    run.set_defaults(action=_run)
    table = commands.add_parser("table", help="BD-rate of each codec against a reference, as Markdown")
    table.add_argument("results", type=Path, nargs="+")
    table.add_argument("--reference", metavar="NAME", help="default: for ncm-MODE@ENCODER its own ENCODER")
    table.add_argument("--measure", default="psnr_rgb", choices=["psnr_y", "psnr_yuv", "psnr_rgb", "ms_ssim"])
    table.set_defaults(action=_table)
    plot = commands.add_parser("plot", help="PSNR and MS-SSIM over bits per pixel, a figure a sequence, PNG and PDF")
    plot.add_argument("results", type=Path, nargs="+")
    plot.add_argument("--codecs", nargs="+", metavar="NAME", help="only these (default: all)")
    plot.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    plot.set_defaults(action=_plot)
    arguments = parser.parse_args(argv)
    try:
        arguments.action(arguments)
    except codec.CodecError as err:
        print(f"rd_curves.py: {err}", file=sys.stderr)
        return err.exit_status
    return 0


def _run(arguments: argparse.Namespace) -> None:
    rows = read_rows(arguments.output) if arguments.output.exists() else []
    done = {(row.sequence, row.codec, row.crf) for row in rows}
    points = [
        (path, name, float(crf))
        for path in videos(arguments.sequences)
        for name in arguments.codecs
        for crf in QUALITIES[_encoder(name)]
        if (path.name, name, float(crf)) not in done
    ]
    for path, name, crf in track(points, console=Console(stderr=True), disable=not sys.stderr.isatty()):
        rows.append(measure(path, name, crf, arguments))
        tables.write_rows(arguments.output, rows)


def _encoder(name: str) -> str:
    encoder = name.rpartition("@")[2].partition(":")[0]
    if encoder not in QUALITIES:
        known = ", ".join(QUALITIES)
        raise codec.InputError(f"codec {name!r}: no rate points known for {encoder!r}; there are {known}")
    return encoder


def measure(path: Path, name: str, crf: float, arguments: argparse.Namespace) -> Row:
    """Encode, decode in another process, compare what that wrote with the source."""
    encoder = _encoder(name)
    learned, own_order = name.startswith("ncm-"), name.endswith(":ibpb")
    mode, _, effort = (name.removeprefix("ncm-").partition("@")[0] if learned else "bitfree").partition(":")
    with tempfile.TemporaryDirectory() as folder:
        stream, decoded = Path(folder) / "x.ncm", Path(folder) / "x.y4m"
        start = time.perf_counter()
        summary = codec.encode(
            path,
            stream,
            mode=mode,
            effort=int(effort or 0),
            anchor=encoder,
            crf=crf,
            preset=arguments.preset,
            anchor_params=OWN_ORDER[encoder] if own_order else "",
            gop="ibpb" if learned else "fixed:1",
            intra_period=arguments.intra_period,
            frames=arguments.frames,
            model=arguments.model,
            metrics=False,
        )
        encoded = time.perf_counter()
        subprocess.run([sys.executable, "-m", "codec.cli", "decode", stream, "-o", decoded], check=True)
        end = time.perf_counter()
        kinds = [row.kind for row in summary.rows]
        quality = _qualities(path, decoded)
        settings = codec.info(stream).header.anchor_settings
    b_psnr = [q.psnr_rgb for q, kind in zip(quality, kinds, strict=True) if kind == "B"]
    return Row(
        path.name,
        name,
        crf,
        summary.frames,
        summary.bytes,
        summary.bits_per_pixel(),
        fmean(q.psnr_y for q in quality),
        fmean(q.psnr_yuv for q in quality),
        fmean(q.psnr_rgb for q in quality),
        fmean(q.ms_ssim for q in quality),
        fmean(b_psnr) if b_psnr else math.nan,
        encoded - start,
        end - encoded,
        settings,
    )


def _qualities(source: Path, decoded: Path) -> list[codec.Quality]:
    with codec.open_source(source) as a, codec.open_source(decoded) as b:
        return [codec.compare(x.picture, y.picture, a.info.colour) for x, y in zip(a, b, strict=False)]


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file."""
    return tables.read_rows(path, Row)


def _table(arguments: argparse.Namespace) -> None:
    print(bd_table(_rows_of(arguments.results), arguments.reference, arguments.measure))


def _plot(arguments: argparse.Namespace) -> None:
    from eval.plots import draw  # matplotlib takes a second to import

    rows = _rows_of(arguments.results)
    found = sorted({row.codec for row in rows})
    names = arguments.codecs or found
    if unknown := set(names) - set(found):
        raise codec.InputError(f"codec {min(unknown)!r}: no rows of it; there are {', '.join(found)}")
    for path in draw([row for row in rows if row.codec in names], arguments.output):
        print(path)


def _rows_of(files: Sequence[Path]) -> list[Row]:
    """The rows of several results files. InputError if one cannot be read."""
    try:
        return [row for file in files for row in read_rows(file)]
    except (OSError, KeyError, ValueError, TypeError) as err:
        raise codec.InputError(f"no results file: {err}") from err


def bd_table(rows: Sequence[Row], reference: str | None, measure: str) -> str:
    """Markdown: a line a sequence, a column a codec, BD-rate in % against its reference, the mean below."""
    references = _references({row.codec: None for row in rows}, reference)
    lines = []
    columns: dict[str, list[float]] = {name: [] for name in references}
    for sequence in dict.fromkeys(row.sequence for row in rows):
        values = {name: _bd_of(rows, sequence, other, name, measure) for name, other in references.items()}
        lines.append([sequence, *("-" if value is None else f"{value:+.1f} %" for value in values.values())])
        for name, value in values.items():
            columns[name] += [] if value is None else [value]
    means = [f"{fmean(values):+.1f} %" if values else "-" for values in columns.values()]
    head = [f"{name} against {other}" for name, other in references.items()]
    return tables.markdown(["sequence", *head], [*lines, ["**mean**", *means]])


def _references(names: Iterable[str], reference: str | None) -> dict[str, str]:
    """What each codec is measured against: the one named, or the encoder under it."""
    if reference is not None:
        return {name: reference for name in names if name != reference}
    return {name: name.rpartition("@")[2] for name in names if "@" in name}


def _bd_of(rows: Sequence[Row], sequence: str, reference: str, name: str, measure: str) -> float | None:
    curves = [
        [(row.bpp, getattr(row, measure)) for row in rows if row.sequence == sequence and row.codec == which]
        for which in (reference, name)
    ]
    try:
        return bd_rate(curves[0], curves[1]).percent
    except ValueError:
        return None


if __name__ == "__main__":
    sys.exit(main())
