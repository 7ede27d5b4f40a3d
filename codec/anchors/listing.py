# SPDX-License-Identifier: MIT
"""Which anchor codecs there are on this machine: what `codec anchors` prints."""

import os
import re
import subprocess
from importlib.metadata import version
from typing import NamedTuple

import av
from rich.console import Console
from rich.table import Table

from ..errors import AnchorError
from ..models.registry import weights_files
from .libav_codecs import LibavRow
from .program_codecs import Command, ProgramRow
from .registry import TCM, all_rows

TCM_WEIGHTS = "NCM_TCM_WEIGHTS"  # as in tcm/official.py, which takes seconds to import
PATIENCE = 10  # seconds to tell a version
WIDE = 1000  # columns where nobody looks


class Listing(NamedTuple):
    """A codec by name, its version, where it was found, and what it takes to have it, empty if it is there."""

    name: str
    version: str
    found: str
    missing: str


def listings() -> list[Listing]:
    """All anchor codecs that this installation knows. InputError if a definition of the user's is wrong."""
    rows = [_of_libav(row) if isinstance(row, LibavRow) else _of_programs(row) for row in all_rows().values()]
    return [*rows, _of_tcm()]


def print_anchors() -> None:
    """Print the listings as a table."""
    table = Table(box=None, pad_edge=False)
    for head in ("codec", "version", "found", "to enable it"):
        table.add_column(head, overflow="fold")  # paths are there to be copied: never cut them
    for listing in listings():
        table.add_row(*listing, style="dim" if listing.missing else "")
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    console.print(table)


def _of_libav(row: LibavRow) -> Listing:
    have = av.codecs_available
    lacking = row.encoder if row.encoder not in have else None
    if not any(decoder in have for decoder in row.decoders):
        lacking = row.decoders[0]
    version = "libavcodec " + ".".join(map(str, av.library_versions["libavcodec"]))
    missing = f"this PyAV was built without {lacking}; pip install --force av" if lacking else ""
    return Listing(row.name, version, "" if missing else f"PyAV {av.__version__}", missing)


def _of_tcm() -> Listing:
    """The learned codec; weights are looked for by name alone, since looking into them takes seconds."""
    shipped = [str(path) for name, path in weights_files().items() if name.startswith(f"{TCM}-")]
    folder = os.environ.get(TCM_WEIGHTS, "")
    found = [*shipped, *filter(None, [folder])]
    missing = "" if found else f"name the folder of published checkpoints in ${TCM_WEIGHTS}"
    return Listing(TCM, f"CompressAI {version('compressai')}", "\n".join(found), missing)


def _of_programs(row: ProgramRow) -> Listing:
    versions, found, missing = [], [], []
    for command in (row.encoder, row.decoder):
        try:
            path = row.find(command)
        except AnchorError as error:
            missing.append(str(error))
            continue
        found.append(path)
        versions.append(_version(path, command))
    return Listing(row.name, "/".join(dict.fromkeys(filter(None, versions))), "\n".join(found), "\n".join(missing))


def _version(path: str, command: Command) -> str:
    """What a program says its version is; nothing if it does not."""
    argument, pattern = command.version
    if not argument:
        return ""
    try:
        ran = subprocess.run(
            [path, argument],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(pattern, ran.stdout.decode(errors="replace"))
    return match[1] if match else ""
