# SPDX-License-Identifier: MIT
"""The command `codec`: parse, call the library, turn a CodecError into one line and its exit status.

Nothing here loads torch before a command needs it, so that `codec --help` answers at once.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from .encoder.settings import EncodeSettings, Option
from .errors import CodecError, InputError
from .memory import keep_freed_memory
from .progress import Progress, quiet
from .train.command import add_train
from .version import __version__

SAMPLE = "bunny.mp4"
INTERRUPTED, CLOSED_PIPE = 130, 141  # what a shell expects after SIGINT and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (decoded with damage), 2 (refused) or 130 (interrupted)."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    _leave_nothing_behind()
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


def _leave_nothing_behind() -> None:
    """Have SIGTERM and SIGHUP end the process as an exception does: files that are not complete are removed."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):  # SIGHUP is not known everywhere
                signal.signal(getattr(signal, name), stop)


def _parser() -> argparse.ArgumentParser:
    description = "Learned B-frames between the anchors of any video codec."
    parser = argparse.ArgumentParser(prog="codec", description=description)
    parser.add_argument("--version", action="version", version=f"ncm-codec {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_encode(commands.add_parser("encode", help="code a video into an .ncm stream"))
    _add_decode(commands.add_parser("decode", help="decode an .ncm stream into a video"))
    _add_info(commands.add_parser("info", help="print a stream's header and a table of its frames"))
    _add_verify(commands.add_parser("verify", help="decode a stream and check the hashes it carries"))
    _add_sample(commands.add_parser("sample", help="write the small clip that comes with the package"))
    _add_anchors(commands.add_parser("anchors", help="list the codecs of anchors, and what the missing ones need"))
    add_train(commands.add_parser("train", help="train a network, and export what was trained"))
    return parser


def _add_encode(parser: argparse.ArgumentParser) -> None:
    """Every field of EncodeSettings that is an option."""
    parser.add_argument("src", metavar="VIDEO", help=".yuv, .y4m, anything PyAV opens, or - for standard input")
    parser.add_argument("-o", "--output", metavar="FILE", help="the stream (default: VIDEO with .ncm; - is a pipe)")
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for field in fields(EncodeSettings):
        if (option := field.metadata.get("option")) is None:
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add_option(groups[option.group], field.name, field.default, option)
    parser.set_defaults(command=_encode)


def _add_option(group: "argparse._ActionsContainer", name: str, default: object, option: Option) -> None:
    flags = option.flags or (f"--{name.replace('_', '-')}",)
    how: dict[str, Any] = {"dest": name, "default": default, "help": option.help}
    if option.action == "no-and-yes":
        how["action"] = argparse.BooleanOptionalAction
    elif option.action:
        how["action"] = option.action
    else:
        how |= {"metavar": option.metavar} if option.metavar else {}
        how |= {"type": _typed(option.parse)} if option.parse else {}
    group.add_argument(*flags, **how)


def _typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of a value whose InputError argparse prints as one of its own."""

    def typed(text: str) -> Any:  # noqa: ANN401
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    typed.__name__ = "number" if parse in (int, float) else parse.__name__
    return typed


def _add_decode(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="STREAM", help="an .ncm file, or - for standard input")
    add("-o", "--output", metavar="FILE", help=".yuv, .y4m, .mkv, .mp4 or - (y4m); default: STREAM with .dec.yuv")
    add("--video-codec", metavar="NAME", help="PyAV encoder for .mkv and .mp4 (default: lossless)")
    _add_reading(parser)
    parser.set_defaults(command=_decode)


def _add_info(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="STREAM", help="an .ncm file, or - for standard input")
    add("--csv", action="store_true", help="print the table of frames alone, comma-separated")
    add("--plan", action="store_true", help="print the schedule alone, a letter a frame (b: no payload)")
    parser.set_defaults(command=_info)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("src", metavar="STREAM", help="an .ncm file written with --hash, or - for standard input")
    _add_reading(parser)
    parser.set_defaults(command=_verify)


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="FILE", nargs="?", default=SAMPLE, help=f"the clip (default: {SAMPLE})")
    parser.set_defaults(command=_sample)


def _add_anchors(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_anchors)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """What every command that decodes a stream may be told."""
    add = parser.add_argument
    add("--anchor", metavar="FILE", help=".toml file that defines the anchors' codec (rarely needed)")
    options = {field.name: field.metadata["option"] for field in fields(EncodeSettings) if field.metadata}
    for name, default in (("anchor_decoder", None), ("device", "auto")):
        _add_option(parser, name, default, options[name])


def _encode(arguments: argparse.Namespace) -> int:
    from .encoder.encode import encode

    names = (field.name for field in fields(EncodeSettings) if field.metadata)
    settings = EncodeSettings(**{name: getattr(arguments, name) for name in names})
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
            video_codec=arguments.video_codec,
            progress=progress,
            **_reading(arguments),
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
        count = verify(arguments.src, progress=progress, **_reading(arguments))
    print(f"{count} frames, all as encoded")
    return 0


def _reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `_add_reading` asked for, as arguments of `decode` and `verify`."""
    return {name: getattr(arguments, name) for name in ("device", "anchor", "anchor_decoder")}


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


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A bar with finished frames, frames a second and the time left on a terminal's standard error; else nothing."""
    if not sys.stderr.isatty():
        yield quiet
        return
    from .progress_bar import progress_bar

    with progress_bar(what) as progress:
        yield progress


if __name__ == "__main__":
    sys.exit(main())
