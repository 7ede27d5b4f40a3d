# SPDX-License-Identifier: MIT
"""Rate-distortion runs and their BD-rates.

    python eval/rd_curves.py sequences DIR
    python eval/rd_curves.py run --sequences DIR --codecs ncm-bitneed@x265 x265 x265:ibpb -o results.csv
    python eval/rd_curves.py table results.csv
    python eval/rd_curves.py plot results.csv -o figures
    python eval/rd_curves.py frontier results.csv --reference x265 -o figures
    python eval/rd_curves.py report results.csv -o report.html

`eval/codecs.py` says how codecs are called. All run through the same scheduler and container, so all have the same
intra pictures; bytes are whole files, pictures are what a decoder in a process of its own wrote.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

import codec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from eval import rows as records
from eval import tables
from eval.codecs import CodecName, rates_of
from eval.command import check_output, make_folder, parse_count, parse_whole, run_command
from eval.curves import MEASURES
from eval.runs import MATRICES, Point, Settings, command, measure_all
from eval.sequences import find, listing, missing


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return its exit status."""
    parser = codec.Parser(prog="rd_curves.py", description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    known = commands.add_parser("sequences", help="what is in a folder: known sequences, others, what is missing")
    known.add_argument("folder", type=Path)
    known.set_defaults(action=lambda arguments: print(listing(find(arguments.folder))))
    _add_run(commands.add_parser("run", help="code every sequence at every rate point; rows in the CSV are kept"))
    _add_table(commands.add_parser("table", help="BD-rate of each codec against a reference, as Markdown"))
    _add_plot(commands.add_parser("plot", help="PSNR and MS-SSIM over bits per pixel, a figure a class, PNG and PDF"))
    _add_frontier(commands.add_parser("frontier", help="BD-rate over the time of encode and decode, table and figure"))
    _add_report(commands.add_parser("report", help="tables, curves, frames and pictures as one page"))
    try:
        return run_command(parser, argv)
    except KeyboardInterrupt:
        print("rd_curves.py: interrupted; what was measured is in the CSV, the same command goes on", file=sys.stderr)
        return 130


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--sequences", type=Path, required=True, metavar="DIR", help="a folder of videos, or one video")
    add("--codecs", nargs="+", required=True, metavar="NAME", help="such as ncm-bitneed@x265, x265:ibpb, hm:ra")
    add("--frames", type=parse_count, metavar="N", help="frames of each sequence (default: all)")
    add("--intra-period", type=parse_count, default=32, metavar="N")
    add("--preset", help="the anchor encoder's preset")
    add("--model", help="model of the ncm codecs (default: that of their mode)")
    add("--rates", nargs="+", default=[], metavar="ANCHOR=crf:N,N", help="rate points, such as x265=crf:18,23,28,33")
    add("--rgb", choices=MATRICES, default="bt709", help="matrix for RGB PSNR and MS-SSIM (default bt709)")
    add("--jobs", type=parse_count, metavar="N", help="rate points at a time, which their times then share (default 1)")
    add("--ray", metavar="ADDRESS", help="measure on the CPUs of a Ray cluster: auto, or its address (--jobs: all)")
    add("--device", default="auto", help="as in `codec encode`")
    add("--keep", type=Path, metavar="DIR", help="keep the streams there, for the pictures of a report")
    add("-o", "--output", type=Path, required=True, metavar="CSV")
    parser.set_defaults(action=_run)


def _run(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    check_output(output)
    names = [CodecName.parse(name) for name in dict.fromkeys(arguments.codecs)]
    rates = rates_of(names, arguments.rates)
    clips = find(arguments.sequences)
    for group, titles in missing(clips).items():
        print(f"{group}: missing {', '.join(titles)}", file=sys.stderr)
    rows = records.read_rows(output) if output.exists() else []
    frames = [frame for frame in records.read_frames(output) if frame.key in {row.key for row in rows}]
    settings = _settings(arguments)
    if arguments.ray is not None and arguments.device not in ("auto", "cpu"):
        raise codec.InputError(f"--ray is for CPUs, not for --device {arguments.device}; leave one out")
    points = [
        Point(clip, name, rates[name].option, value) for clip in clips for name in names for value in rates[name].values
    ]
    points = _open(points, rows, settings)
    if arguments.ray is None:  # whose machines may have other encoders
        for name in {point.codec: None for point in points}:
            name.check(rates[name], arguments.preset)

    def done(row: records.Row, own: list[records.FrameRow]) -> None:
        rows.append(row)
        frames.extend(own)
        records.write(output, rows, frames)

    steps = measure_all(points, settings, jobs=arguments.jobs, ray=arguments.ray, done=done)
    for _ in track(steps, total=len(points), console=Console(stderr=True), disable=not sys.stderr.isatty()):
        pass


def _settings(arguments: argparse.Namespace) -> Settings:
    if arguments.keep:
        make_folder(arguments.keep)
    names = ("frames", "intra_period", "preset", "model", "device", "rgb", "keep")
    return Settings(**{name: getattr(arguments, name) for name in names})


def _open(points: list[Point], rows: Sequence[records.Row], settings: Settings) -> list[Point]:
    """The points without a row. InputError if one has a row that was made in another way."""
    found = {row.key: row for row in rows}
    for point in points:
        row = found.get(point.key)
        if row and row.command and (row.command, row.rgb) != (command(point, settings), settings.rgb):
            raise codec.InputError(
                f"the CSV holds {row.codec} at {row.crf:g} of {row.sequence} by another command ({row.command}; "
                f"{row.rgb}); give another file with -o"
            )
    return [point for point in points if point.key not in found]


def _add_table(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="CSV")
    add("--codecs", nargs="+", metavar="NAME", help="only these (default: all)")
    add("--reference", metavar="NAME", help="default: for ncm-MODE@ENCODER its own ENCODER")
    add("--measure", default="psnr_rgb", choices=MEASURES)
    add("--format", default="markdown", choices=["markdown", "latex"])
    add("-o", "--output", type=Path, metavar="DIR", help="write bd-MEASURE.md, .tex and .csv there instead")
    parser.set_defaults(action=_table)


def _table(arguments: argparse.Namespace) -> None:
    from eval import bdtable  # bjontegaard takes matplotlib along, which takes seconds to import

    rows = records.read_table(arguments.results, arguments.codecs)
    pairs = bdtable.references(rows.codec, arguments.reference)
    found = bdtable.compare(rows, pairs, arguments.measure)
    if not found:
        raise codec.InputError(
            "nothing to compare: codecs and references need four rate points of one sequence, over a common range; "
            "name another reference with --reference"
        )
    for line in bdtable.warnings(found):
        print(f"rd_curves.py: warning: {line}", file=sys.stderr)
    parts = [bdtable.overview(found, pairs), bdtable.details(found), bdtable.savings(rows, pairs)]
    texts = {kind.__name__: "\n\n".join(map(kind, parts)) for kind in (tables.markdown, tables.latex)}
    if arguments.output is None:
        print(texts[arguments.format])
        return
    make_folder(arguments.output)
    stem = arguments.output / f"bd-{arguments.measure}"
    tables.write_rows(stem.with_suffix(".csv"), found)
    for suffix, name in ((".md", "markdown"), (".tex", "latex")):
        tables.write_text(stem.with_suffix(suffix), texts[name] + "\n")


def _add_plot(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="CSV")
    add("--codecs", nargs="+", metavar="NAME", help="only these (default: all)")
    add("--each", action="store_true", help="a figure a sequence too")
    add("--published", action="store_true", help="published points too, where there are any for a class")
    add("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.set_defaults(action=_plot)


def _plot(arguments: argparse.Namespace) -> None:
    from eval.plots import draw  # matplotlib takes a second to import

    rows = records.read_table(arguments.results, arguments.codecs)
    for path in draw(rows, arguments.output, each=arguments.each, beside=arguments.published):
        print(path)


def _add_frontier(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="CSV")
    add("--codecs", nargs="+", metavar="NAME", help="only these (default: all)")
    add("--reference", default="x265", metavar="NAME", help="what all are measured against (default x265)")
    add("--measure", default="psnr_rgb", choices=MEASURES)
    add("-o", "--output", type=Path, metavar="DIR", help="draw the figure there too, PNG and PDF")
    parser.set_defaults(action=_frontier)


def _frontier(arguments: argparse.Namespace) -> None:
    from eval.frontier import draw, frontier, text_table  # matplotlib takes a second to import

    rows = records.read_table(arguments.results, arguments.codecs)
    points = frontier(rows, arguments.reference, arguments.measure)
    print(tables.markdown(text_table(points, arguments.reference, arguments.measure)))
    if arguments.output is not None:
        draw(points, arguments.reference, arguments.measure, arguments.output)


def _add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("results", type=Path, nargs="+", metavar="CSV")
    add("--codecs", nargs="+", metavar="NAME", help="only these (default: all)")
    add("--reference", metavar="NAME", help="as for `table`")
    add("--streams", type=Path, metavar="DIR", help="what `run --keep DIR` kept, for pictures")
    add("--sequences", type=Path, metavar="DIR", help="with --streams: the videos, to show the source too")
    add("--at", type=parse_whole, nargs="+", metavar="N", help="the frames to show (default: a B-frame and the next)")
    add("-o", "--output", type=Path, required=True, metavar="HTML")
    parser.set_defaults(action=_report)


def _report(arguments: argparse.Namespace) -> None:
    from eval.report import collect, write_report

    rows = records.read_table(arguments.results, arguments.codecs)
    own = [frame for file in arguments.results for frame in records.read_frames(file)]
    frames = tables.table_of(own, records.FrameRow)
    clips = find(arguments.sequences) if arguments.sequences else []
    pictures = []
    if arguments.streams:
        pictures = collect(rows, frames, streams=arguments.streams, clips=clips, pocs=arguments.at)
    write_report(arguments.output, rows, frames, pictures=pictures, reference=arguments.reference)


if __name__ == "__main__":
    sys.exit(main())
