# SPDX-License-Identifier: MIT
"""The command `codec encode`. Nothing here loads torch before a video is encoded."""

import argparse
import sys
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import flag_of
from ..batch import Job, Sort, add_outputs, is_many, jobs_of, run_jobs, status_of, table
from ..errors import DamageError, InputError
from ..files import PathLike
from ..progress import Progress
from ..terminal import bars_on_terminal, no_bar, progress_on_terminal, typed
from .json_lines import progress_of, put_outcome, put_summary
from .settings import EncodeSettings, Option

if TYPE_CHECKING:
    from .report import Summary

VIDEOS = frozenset(
    f".{word}"
    for word in "yuv y4m mp4 m4v mov mkv webm avi ts m2ts mts mpg mpeg wmv flv 3gp ogv mxf gif".split()  # noqa: SIM905
)


def add_encode(parser: argparse.ArgumentParser) -> None:
    """Every field of EncodeSettings that is an option, and how the command reports; sets `command`."""
    add = parser.add_argument
    add("src", metavar="VIDEO", nargs="+", help=".yuv, .y4m, anything PyAV opens, or - for standard input; or a folder")
    add_outputs(
        parser, ".ncm, .mp4, .mov, .mkv, or - (.ncm); default: VIDEO with .ncm, a film with .ncm.mp4 or .ncm.mkv"
    )
    add("--json", action="store_true", help="print progress and summary as JSON, an object a line")
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for field in fields(EncodeSettings):
        if (option := field.metadata.get("option")) is None:
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        add_option(groups[option.group], field.name, field.default, option)
    parser.set_defaults(command=_encode)


def add_option(group: "argparse._ActionsContainer", name: str, default: object, option: Option) -> None:
    """Add an option of EncodeSettings, which other commands may share, to a parser or a group of it."""
    flags = option.flags or (flag_of(name),)
    how: dict[str, Any] = {"dest": name, "default": default, "help": option.help}
    if option.action == "no-and-yes":
        how["action"] = argparse.BooleanOptionalAction
    elif option.action:
        how["action"] = option.action
    else:
        how |= {"metavar": option.metavar} if option.metavar else {}
        how |= {"type": typed(option.parse)} if option.parse else {}
    group.add_argument(*flags, **how)


def _encode(arguments: argparse.Namespace) -> int:
    names = (field.name for field in fields(EncodeSettings) if field.metadata)
    settings = EncodeSettings(**{name: getattr(arguments, name) for name in names})
    piped = "-" in (arguments.output, settings.recon, settings.csv)
    if piped and arguments.json:
        raise InputError("--json writes to standard output, and so does an output of '-'; give that a file name")
    if is_many(arguments):
        return _encode_many(arguments, settings)
    src = arguments.src[0]
    summary = _encoded(src, arguments.output, settings, json=arguments.json)
    if not arguments.json:
        text = f"{summary.text()}\n{summary.plan}" if settings.dry_run else summary.text()
        print(text, file=sys.stderr if piped else sys.stdout)
    return 1 if summary.problems else 0


def _encoded(src: PathLike, dst: PathLike | None, settings: EncodeSettings, *, json: bool) -> "Summary":
    """Encode a video, whose progress and summary are printed if they are to be JSON."""
    from .encode import encode

    with nullcontext(progress_of(src)) if json else progress_on_terminal("encoding") as progress:
        summary = encode(src, dst, settings, progress=progress)
    if json:
        put_summary(src, summary)
    return summary


def _encode_many(arguments: argparse.Namespace, settings: EncodeSettings) -> int:
    """Encode several files, or folders."""
    from ..parallel.files import ALONE, placed

    alone = [flag_of(name) for name in ("csv", "recon", "dry_run") if getattr(settings, name)]
    if alone:
        raise InputError(f"{alone[0]} is for one video; leave it out, or give one")
    jobs = jobs_of(arguments.src, arguments.output_dir, videos(settings.anchor))
    own = settings if settings.ray is None else replace(settings, **ALONE)
    outcomes = []
    with (
        nullcontext(no_bar) if arguments.json else bars_on_terminal() as bar,
        placed(partial(_encode_job, own), arguments) as (done, at_once),
    ):

        def work(job: Job, progress: Progress) -> str:
            summary = done(job, progress_of(job.src) if arguments.json else progress)
            if arguments.json:
                put_summary(job.src, summary)
            if summary.problems:
                raise DamageError(f"{job.src}: {summary.problems[0]}; what can be decoded is coded")
            return summary.line()

        for outcome in run_jobs(jobs, work, bar, at_once):
            outcomes.append(outcome)
            if arguments.json:
                put_outcome(outcome)
    if not arguments.json:
        print(table(outcomes))
    return status_of(outcomes)


def _encode_job(settings: EncodeSettings, job: Job, progress: Progress) -> "Summary":
    from .encode import encode

    return encode(job.src, job.dst, settings, progress=progress)


def videos(anchor: str) -> Sort:
    """The videos that are not coded yet; a film becomes a film, if one can hold such anchors."""
    from ..container.formats import default_suffix
    from ..container.opening import holds_stream

    def takes(path: Path) -> bool:
        return path.suffix.lower() in VIDEOS and not holds_stream(path)

    words = f"{', '.join(sorted(VIDEOS))}; numbered images are one video, given as shot_%04d.png"
    return Sort(words, takes, lambda path: default_suffix(path, anchor))
