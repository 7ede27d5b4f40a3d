# SPDX-License-Identifier: MIT
"""Many files with one command: folders keep their tree, what is done is skipped, what fails does not stop the rest."""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from .errors import DamageError, InputError
from .files import PathLike, leads_nowhere
from .notes import tell
from .progress import Progress
from .status import is_stopping, plain, told

CODED = ".ncm"  # stands before a film's own suffix if it holds a stream
DONE, SKIPPED, DAMAGED, FAILED = "done", "skipped", "damaged", "failed"


class Job(NamedTuple):
    """A file to read and the one to write."""

    src: Path
    dst: Path


class Outcome(NamedTuple):
    """What became of a job, and what there is to say of it, in one line."""

    job: Job
    what: str
    note: str = ""


Work = Callable[[Job, Progress], str]  # does a job, and returns what there is to say of it
Bar = Callable[[str], AbstractContextManager[Progress]]  # where progress on a job of this name is shown


class Sort(NamedTuple):
    """The files of a folder that a command takes, in words and as a rule, and what its outputs' names end with."""

    words: str
    takes: Callable[[Path], bool]
    suffix: Callable[[Path], str]


def add_outputs(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the options that say where the output of one file goes, as `help` explains, and where those of several go."""
    parser.add_argument("-o", "--output", metavar="FILE", help=help)
    parser.add_argument("--output-dir", metavar="DIR", help="for several files and for folders, whose tree is kept")


def is_many(arguments: argparse.Namespace) -> bool:
    """Whether a command is about several files, or a folder. InputError if it does not say where they go."""
    if "" in (*arguments.src, arguments.output, arguments.output_dir):  # as an unset variable of a shell gives it
        raise InputError("a name is empty; give a file or a folder")
    many = len(arguments.src) > 1 or arguments.output_dir is not None or Path(arguments.src[0]).is_dir()
    if many and (arguments.output_dir is None or arguments.output is not None or "-" in arguments.src):
        raise InputError("several files, or a folder, go into a folder; give --output-dir, and neither -o nor a pipe")
    return many


def jobs_of(sources: Sequence[PathLike], output_dir: PathLike, sort: Sort) -> list[Job]:
    """A job for each source; of a folder, for each file below it of a sort, at its place in the tree.

    Where two outputs would have one name, they keep the suffixes of their sources. InputError if there is nothing to
    do, or an output would be written over an input.
    """
    found = [pair for source in sources for pair in _found(Path(source), sort.takes)]
    if not found:
        raise InputError(f"{', '.join(map(str, sources))}: no files to work on; give files, or folders of {sort.words}")
    names = Counter(_bare(place) + sort.suffix(src) for src, place in found)
    jobs = []
    for src, place in found:
        name = _bare(place) + sort.suffix(src)
        jobs.append(Job(src, Path(output_dir) / (f"{place}{sort.suffix(src)}" if names[name] > 1 else name)))
    twice = [dst for dst, count in Counter(job.dst for job in jobs).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: two inputs would be written there; give them to separate commands")
    return jobs


def _bare(place: Path) -> str:
    """A place without the suffix of its file, and without that of a stream before it."""
    return str(place.with_suffix("")).removesuffix(CODED)


def _found(source: Path, takes: Callable[[Path], bool]) -> Iterator[tuple[Path, Path]]:
    """Each file of a source, and its place below it."""
    if not source.is_dir():
        yield source, Path(source.name)
        return
    for path in sorted(_below(source)):
        if (path.is_file() or leads_nowhere(path)) and takes(path):
            yield path, path.relative_to(source)


def _below(folder: Path) -> Iterator[Path]:
    """What is in a folder and those in it, but for folders and what is hidden.

    Folders that cannot be read are told, and so are links to folders. Such links could lead back, so none is followed.
    """

    def unreadable(error: OSError) -> None:
        tell(str(error.filename), [f"cannot be read ({error.strerror}); what is in it is left out"])

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for linked in filter(Path.is_symlink, map(Path(place).joinpath, folders)):
            tell(str(linked), ["is a link to a folder; it is left out, so give it by name"])
        yield from (Path(place, name) for name in names if not name.startswith("."))


def run_jobs(jobs: Sequence[Job], work: Work, bar: Bar, at_once: int = 1) -> Iterator[Outcome]:
    """What became of each job, in order. A job is skipped if its output is there and not older than its source.

    Whatever goes wrong with one, a fault of ours too, is said of it, and the others are done. With several `at_once`
    each is worked on by a thread, and `bar` must show as many.
    """
    one = partial(_one, work, bar, len(jobs))
    if at_once == 1:  # in this thread, which signals reach
        yield from map(one, count(1), jobs)
        return
    threads = ThreadPoolExecutor(at_once)
    try:
        yield from threads.map(one, count(1), jobs)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _one(work: Work, bar: Bar, total: int, number: int, job: Job) -> Outcome:
    """What became of the job of this number, of so many."""
    if _is_done(job):
        return Outcome(job, SKIPPED)
    with bar(plain(f"{number}/{total} {job.src.name}")) as progress:
        return _outcome(job, work, progress)


def _is_done(job: Job) -> bool:
    try:
        is_other = job.dst.is_file() and not job.dst.samefile(job.src)
        return is_other and job.dst.stat().st_mtime >= job.src.stat().st_mtime
    except OSError:
        return False


def _outcome(job: Job, work: Work, progress: Progress) -> Outcome:
    try:
        job.dst.parent.mkdir(parents=True, exist_ok=True)
        return Outcome(job, DONE, work(job, progress))
    except DamageError as error:
        return Outcome(job, DAMAGED, str(error))
    except Exception as error:
        if is_stopping():  # compiled code may turn the exception of a signal into one of its own
            raise
        return Outcome(job, FAILED, told(error)[1])


def table(outcomes: Sequence[Outcome]) -> str:
    """A line for each job, and how many there are of each kind."""
    names = [plain(str(outcome.job.src)) for outcome in outcomes]
    width = max(map(len, names))
    lines = [f"{n:{width}}  {o.what:7}  {plain(o.note)}".rstrip() for n, o in zip(names, outcomes, strict=True)]
    counts = Counter(outcome.what for outcome in outcomes)
    return "\n".join([*lines, ", ".join(f"{count} {what}" for what, count in counts.items())])


def status_of(outcomes: Sequence[Outcome]) -> int:
    """2 if any job failed, else 1 if any was decoded with damage, else 0."""
    found = {outcome.what for outcome in outcomes}
    return 2 if FAILED in found else 1 if DAMAGED in found else 0
