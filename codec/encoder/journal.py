# SPDX-License-Identifier: MIT
"""What makes an encode resumable: finished segments, kept in a folder beside the output until that is complete.

The folder holds what they belong to, the stream as far as it goes, and a line of JSON for each segment: where it ends
in the stream, and the rows of its pictures. A line is written last, so what was under way at a stop is dropped.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ..arguments import flag_of
from ..bitstream.framing import write_header
from ..bitstream.reader import StreamReader
from ..bitstream.units import Header, Unit
from ..bitstream.writer import Output
from ..device import choose_device
from ..errors import InputError
from ..files import PathLike, is_pipe, unwritable
from ..version import __version__
from .report import FrameRow
from .settings import MAX_STREAM_SIDE, EncodeSettings

ABOUT, STREAM, ROWS = "about.json", "segments", "rows.jsonl"
UNRELATED = ("workers", "ray", "resume", "force", "csv", "recon")  # settings that change nothing in the stream


class Kept(NamedTuple):
    """A segment that was finished before an encode stopped, and the rows of its pictures."""

    unit: Unit
    rows: tuple[FrameRow, ...]


class Journal:
    """Keeps finished segments in a folder; `about` says what they depend on.

    It is what a stream is written to, from its start, and hands on what is written. InputError if the folder holds
    segments of another encode, OutputError if it cannot be written.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self._stream, self._rows = folder / STREAM, folder / ROWS
        self._output: Output | None = None
        with self._using():
            folder.mkdir(parents=True, exist_ok=True)
            self._lines = [] if self._has_nothing() else self._sound_lines()
            if self._lines:
                self._check(about)
            else:
                (folder / ABOUT).write_text(json.dumps(about, default=str))
        self._stop = self._lines[-1]["stop"] if self._lines else 0  # bytes of the stream that are in the folder
        self._position = 0  # in the stream that is written now

    def kept(self) -> Iterator[Kept]:
        """The segments that were finished before, in order; to be taken before another is added. InputError."""
        if not self._lines:
            return
        with self._stream.open("rb") as file:
            units = StreamReader(file, max_pixels=MAX_STREAM_SIDE**2).units()
            for line in self._lines:
                unit, rows = next(units, None), self._rows_of(line)
                if unit is None or unit.damage or [row.poc for row in rows] != list(unit.segment.pocs):
                    raise self._refused("is damaged")
                yield Kept(unit, rows)

    def _rows_of(self, line: dict[str, Any]) -> tuple[FrameRow, ...]:
        """The rows of a segment. InputError if they are none."""
        try:
            return tuple(FrameRow(**row) for row in line["rows"])
        except (KeyError, TypeError) as error:
            raise self._refused("is damaged") from error

    def onto(self, output: Output) -> "Journal":
        """This, handing on to an output."""
        self._output = output
        return self

    def write(self, item: bytes, /) -> None:
        """Take an item of the stream; only what is not in the folder yet goes there."""
        assert self._output is not None
        self._output.write(item)
        self._position += len(item)
        if self._position > self._stop:
            self._append(self._stream, item)

    def add(self, rows: Sequence[FrameRow]) -> None:
        """A segment has been written whole; these are the rows of its pictures."""
        if self._position > self._stop:
            line = {"stop": self._position, "rows": [asdict(row) for row in rows]}
            self._append(self._rows, json.dumps(line).encode() + b"\n")
            self._stop = self._position

    def remove(self) -> None:
        """Nothing need be kept any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_empty(self) -> bool:
        """Whether no segment is finished."""
        return not self._stop

    def _has_nothing(self) -> bool:
        return not (self._stream.exists() and self._rows.exists())

    def _sound_lines(self) -> list[dict[str, Any]]:
        """The lines of segments that are in the stream whole; whatever else is in the files is dropped."""
        size = self._stream.stat().st_size
        try:
            lines = [line for line in self._rows.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
            known = [json.loads(line) for line in lines]
            known = [line for line in known if line["stop"] <= size]
        except (ValueError, KeyError, TypeError) as error:
            raise self._refused("is damaged") from error
        os.truncate(self._rows, sum(len(line) for line in lines[: len(known)]))
        os.truncate(self._stream, known[-1]["stop"] if known else 0)
        return known

    def _check(self, about: Mapping[str, Any]) -> None:
        """InputError that names what differs, if anything does."""
        try:
            before, now = json.loads((self.folder / ABOUT).read_text()), json.loads(json.dumps(about, default=str))
        except ValueError as error:
            raise self._refused("is damaged") from error
        if not isinstance(before, dict):
            raise self._refused("is damaged")
        differing = [name for name in now if before.get(name) != now[name]]
        if differing:
            raise self._refused(f"holds segments of another encode ({', '.join(differing)} differ)")

    def _refused(self, what: str) -> InputError:
        return InputError(f"{self.folder}: {what}; encode as before, or remove this folder to begin anew")

    def _append(self, path: Path, data: bytes) -> None:
        with self._using(), path.open("ab") as file:
            file.write(data)

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self.folder, error) from error


@contextmanager
def keeping(target: str | None, src: PathLike, settings: EncodeSettings, header: Header) -> Iterator[Journal | None]:
    """The journal of a stream that will be at `target`, None unless settings ask for it.

    It goes when the block ends well, or has no segment. InputError for pipes.
    """
    if not settings.resume:
        yield None
        return
    if target is None or is_pipe(target) or is_pipe(src):
        raise InputError("--resume reads the video again and goes on beside the output; give files instead of pipes")
    journal = Journal(Path(f"{target}.resume"), _about(src, settings, header))
    try:
        yield journal
    except BaseException:
        if journal.is_empty:
            journal.remove()
        raise
    journal.remove()


def _about(src: PathLike, settings: EncodeSettings, header: Header) -> dict[str, Any]:
    """What the segments of an encode depend on, by what a user calls it; the header has the networks' fingerprints."""
    file = Path(src).resolve()
    try:
        status = file.stat()
    except OSError as error:
        raise InputError(f"{src}: cannot be read ({error.strerror}); check the path") from error
    chosen = {name: value for name, value in asdict(settings).items() if name not in UNRELATED}
    return {
        "the source": [str(file), status.st_mtime_ns, status.st_size],
        **{flag_of(name): value for name, value in chosen.items()},
        "the device": str(choose_device(settings.device)),
        "the stream's header": write_header(header).hex(),
        "the version": __version__,
        "the number of threads": settings.workers == 0,
    }
