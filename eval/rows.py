# SPDX-License-Identifier: MIT
"""The records of rate-distortion runs: a row a rate point, and a row a frame in a second file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import codec
from eval import tables

KEY = ["sequence", "codec", "crf"]  # the columns that tell rows apart


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
    xpsnr: float = math.nan
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
    xpsnr: float = math.nan
    vmaf: float = math.nan

    @property
    def key(self) -> tuple[str, str, float]:
        """Sequence, codec and rate point, as the row of the whole video has them."""
        return self.sequence, self.codec, self.crf


def frames_file(results: Path) -> Path:
    """Where the frames of a results file lie: beside it, results.frames.csv."""
    return results.with_suffix(".frames.csv")


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file. InputError if it cannot be read."""
    return tables.read_rows(path, Row)


def read_frames(results: Path) -> list[FrameRow]:
    """The frames that belong to a results file; none if there is no such file. InputError if it cannot be read."""
    path = frames_file(results)
    return tables.read_rows(path, FrameRow) if path.exists() else []


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """A column a field of `Row`; older files know no classes, so theirs is called "sequences".

    A row that is there twice counts once. InputError if two differ in what they say of one rate point.
    """
    table = tables.table_of(rows, Row).replace({"sequence_class": {"": "sequences"}}).drop_duplicates()
    for row in table[table.duplicated(KEY)].itertuples():
        raise codec.InputError(f"two different rows of {row.codec} at {row.crf:g} of {row.sequence}; keep one")
    return table


def read_table(files: Sequence[Path], names: Sequence[str] | None) -> pd.DataFrame:
    """The rows of several results files as one table, of these codecs or of all.

    InputError if a file cannot be read or has no rows, if two hold the same rate point, or if a codec has no rows.
    """
    rows = table_of([row for file in files for row in tables.some_rows(file, Row)])
    if unknown := sorted(set(names or ()) - set(rows.codec)):
        raise codec.InputError(f"codec {unknown[0]!r}: no rows of it; there are {', '.join(rows.codec.unique())}")
    return rows[rows.codec.isin(names)] if names else rows


def write(results: Path, rows: Sequence[Row], frames: Sequence[FrameRow]) -> None:
    """Write both files whole, the frames first, so that no row ever lacks its frames. OutputError if that fails."""
    try:
        tables.write_rows(frames_file(results), frames)
        tables.write_rows(results, rows)
    except OSError as err:
        raise codec.OutputError(f"{results}: cannot be written ({err.strerror or err}); check the directory") from err
