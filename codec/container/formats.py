# SPDX-License-Identifier: MIT
"""Which anchors a film can hold, and which files are films by their names."""

from pathlib import Path

from ..errors import OutputError
from .nal_units import AVC, HEVC
from .obus import AV1
from .sample import SampleFormat

SAMPLE_FORMATS: dict[str, SampleFormat] = {"x265": HEVC, "svtav1": AV1, "x264": AVC}  # by the codec of the anchors
BY_CODEC = {form.codec: form for form in SAMPLE_FORMATS.values()}
FILMS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}  # FFmpeg's names of the containers
PLAIN = ".ncm"
NO_STREAM = "not an .ncm stream, and no film with one inside; give what codec encode wrote"
FOREIGN_FILMS = (".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".mxf")
OTHERS = (*FOREIGN_FILMS, ".yuv", ".y4m")  # what a stream is not put in


def default_suffix(src: str | Path, anchor_codec: str) -> str:
    """What a video's name ends with once it is coded: a film becomes a film, if one can hold its anchors."""
    suffix = Path(src).suffix.lower()
    if anchor_codec not in SAMPLE_FORMATS or (suffix not in FILMS and suffix not in FOREIGN_FILMS):
        return PLAIN
    return f"{PLAIN}.{'mp4' if FILMS.get(suffix) in ('mp4', 'mov') else 'mkv'}"


def is_film_name(path: str | Path) -> bool:
    """Whether a file of this name is to be a film."""
    return str(path) != "-" and Path(path).suffix.lower() in FILMS


def check_name(path: str | Path) -> None:
    """OutputError if the name asks for a container that a stream is not put in."""
    if str(path) != "-" and Path(path).suffix.lower() in OTHERS:
        raise OutputError(f"{path}: a stream is written as {PLAIN}, {', '.join(FILMS)}; give one of these names")


def check_anchors(path: str | Path, anchor_codec: str) -> None:
    """OutputError if a file of this name cannot hold a stream with such anchors."""
    check_name(path)
    if not is_film_name(path):
        return
    if anchor_codec not in SAMPLE_FORMATS:
        known = ", ".join(SAMPLE_FORMATS)
        raise OutputError(f"{path}: cannot hold anchors of {anchor_codec!r}, only of {known}; write to {PLAIN} instead")
    if SAMPLE_FORMATS[anchor_codec] is AV1 and FILMS[Path(path).suffix.lower()] == "mov":
        raise OutputError(f"{path}: cannot hold AV1; write to .mp4, .mkv or {PLAIN} instead")
