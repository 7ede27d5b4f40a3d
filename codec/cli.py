# SPDX-License-Identifier: MIT
"""The command `codec`: parse and call the library.

Nothing here loads torch before a command needs it, so that `codec --help` answers at once.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from .apps.command import add_apps
from .batch import Job, Sort, add_outputs, is_many, jobs_of, run_jobs, status_of, table
from .bitstream.limits import MAX_PIXELS
from .encoder.command import add_encode, add_option
from .encoder.settings import EncodeSettings
from .errors import DamageError, InputError
from .memory import keep_freed_memory
from .progress import Progress
from .status import Parser, run
from .terminal import bars_on_terminal, progress_on_terminal, typed
from .train.command import add_train
from .values import parse_count, parse_place
from .version import __version__

SAMPLE = "bunny.mp4"
SHARED = "device", "precision", "workers", "ray", "tile", "anchor_decoder"  # options of encoding that decoding has, too
STREAM = "an .ncm, .mp4, .mov or .mkv file of this program, or - for standard input"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (decoded with damage), 2 (refused) or 130 (interrupted)."""
    words = sys.argv[1:] if argv is None else argv
    return run(lambda: _run(words), debug="--debug" in words)


def _run(words: Sequence[str]) -> int:
    arguments = _parser().parse_args(words)
    _check_directory()
    keep_freed_memory()
    status: int = arguments.command(arguments)
    return status


def _check_directory() -> None:
    """InputError if the current directory has been removed: torch's libraries end a process that is in none."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise InputError("the current directory has been removed; change to another") from error


class _Parser(Parser):
    """A parser that does not hide that its help cannot be printed."""

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)


def _parser() -> argparse.ArgumentParser:
    description = "Learned B-frames between the anchors of any video codec."
    parser: argparse.ArgumentParser = _Parser(prog="codec", description=description)
    parser.add_argument("--version", action="version", version=f"ncm-codec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_encode(
        commands.add_parser("encode", help="code a video into an .ncm stream, or an .mp4 or .mkv with one inside")
    )
    _add_decode(commands.add_parser("decode", help="decode a stream into a video"))
    _add_play(commands.add_parser("play", help="show a stream in mpv or ffplay"))
    _add_remux(commands.add_parser("remux", help="put a stream into another file, as .ncm, .mp4 or .mkv"))
    _add_info(commands.add_parser("info", help="print a stream's header and a table of its frames"))
    _add_verify(commands.add_parser("verify", help="decode a stream and check the hashes it carries"))
    _add_sample(commands.add_parser("sample", help="write the small clip that comes with the package"))
    anchors = commands.add_parser("anchors", help="list the codecs of anchors, and what the missing ones need")
    anchors.set_defaults(command=_anchors)
    _add_export(commands.add_parser("export", help="write a network as an ONNX file for other programs"))
    add_apps(commands)
    add_train(commands.add_parser("train", help="train a network, and export what was trained"))
    for each in _with_commands(parser):
        each.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks of errors")
    return parser


def _with_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of the commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in set(action.choices.values()):  # an alias is the same parser
                yield from _with_commands(command)


def _add_decode(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="STREAM", nargs="+", help=f"{STREAM}; or a folder")
    add_outputs(parser, ".yuv, .y4m, .mkv, .mp4 or - (y4m); default: STREAM with .dec.yuv or .dec.mkv")
    add("--video-codec", metavar="NAME", help="PyAV encoder for .mkv and .mp4 (default: lossless)")
    add("--steady", action="store_true", help="repeat frames in .yuv and .y4m where the frame rate varies")
    add("--crf", type=typed(float), metavar="N", help="its constant rate factor (of libx264 if no other is named)")
    _add_force(parser)
    _add_from(parser)
    add("--to", dest="stop", type=typed(parse_place), metavar="PLACE", help="stop before that place")
    _add_reading(parser)
    parser.set_defaults(command=_decode)


def _add_play(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="STREAM", help=STREAM)
    _add_from(parser)
    _add_reading(parser)
    parser.set_defaults(command=_play)


def _add_from(parser: argparse.ArgumentParser) -> None:
    text = "start there: as a time like 1:10.5, or as a frame like 300f"
    parser.add_argument("--from", dest="start", type=typed(parse_place), metavar="PLACE", help=text)


def _add_remux(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="STREAM", help=STREAM)
    parser.add_argument("dst", metavar="FILE", help="its name says what it becomes: .ncm, .mp4, .m4v, .mov or .mkv")
    _add_force(parser)
    parser.set_defaults(command=_remux)


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace an output that is read-only")


def _add_info(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="STREAM", help=STREAM)
    add("--csv", action="store_true", help="print the table of frames alone, comma-separated")
    add("--plan", action="store_true", help="print the schedule alone, a letter a frame (b: no payload)")
    add("--json", action="store_true", help="print all as one JSON object")
    _add_max_pixels(parser)
    parser.set_defaults(command=_info)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="STREAM", help=f"{STREAM}; written with --hash")
    _add_reading(parser)
    parser.set_defaults(command=_verify)


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="FILE", nargs="?", default=SAMPLE, help=f"the clip (default: {SAMPLE})")
    parser.set_defaults(command=_sample)


def _add_export(parser: argparse.ArgumentParser) -> None:
    text = "by name or .safetensors file: a network that predicts frames, or a B-frame codec for its post-filter"
    parser.add_argument("model", metavar="MODEL", help=text)
    parser.add_argument("--onnx", required=True, metavar="FILE", help=".onnx file to write")
    parser.set_defaults(command=_export)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """What every command that decodes a stream may be told."""
    _add_max_pixels(parser)
    add = parser.add_argument
    add("--anchor", metavar="FILE", help=".toml file that defines the anchors' codec (rarely needed)")
    for field in fields(EncodeSettings):
        if field.name in SHARED:
            add_option(parser, field.name, field.default, field.metadata["option"])


def _add_max_pixels(parser: argparse.ArgumentParser) -> None:
    text = f"refuse a stream of larger pictures than N pixels (default {MAX_PIXELS}: 8192x8192)"
    parser.add_argument("--max-pixels", type=typed(parse_count), default=MAX_PIXELS, metavar="N", help=text)


def _decode(arguments: argparse.Namespace) -> int:
    from .decoder.video import decode

    own = {name: getattr(arguments, name) for name in ("video_codec", "crf", "start", "stop", "steady", "force")}
    how = {**own, **_reading(arguments)}
    if is_many(arguments):
        return _decode_many(arguments, how)
    with progress_on_terminal("decoding") as progress:
        decode(arguments.src[0], arguments.output, progress=progress, **how)
    return 0


def _decode_many(arguments: argparse.Namespace, how: dict[str, Any]) -> int:
    """Decode several files, or folders."""
    from .parallel.files import ALONE, placed

    jobs = _decode_jobs(arguments)
    own = how if arguments.ray is None else how | ALONE
    with bars_on_terminal() as bar, placed(partial(_decode_job, own), arguments) as (work, at_once):
        outcomes = list(run_jobs(jobs, work, bar, at_once))
    print(table(outcomes))
    return status_of(outcomes)


def _decode_job(how: dict[str, Any], job: Job, progress: Progress) -> str:
    from .decoder.video import decode

    return f"{decode(job.src, job.dst, progress=progress, **how)} frames"


def _decode_jobs(arguments: argparse.Namespace) -> list[Job]:
    """A job for each stream. InputError if a video could be written over the one that was coded."""
    from .container.opening import is_stream

    jobs = jobs_of(arguments.src, arguments.output_dir, Sort("streams", is_stream, lambda _: ".mkv"))
    for job in jobs:
        if job.dst.parent.resolve() == job.src.parent.resolve():
            raise InputError(f"{job.dst}: would stand beside its stream, and may be its source; give another folder")
    return jobs


def _play(arguments: argparse.Namespace) -> int:
    from .apps.play import play

    play(arguments.src, start=arguments.start, **_reading(arguments))
    return 0


def _remux(arguments: argparse.Namespace) -> int:
    from .container.remux import remux

    remux(arguments.src, arguments.dst, force=arguments.force)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from .container.opening import info

    report = info(arguments.src, max_pixels=arguments.max_pixels)
    plain = report.plan if arguments.plan else report.text()
    print(report.json() if arguments.json else report.csv() if arguments.csv else plain)
    if report.damage:
        raise DamageError.of(arguments.src, report.damage, "fetch the file again")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from .decoder.video import verify

    with progress_on_terminal("verifying") as progress:
        count = verify(arguments.src, progress=progress, **_reading(arguments))
    print(f"{count} frames, all as encoded")
    return 0


def _reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `_add_reading` asked for, as arguments of `decode` and `verify`."""
    return {name: getattr(arguments, name) for name in (*SHARED, "anchor", "max_pixels")}


def _sample(arguments: argparse.Namespace) -> int:
    from importlib.resources import files

    from .files import replacing

    with replacing(arguments.output) as file:
        file.write((files("codec") / "sample" / SAMPLE).read_bytes())
    return 0


def _anchors(arguments: argparse.Namespace) -> int:
    from .anchors.listing import print_anchors

    print_anchors()
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from .models.onnx_file import export_onnx

    export_onnx(arguments.model, arguments.onnx)
    return 0


if __name__ == "__main__":
    sys.exit(main())
