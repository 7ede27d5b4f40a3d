# SPDX-License-Identifier: MIT
"""Which weights there are: by name, by path, by fingerprint."""

import hashlib
import os
import stat
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from ..errors import ModelError
from ..notes import tell

DEFAULT_MODEL = "base"
DEFAULT_CODEC = "bframe"
FAST_MODEL, FAST_CODEC = "lite", "fast"  # of the preset `fast`
DEFAULT_NEIGHBOURS, BEST_NEIGHBOURS = "neighbour", "neighbour-ncm"
FOR_RESTORED = "-av1"  # ends the names of those filters' likes for pictures that have had Wiener filters already
FINGERPRINT_BYTES = 8
SEARCH_PATH = "NCM_WEIGHTS"  # folders with further weights, separated as in PATH
EARLIER = "earlier"  # weights that shipped before: a numbered folder for each time that some were replaced
SUFFIX = ".safetensors"
LARGEST = 1 << 30  # bytes: fifty times the largest that ships; a larger file is none of ours


def all_weights() -> Iterator[Path]:
    """All weights files, those in the folders of $NCM_WEIGHTS before those that ship; several may have one name.

    The last are those that others of their names took the place of: streams made with them go on being decoded.
    """
    folders = [Path(folder) for folder in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if folder]
    shipped = Path(str(files("codec") / "weights"))
    for folder in (*folders, shipped, *sorted((shipped / EARLIER).iterdir())):
        yield from _files_in(folder)


def weights_files() -> dict[str, Path]:
    """All weights this installation has, by name: those in the folders of $NCM_WEIGHTS before those that ship."""
    found: dict[str, Path] = {}
    for path in all_weights():
        found.setdefault(path.stem, path)
    return found


def find(name: str) -> Path:
    """The weights file of this name, or this path if it ends in .safetensors. ModelError if there is none."""
    if name.endswith(SUFFIX):
        if problem := _problem(Path(name)):
            raise ModelError(f"{name}: {problem}; give a {SUFFIX} file")
        return Path(name)
    available = weights_files()
    if name not in available:
        known = ", ".join(available)
        raise ModelError(f"model {name!r} is not installed; there are {known}, or give a {SUFFIX} file")
    return available[name]


def find_fingerprint(fingerprint: bytes, name: str, *, beside: Path | None = None) -> Path:
    """The path of the weights file with this fingerprint, among those installed and in the folder `beside`.

    Its name only says where to look first. ModelError, with the model's name, if there is none.
    """
    paths = [*all_weights(), *(_files_in(beside) if beside else ())]
    for path in sorted(paths, key=lambda path: path.stem != name):
        if fingerprint_of(path) == fingerprint:
            return path
    raise ModelError(
        f"model {name!r}, fingerprint {fingerprint.hex()}, is needed and not installed; "
        f"put its {SUFFIX} file into a folder named in ${SEARCH_PATH}"
    )


def fingerprint_of(path: Path) -> bytes:
    """The first bytes of a file's SHA-256, by which streams name their weights. ModelError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:FINGERPRINT_BYTES]
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the file") from error


def _files_in(folder: Path) -> Iterator[Path]:
    """The weights files of a folder. What is called like one and cannot be one is passed over, and said."""
    try:
        paths = sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        tell(str(folder), [f"is no folder of weights ({getattr(error, 'strerror', error)}); passed over"])
        return
    for path in (path for path in paths if path.name.endswith(SUFFIX)):
        if problem := _problem(path):
            tell(str(path), [f"{problem}; passed over"])
        else:
            yield path


def _problem(path: Path) -> str:
    """Why a path cannot be of weights; "" if it can. Nothing is opened: a pipe would wait for ever."""
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        return f"cannot be used as weights ({getattr(error, 'strerror', error)})"
    if not stat.S_ISREG(found.st_mode):
        return "is no file, so it holds no weights"
    if found.st_size > LARGEST:
        return f"is too large for weights, {found.st_size} bytes"
    return "" if os.access(path, os.R_OK) else "holds weights that may not be read"
