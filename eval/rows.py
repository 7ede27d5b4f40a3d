# SPDX-License-Identifier: MIT
"""The records of rate-distortion runs: a row a rate point, and a row a frame in a second file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import codec
from eval import tables


@dataclass(frozen=True)
class Row:
    """One sequence at one rate point of one codec. Rates in bits a pixel, quality as the mean over frames.

    `crf` is the value of the option `rate_option`; bpp is that of the whole file over all frames, bpp_i, bpp_p and
    bpp_b count the pictures of one kind, framing aside, over those. Seconds are of the command, the start of the
    interpreter aside; memory is the process's peak resident set in 10^6 bytes. Files of older runs lack what has a
    default; NaN and '' mean not known.
    """

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
    sequence_class: str = ""
    codec_class: str = ""
    width: int = 0
    height: int = 0
    rate_option: str = "crf"
    psnr_u: float = math.nan
    psnr_v: float = math.nan
    vmaf: float = math.nan
    bpp_i: float = math.nan
    bpp_p: float = math.nan
    bpp_b: float = math.nan
    encode_memory: float = math.nan
    decode_memory: float = math.nan
    rgb: str = ""
    command: str = ""
    versions: str = ""
    commit: str = ""
    machine: str = ""

    @property
    def key(self) -> tuple[str, str, float]:
        """What tells rows apart: sequence, codec, rate point."""
        return self.sequence, self.codec, self.crf

    @property
    def group(self) -> str:
        """The sequence's class; older files know none."""
        return self.sequence_class or "sequences"


@dataclass(frozen=True)
class FrameRow:
    """One frame of a rate point; bits are those of the picture, framing aside. NaN where it was not measured."""

    sequence: str
    codec: str
    crf: float
    poc: int
    kind: str
    bits: int
    psnr_y: float
    psnr_u: float
    psnr_v: float
    psnr_yuv: float
    psnr_rgb: float
    ms_ssim: float
    vmaf: float = math.nan

    @property
    def key(self) -> tuple[str, str, float]:
        """That of the row this belongs to."""
        return self.sequence, self.codec, self.crf


def frames_file(results: Path) -> Path:
    """Where the frames of a results file lie: beside it, results.frames.csv."""
    return results.with_suffix(".frames.csv")


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file. InputError if it cannot be read."""
    return _read(path, Row)


def read_frames(results: Path) -> list[FrameRow]:
    """The frames that belong to a results file; none if there is no such file. InputError if it cannot be read."""
    path = frames_file(results)
    return _read(path, FrameRow) if path.exists() else []


def _read(path: Path, kind: type[tables.R]) -> list[tables.R]:
    try:
        return tables.read_rows(path, kind)
    except (OSError, KeyError, ValueError, TypeError) as err:
        raise codec.InputError(f"{path}: no results file ({err}); `rd_curves.py run` makes one") from err


def rows_of(files: Sequence[Path]) -> list[Row]:
    """The rows of several results files. InputError if one cannot be read, or if two hold the same rate point."""
    rows: dict[tuple[str, str, float], Row] = {}
    for row in (row for file in files for row in read_rows(file)):
        if rows.setdefault(row.key, row) != row:
            raise codec.InputError(f"two different rows of {row.codec} at {row.crf:g} of {row.sequence}; keep one")
    return list(rows.values())


def chosen(rows: Sequence[Row], names: Sequence[str] | None) -> list[Row]:
    """The rows of these codecs, all if none are named. InputError if one has no rows."""
    found = dict.fromkeys(row.codec for row in rows)
    if unknown := sorted(set(names or ()) - set(found)):
        raise codec.InputError(f"codec {unknown[0]!r}: no rows of it; there are {', '.join(found)}")
    return [row for row in rows if row.codec in (names or found)]


def write(results: Path, rows: Sequence[Row], frames: Sequence[FrameRow]) -> None:
    """Write both files whole, the frames first, so that no row ever lacks its frames. OutputError if that fails."""
    try:
        tables.write_rows(frames_file(results), frames)
        tables.write_rows(results, rows)
    except OSError as err:
        raise codec.OutputError(f"{results}: cannot be written ({err.strerror or err}); check the directory") from err
