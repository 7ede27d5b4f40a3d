# SPDX-License-Identifier: MIT
"""The command `codec`: parse, call the library, turn a CodecError into one line and its exit status."""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from .errors import CodecError
from .gop.structure import DEFAULT_INTRA_PERIOD
from .memory import keep_freed_memory
from .models.registry import DEFAULT_CODEC, DEFAULT_MODEL
from .progress import Progress, quiet
from .version import __version__

MODE_HELP = (
    "bitfree: nothing is sent for B-frames (default); bitneed: what pays is; auto: that, by what quality is worth in "
    "this video, in the order that costs least, the anchor encoder's own among them"
)
INTERRUPTED, CLOSED_PIPE = 130, 141  # what a shell expects after SIGINT and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (decoded with damage), 2 (refused) or 130 (interrupted)."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    try:
        status: int = arguments.command(arguments)
        sys.stdout.flush()
    except CodecError as err:
        print(f"codec: {err}", file=sys.stderr)
        return err.exit_status
    except KeyboardInterrupt:
        print("codec: interrupted; no output was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; give Python somewhere to flush what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    return status


def _parser() -> argparse.ArgumentParser:
    description = "Learned B-frames between the anchors of any video codec."
    parser = argparse.ArgumentParser(prog="codec", description=description)
    parser.add_argument("--version", action="version", version=f"ncm-codec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_encode(commands.add_parser("encode", help="code a video into an .ncm stream"))
    _add_decode(commands.add_parser("decode", help="decode an .ncm stream into a video"))
    _add_info(commands.add_parser("info", help="print a stream's header and a table of its frames"))
    _add_verify(commands.add_parser("verify", help="decode a stream and check the hashes it carries"))
    _add_anchors(commands.add_parser("anchors", help="list the codecs of anchors, and what the missing ones need"))
    _add_train(commands.add_parser("train", help="train a network, and export what was trained"))
    return parser


def _add_encode(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="VIDEO", help=".yuv, .y4m, anything PyAV opens, or - for standard input")
    add("-o", "--output", metavar="FILE", help="the stream (default: VIDEO with suffix .ncm; - is a pipe)")
    add("--mode", default="bitfree", help=MODE_HELP)
    add("--gop", default="", help="ibpb (default), fixed:N (anchors N = 1, 2, 4 or 8 frames apart), or adaptive")
    add("--tune", default="psnr", help="what is chosen by: psnr (default) or ms-ssim, which tunes anchors too")
    add(
        "--intra-period",
        type=_positive,
        default=DEFAULT_INTRA_PERIOD,
        metavar="N",
        help="frames from I to I (default 32)",
    )
    add("--frames", type=_positive, metavar="N", help="stop after N frames")
    add("--model", default="", help=f"by name or .safetensors file (default {DEFAULT_MODEL}; {DEFAULT_CODEC} to code)")
    add("--effort", type=int, default=0, metavar="N", help="bitneed: N steps to refine each B-frame (slow; try 8)")
    add("--b-offset", type=float, default=0.0, metavar="X", help="bitneed: B-frames at 2^X times the anchors' slope")
    add(
        "--postfilter",
        action=argparse.BooleanOptionalAction,
        help="show anchors filtered by a network where that is better, for no bits (default: in auto)",
    )
    _add_device(parser)
    group = parser.add_argument_group("anchors")
    add = group.add_argument
    add(
        "--anchor",
        default="x265",
        metavar="NAME",
        help="their codec: x265 (default), or one that `codec anchors` lists",
    )
    add("--preset", help="the anchor encoder's preset")
    add("--crf", type=float, help="its constant rate factor")
    add("--qp", type=int, help="its constant quantiser, instead of --crf")
    add(
        "--bitrate",
        type=_rate,
        metavar="RATE",
        help="of the whole file, as in 800k: instead of --crf, takes several passes",
    )
    add("--target-psnr", type=float, metavar="DB", help="mean RGB PSNR, likewise")
    add("--maxrate", type=_rate, metavar="RATE", help="code segments more coarsely that would pass this rate")
    add("--anchor-params", default="", metavar="K=V:K=V", help="further parameters for it, such as tune=psnr:psy-rd=0")
    add("--anchor-encoder", "--hm-encoder", metavar="PROGRAM", help="where its encoder is, if that is a program")
    _add_anchor_decoder(group)
    group = parser.add_argument_group("raw video (if the file's name does not tell, as in seq_416x240_50.yuv)")
    group.add_argument("--size", type=_size, metavar="WxH")
    group.add_argument("--fps", dest="frame_rate", type=_frame_rate, metavar="N or N/D")
    group.add_argument("--pix-fmt", dest="pixel_format", help="yuv420p or yuv420p10le")
    group = parser.add_argument_group("measurement")
    add = group.add_argument
    add("--no-metrics", dest="metrics", action="store_false", help="do not compare with the source (faster)")
    add("--csv", metavar="FILE", help="write a line of statistics a frame")
    add("--recon", metavar="FILE", help="write the decoded video too")
    add("--dry-run", action="store_true", help="write no stream; print what it would hold, and the plan")
    add("--hash", dest="hashes", action="store_true", help="store a hash of every picture, for `codec verify`")
    parser.set_defaults(command=_encode)


def _add_decode(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="STREAM", help="an .ncm file, or - for standard input")
    add("-o", "--output", metavar="FILE", help=".yuv, .y4m, .mkv, .mp4 or - (y4m); default: STREAM with .dec.yuv")
    add("--video-codec", metavar="NAME", help="PyAV encoder for .mkv and .mp4 (default: lossless)")
    _add_definition(parser)
    _add_device(parser)
    parser.set_defaults(command=_decode)


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="STREAM", help="an .ncm file, or - for standard input")
    parser.add_argument("--csv", action="store_true", help="print the table of frames alone, comma-separated")
    parser.add_argument(
        "--plan", action="store_true", help="print the schedule alone, a letter a frame (b: no payload)"
    )
    parser.set_defaults(command=_info)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="STREAM", help="an .ncm file written with --hash, or - for standard input")
    _add_definition(parser)
    _add_device(parser)
    parser.set_defaults(command=_verify)


def _add_anchors(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_anchors)


def _add_definition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--anchor", metavar="FILE", help=".toml file that defines the anchors' codec (rarely needed)")
    _add_anchor_decoder(parser)


def _add_anchor_decoder(parser: "argparse._ActionsContainer") -> None:
    what = "where the anchors' decoder is, if that is a program"
    parser.add_argument("--anchor-decoder", "--hm-decoder", metavar="PROGRAM", help=what)


def _add_train(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ncm = commands.add_parser("ncm", help="train a frame-synthesis network, or go on with a run")
    _add_run(ncm, "[model] and [train]")
    ncm.set_defaults(command=_train_ncm)
    bframe = commands.add_parser("bframe", help="train the B-frame codec on top of a network, or go on with a run")
    _add_run(bframe, "[codec], [bframe] and [train]")
    bframe.add_argument("--base", default="", metavar="MODEL", help="the network that predicts, not the recipe's")
    bframe.add_argument("--lambda", dest="slope", type=float, metavar="L", help="one rate: L * MSE + bits per pixel")
    bframe.set_defaults(command=_train_bframe)
    postfilter = commands.add_parser("postfilter", help="train the post-filter of a B-frame codec, or go on with a run")
    _add_run(postfilter, "[codec], [postfilter] and [train]")
    postfilter.add_argument("--base", default="", metavar="MODEL", help="the codec that carries it, not the recipe's")
    postfilter.set_defaults(command=_train_postfilter)
    tcm = commands.add_parser("tcm", help="train a TCM codec of anchors, or go on with a run")
    _add_run(tcm, "[codec], [tcm] and [train]")
    tcm.add_argument("--lambda", dest="slope", type=float, metavar="L", help="one rate: L * MSE + bits per pixel")
    tcm.set_defaults(command=_train_tcm)
    export = commands.add_parser("export", help="write a run's averaged weights as a model")
    export.add_argument("--run", required=True, metavar="DIR", help="folder of the run")
    export.add_argument("-o", "--output", required=True, metavar="FILE", help=".safetensors file to write")
    export.set_defaults(command=_train_export)
    tables = commands.add_parser("tables", help="write a B-frame model with tables by what streams of it hold")
    tables.add_argument("streams", nargs="+", metavar="STREAM", help=".ncm files of that model")
    tables.add_argument("-o", "--output", required=True, metavar="FILE", help=".safetensors file to write")
    _add_device(tables)
    tables.set_defaults(command=_train_tables)


def _add_run(parser: argparse.ArgumentParser, tables: str) -> None:
    add = parser.add_argument
    add("--config", required=True, metavar="FILE", help=f"the recipe: TOML with {tables}, as in configs/")
    add("--data", required=True, nargs="+", metavar="DIR", help="folders of clips, decoded once into RUN/../cache")
    add("--run", required=True, metavar="DIR", help="checkpoint, log and best weights; resumed if it has a checkpoint")
    add("--init", default="", metavar="MODEL", help="weights to start from, by name or .safetensors file")
    add("--steps", type=_positive, metavar="N", help="optimiser steps, instead of the recipe's")
    add("--threads", type=_positive, metavar="N", help="CPU threads a process")
    _add_device(parser)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps, ...")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 416x240")
    return int(match[1]), int(match[2])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _rate(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text)
    rate = round(float(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]) if match else 0
    if not rate:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate in bits a second such as 800k or 1.5M")
    return rate


def _frame_rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a frame rate such as 50 or 30000/1001")
    return rate


def _encode(arguments: argparse.Namespace) -> int:
    from .encoder.encode import encode
    from .encoder.settings import EncodeSettings

    given = vars(arguments)
    names = (field.name for field in fields(EncodeSettings))
    settings = EncodeSettings(**{name: given[name] for name in names if name in given})
    with _progress("encoding") as progress:
        summary = encode(arguments.src, arguments.output, settings, progress=progress)
    text = f"{summary.text()}\n{summary.plan}" if settings.dry_run else summary.text()
    print(text, file=sys.stderr if "-" in (arguments.output, arguments.recon) else sys.stdout)
    return 0


def _decode(arguments: argparse.Namespace) -> int:
    from .decoder.video import decode

    with _progress("decoding") as progress:
        decode(
            arguments.src,
            arguments.output,
            device=arguments.device,
            anchor=arguments.anchor,
            anchor_decoder=arguments.anchor_decoder,
            video_codec=arguments.video_codec,
            progress=progress,
        )
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from .bitstream.info import info

    report = info(arguments.src)
    print(report.csv() if arguments.csv else report.plan if arguments.plan else report.text())
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from .decoder.video import verify

    with _progress("verifying") as progress:
        count = verify(
            arguments.src,
            device=arguments.device,
            anchor=arguments.anchor,
            anchor_decoder=arguments.anchor_decoder,
            progress=progress,
        )
    print(f"{count} frames, all as encoded")
    return 0


def _anchors(arguments: argparse.Namespace) -> int:
    from .anchors.listing import print_anchors

    print_anchors()
    return 0


def _train_ncm(arguments: argparse.Namespace) -> int:
    from .train.loop import train

    train(**_run_of(arguments))
    return 0


def _train_bframe(arguments: argparse.Namespace) -> int:
    from .train.bframe import train

    train(**_run_of(arguments), base=arguments.base, slope=arguments.slope)
    return 0


def _train_postfilter(arguments: argparse.Namespace) -> int:
    from .train.postfilter import train

    train(**_run_of(arguments), base=arguments.base)
    return 0


def _train_tcm(arguments: argparse.Namespace) -> int:
    from .train.tcm import train

    train(**_run_of(arguments), slope=arguments.slope)
    return 0


def _run_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every training is told; its log goes to standard output."""
    import logging

    import torch

    from .device import choose_device

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return {
        "config_file": Path(arguments.config),
        "data": [Path(folder) for folder in arguments.data],
        "run": Path(arguments.run),
        "init": arguments.init,
        "steps": arguments.steps,
        "device": choose_device(arguments.device),
    }


def _train_export(arguments: argparse.Namespace) -> int:
    import torch

    from .train import bstate, postfilter, state, tstate

    run, output, device = Path(arguments.run), Path(arguments.output), torch.device("cpu")
    if tstate.is_tcm_run(run):
        tstate.export_tcm(tstate.resume_tcm(run, device), output)
    elif postfilter.is_postfilter_run(run):
        postfilter.export(postfilter.resume(run, device), output)
    elif bstate.is_bframe_run(run):
        bstate.export_bframe(bstate.resume_bframe(run, device), output)
    else:
        state.export(state.resume(run, device), output)
    return 0


def _train_tables(arguments: argparse.Namespace) -> int:
    from .train.tables import fit_tables

    with _progress("counting") as progress:
        streams = [Path(path) for path in arguments.streams]
        count = fit_tables(streams, Path(arguments.output), device=arguments.device, progress=progress)
    print(f"tables of {count} B-frames")
    return 0


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A progress bar with the time left on a terminal's standard error; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield quiet
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    sys.exit(main())
