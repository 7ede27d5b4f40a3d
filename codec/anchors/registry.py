# SPDX-License-Identifier: MIT
"""The anchor codecs by name: those of libavcodec, programs of their own, and those that the user defines."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..arguments import check_range, checked
from ..errors import InputError
from .libav import LibavAnchors, keyint_of
from .libav_codecs import ROWS, LibavRow
from .program import ProgramAnchors
from .program_codecs import PROGRAM_ROWS, ProgramRow
from .protocol import AnchorCodec
from .user_codecs import SEARCH_PATH, defined_rows, load_row

TCM = "tcm"  # the learned one, which has no row
Row = LibavRow | ProgramRow
MOST_PICTURES, MOST_THREADS = 1 << 30, 1024


@checked
def anchor_codec(
    name: str,
    *,
    preset: str | None = None,
    crf: float | None = None,
    qp: int | None = None,
    params: str = "",
    structural: bool = False,
    anchor_distance: int = 1,
    longest_group: int = 0,
    threads: int = 0,
    encoder: str | Path | None = None,
    decoder: str | Path | None = None,
) -> AnchorCodec:
    """The codec of this name, or defined by this .toml file; `crf` and `qp` exclude each other.

    Anchors are `anchor_distance` pictures apart, which the encoder's rate control needs to know. `longest_group` is
    the most anchors that a closed group will ever hold (0: no limit). Without it, x265 and x264 plan past a
    key frame that only the picture asks for, and that costs x265 1 to 4 % of its bits. `structural` asks encoders that
    can for structure (SSIM) instead of what they do by default, unless `params` say otherwise. `threads` are those of
    SVT-AV1, whose bytes do not depend on them, and of the decoders. `encoder` and `decoder` are paths of programs, for
    codecs that are programs. InputError for what it does not know.
    """
    check_range("anchor_distance", anchor_distance, 1, MOST_PICTURES)
    check_range("longest_group", longest_group, 0, MOST_PICTURES)
    check_range("threads", threads, 0, MOST_THREADS)
    if name == TCM:
        from .tcm import tcm_anchors  # CompressAI takes seconds to import

        return tcm_anchors(preset=preset, crf=crf, qp=qp, params=params)
    row = row_of(name)
    common: dict[str, Any] = {
        "name": row.name,
        "quality": row.checked_quality(crf, qp),
        "preset": row.checked_preset(preset),
        "params": row.checked_params(params),
        "anchor_distance": anchor_distance,
    }
    if isinstance(row, ProgramRow):
        return ProgramAnchors(row=row, encoder=encoder, decoder=decoder, **common)
    if encoder is not None or decoder is not None:
        raise InputError(f"{row.name} comes with PyAV; --anchor-encoder and --anchor-decoder are for programs")
    if structural:
        common["params"] = {**row.structural, **common["params"]}
    return LibavAnchors(row=row, keyint=keyint_of(row, longest_group), threads=threads, **common)


def all_rows() -> dict[str, Row]:
    """All rows by name: ours, then those in the folders of $NCM_ANCHORS. InputError if one of those is wrong."""
    ours: dict[str, Row] = {**ROWS, **PROGRAM_ROWS}
    return ours | {name: row for name, row in defined_rows().items() if name not in ours}


def row_of(name: str) -> Row:
    """The row of this name, or in this .toml file. InputError, listing the names, if there is none."""
    if name.endswith(".toml"):
        own = load_row(Path(name))
        if own.name in (*ROWS, *PROGRAM_ROWS, TCM):
            raise InputError(f"{name}: {own.name} is one of our codecs; give yours another name")
        return own
    rows = all_rows() if name not in ROWS else ROWS
    if name not in rows:
        close = get_close_matches(name, rows, 1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        remedy = f"or give the .toml file that defines it, or have that in a folder of ${SEARCH_PATH}"
        raise InputError(f"anchor codec {name!r} is unknown{hint} choose from {', '.join((*rows, TCM))}; {remedy}")
    return rows[name]
