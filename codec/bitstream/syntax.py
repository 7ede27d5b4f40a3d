# SPDX-License-Identifier: MIT
"""The syntax of an .ncm stream as tables: the fields of the file header and of every kind of packet.

Writer, reader, `codec info` and docs/stream.md all go by these tables, so they cannot disagree.
"""

from collections.abc import Iterable
from enum import IntEnum

from .fields import CODES, MAX_LIST, Field, Values, limits

MAGIC, END_MAGIC = b"NCM\x1a", b"NCM\x1b"
VERSION = 1
MARK = 0xA0  # high bits of a packet's first byte
CRC_BYTES = 4
MAX_BODY = 1 << 26
MAX_POC = 1 << 40
MAX_PICTURES = 1 << 16  # of a segment
MAX_TIME = 1 << 61
GROUP_BYTES = 2048
HASHED, POSTFILTER = 1, 2  # extras of a segment
FULL_STRENGTH = 8  # of the post-filter: what its network says


class Kind(IntEnum):
    """Kinds of packets; a packet's first byte is MARK with its kind in the low bits."""

    SEGMENT = 1
    ANCHORS = 2
    BFRAMES = 3
    HASHES = 4
    END = 5


def picture_count(values: Values) -> int:
    """Number of pictures of a segment, by the fields of its SEGMENT packet: leading B-frames, the I, and all gaps."""
    return int(values["leading"] + 1 + sum(values["gaps"]))


HEADER = (
    Field("width", "uint", "columns of luma", 1, 65535),
    Field("height", "uint", "rows of luma", 1, 65535),
    Field("frame_rate", "fraction", "pictures a second, nominally"),
    Field("time_base", "fraction", "seconds a unit of presentation time"),
    Field("bit_depth", "uint", "bits a sample", 8, 16),
    Field("matrix", "choice", "how YUV maps to RGB", choices=("bt709", "bt601", "bt2020", "unspecified")),
    Field("full_range", "flag", "whether samples use the full range"),
    Field("mode", "choice", "whether B-frames have payloads", choices=("bitfree", "bitneed", "auto")),
    Field("gop", "text", "the schedule of anchors, by name"),
    Field("intra_period", "uint", "most pictures from one I to the next", 1, 65535),
    Field("anchor_codec", "text", "the codec of the anchors, by name"),
    Field("anchor_settings", "text", "the settings that made the anchors, for people"),
    Field("model", "text", "the model that predicts the B-frames and reads their payloads, by name"),
    Field("fingerprint", "id", "of the model's weights"),
)

SEGMENT = (
    Field("first_anchor", "uint", "number of the I among the anchors of the video in display order", 0, MAX_POC),
    Field("intra", "uint", "number of the I among the pictures of the video in display order (its poc)", 0, MAX_POC),
    Field("leading", "uint", "B-frames shown before the I", 0, MAX_PICTURES - 1),
    Field("anchors", "uint", "anchors of the segment", 1, MAX_PICTURES),
    Field(
        "gaps",
        "uints",
        "distance in pictures from each anchor to the next; the pictures between are B-frames",
        1,
        MAX_PICTURES - 1,
        count=lambda v: v["anchors"] - 1,
    ),
    Field("anchor_quality", "byte", "quality of the decoded anchors: PSNR in quarters of a dB, 0 = unknown", 0, 255),
    Field(
        "extras",
        "byte",
        "a sum: 1 if a HASHES packet follows, 2 if the anchors are shown filtered by the model",
        0,
        HASHED + POSTFILTER,
    ),
    Field(
        "strengths",
        "uints",
        "how much of the filter's changes to Y, U and V is applied, in eighths",
        0,
        2 * FULL_STRENGTH,
        count=lambda v: 3 if v["extras"] & POSTFILTER else 0,
    ),
    Field(
        "shift",
        "sint",
        "presentation time of the segment's first picture minus its nominal time, which for picture n is "
        "n / (frame_rate * time_base), rounded, halves up",
        -MAX_TIME,
        MAX_TIME,
    ),
    Field(
        "steps",
        "sints",
        "for each further picture in display order, how much more its time differs from the nominal time than that of "
        "the picture before; all 0 at a constant rate. Times must increase strictly",
        -(1 << 55),
        (1 << 55) - 1,
        count=lambda v: picture_count(v) - 1,
    ),
    Field(
        "coded",
        "uints",
        "for each B-frame in coding order, 1 if it has a payload",
        0,
        1,
        count=lambda v: picture_count(v) - v["anchors"],
    ),
)

ANCHORS = (
    Field("first", "uint", "number of the first anchor among the anchors of the video", 0, MAX_POC + MAX_PICTURES),
    Field("count", "uint", "anchors in this packet, in coding order", 1, MAX_PICTURES),
    Field(
        "steps",
        "sints",
        "number of each further anchor minus (number of the one before + 1)",
        -MAX_PICTURES,
        MAX_PICTURES,
        count=lambda v: v["count"] - 1,
    ),
    Field("lengths", "uints", "bytes of each anchor", 0, MAX_BODY, count=lambda v: v["count"]),
    Field("data", "rest", "the anchors, one after the other"),
)

BFRAMES = (
    Field("first", "uint", "poc of the first B-frame", 0, MAX_POC + MAX_PICTURES),
    Field("count", "uint", "B-frames: these are the next with a payload in coding order", 1, MAX_PICTURES),
    Field(
        "modes",
        "uints",
        "what each has besides: 2 motion-compensated blocks, 4 Wiener filters; a sum",
        0,
        255,
        count=lambda v: v["count"],
    ),
    Field(
        "qualities",
        "uints",
        "the quality each was coded with, in 1/32 of those that the model was trained for",
        0,
        255,
        count=lambda v: v["count"],
    ),
    Field("lengths", "uints", "bytes of each payload", 0, MAX_BODY, count=lambda v: v["count"]),
    Field("data", "rest", "the payloads, one after the other"),
)

HASHES = (
    Field("first", "uint", "poc of the segment's first picture", 0, MAX_POC),
    Field("hashes", "rest", "8 bytes a picture in display order: the start of the SHA-256 of the decoded picture"),
)

END = (
    Field("pictures", "uint", "pictures of the video", 1, MAX_POC + MAX_PICTURES),
    Field("segments", "uint", "segments of the video", 1, MAX_LIST),
    Field(
        "offsets",
        "uints",
        "offset in bytes of each SEGMENT packet, minus the one before",
        count=lambda v: v["segments"],
    ),
    Field("intras", "uints", "intra of each segment, minus the one before", 0, MAX_POC, count=lambda v: v["segments"]),
)

PACKETS = {
    Kind.SEGMENT: (SEGMENT, "Starts a segment: one I, the anchors after it, and the B-frames that can then be shown."),
    Kind.ANCHORS: (ANCHORS, f"Anchors of the segment, several until their bytes pass {GROUP_BYTES}."),
    Kind.BFRAMES: (BFRAMES, f"Payloads of B-frames of the segment, several until their bytes pass {GROUP_BYTES}."),
    Kind.HASHES: (HASHES, "Optional, last of a segment: what the pictures should look like once decoded."),
    Kind.END: (END, "Last of the stream: the index. Offsets count from the start of the stream."),
}


def syntax_markdown() -> str:
    """Markdown of the tables in docs/stream.md: the codes, the file header, and the fields of each kind of packet."""
    codes = "\n".join(f"| {name} | {code.meaning} |" for name, code in CODES.items())
    parts = ["## Codes\n\n| code | how it is written |\n|---|---|\n" + codes, "## File header\n\n" + _table(HEADER)]
    for kind, (fields, meaning) in PACKETS.items():
        parts.append(f"## {kind.name} (0x{MARK | kind:02X})\n\n{meaning}\n\n{_table(fields)}")
    return "\n\n".join(parts) + "\n"


def _table(fields: Iterable[Field]) -> str:
    """Markdown of one table of fields."""
    rows = "\n".join(f"| {f.name} | {f.code} | {limits(f)} | {f.meaning} |" for f in fields)
    return "| element | code | values | meaning |\n|---|---|---|---|\n" + rows
