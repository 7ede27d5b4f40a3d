# SPDX-License-Identifier: MIT
"""Which weights there are: by name, by path, by fingerprint."""

import hashlib
import os
from importlib.resources import files
from pathlib import Path

from ..errors import ModelError

DEFAULT_MODEL = "base"
DEFAULT_CODEC = "bframe"
FINGERPRINT_BYTES = 8
SEARCH_PATH = "NCM_WEIGHTS"  # folders with further weights, separated as in PATH


def weights_files() -> dict[str, Path]:
    """All weights this installation has, by name: those in the folders of $NCM_WEIGHTS before those that ship."""
    folders = [Path(p) for p in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if p]
    found: dict[str, Path] = {}
    for folder in (*folders, Path(str(files("codec") / "weights"))):
        for path in sorted(folder.glob("*.safetensors")):
            found.setdefault(path.stem, path)
    return found


def find(name: str) -> Path:
    """The weights file of this name, or this path if it ends in .safetensors. ModelError if there is none."""
    available = weights_files()
    path = Path(name) if name.endswith(".safetensors") else available.get(name)
    if path is None or not path.is_file():
        known = ", ".join(available)
        raise ModelError(f"model {name!r} is not installed; there are {known}, or give a .safetensors file")
    return path


def find_fingerprint(fingerprint: bytes, name: str, *, beside: Path | None = None) -> Path:
    """The path of the weights file with this fingerprint, among those installed and in the folder `beside`.

    ModelError, with the model's name, if there is none.
    """
    nearby = sorted(beside.glob("*.safetensors")) if beside else []
    for path in (*weights_files().values(), *nearby):
        if fingerprint_of(path) == fingerprint:
            return path
    raise ModelError(
        f"model {name!r}, fingerprint {fingerprint.hex()}, is needed and not installed; "
        f"put its .safetensors file into a folder named in ${SEARCH_PATH}"
    )


def fingerprint_of(path: Path) -> bytes:
    """The first bytes of a file's SHA-256, by which streams name their weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()[:FINGERPRINT_BYTES]
