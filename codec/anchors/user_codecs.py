# SPDX-License-Identifier: MIT
"""Anchor codecs that the user defines: a .toml file each, with the commands of an encoder and a decoder."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .access_units import CODECS
from .program_codecs import Command, ProgramRow

SEARCH_PATH = "NCM_ANCHORS"  # folders with definitions, separated as in PATH
REQUIRED: dict[str, Any] = {"name": str, "encoder": str, "decoder": str}
OPTIONAL: dict[str, Any] = {
    "formats": dict,
    "stream": str,
    "quality": str,
    "quality_range": list,
    "default": (int, float),
    "presets": list,
    "preset": str,
    "video": str,
    "parameter": str,
    "slope": list,
    "variable": str,
    "minimum_size": int,
    "ignored": str,
    "lost": str,
    "encoder_version": list,
    "decoder_version": list,
}
CHOICES = {"quality": ("qp", "crf"), "video": ("yuv", "y4m"), "stream": (*CODECS, "whole")}


def defined_rows() -> dict[str, ProgramRow]:
    """The rows in the folders of $NCM_ANCHORS by name; of two with one name the first. InputError if one is wrong."""
    folders = [Path(folder) for folder in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if folder]
    rows: dict[str, ProgramRow] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        row = load_row(path)
        rows.setdefault(row.name, row)
    return rows


def load_row(path: Path) -> ProgramRow:
    """The row that a .toml file defines. InputError if the file is missing or something in it is wrong."""
    if not path.is_file():  # a pipe would wait for ever
        raise InputError(f"{path}: is no file, so it defines no anchor codec; check the path")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise InputError(f"{path}: no definition of an anchor codec can be read from it ({error})") from error
    _check(path, table)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        for what in ("encoder", "decoder"):
            values[what] = Command.parse(values[what], values.pop(f"{what}_version", ("", "")))
        values["formats"] = {int(depth): word for depth, word in values.get("formats", {"8": "8", "10": "10"}).items()}
        if "slope" in values:
            slope = tuple(map(float, values.pop("slope")))
            values["slopes"] = dict.fromkeys(values.get("presets", ("",)), slope)
        for key in ("ignored", "lost"):
            re.compile(values.get(key, ""))
        if "quality_range" in values:
            values["quality_range"] = low, high = tuple(map(float, values["quality_range"]))
            if not low <= high:
                raise ValueError(f"quality_range = [{low:g}, {high:g}] ends before it begins; give the lower end first")
    except (ValueError, TypeError, re.error) as error:
        raise InputError(f"{path}: {error}; docs/anchors.md has an example") from error
    if not set(values["formats"]) <= {8, 10}:
        raise InputError(f"{path}: formats are of bit depths 8 and 10; leave the others out")
    return ProgramRow(**{"stream": "whole", **values}, folder=path.resolve().parent)


def _check(path: Path, table: Mapping[str, Any]) -> None:
    """InputError unless the keys are ours, those needed are there, and values are of their types."""
    kinds = REQUIRED | OPTIONAL
    for key, value in table.items():
        if key not in kinds:
            raise InputError(f"{path}: {key!r} is not a key; there are {', '.join(kinds)}")
        if not isinstance(value, kinds[key]):
            raise InputError(f"{path}: {key} = {value!r} is of the wrong type; docs/anchors.md has an example")
        if value not in CHOICES.get(key, (value,)):
            raise InputError(f"{path}: {key} = {value!r} is unknown; choose from {', '.join(CHOICES[key])}")
        if key in ("quality_range", "slope", "encoder_version", "decoder_version") and len(value) != 2:
            raise InputError(f"{path}: {key} = {value!r} must be two values; docs/anchors.md has an example")
    if missing := REQUIRED.keys() - table.keys():
        raise InputError(f"{path}: {min(missing)!r} is missing; docs/anchors.md has an example")
    if not table["name"].isprintable() or table["name"].endswith(".toml") or not table["name"]:
        raise InputError(f"{path}: name = {table['name']!r} cannot be a name; write a short word")
    if table.get("presets") and table.get("preset") not in table["presets"]:
        raise InputError(f"{path}: preset must be the one of presets that is used by default")
