# SPDX-License-Identifier: MIT
"""The syntax of an .ncm stream as tables: the fields of the file header and of every kind of packet.

Writer, reader, `codec info` and docs/stream.md all go by these tables, so they cannot disagree.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from ..precision import BF16
from ..video.presentation import CHROMA_LOCATIONS, FIELD_ORDERS
from .fields import CODES, MAX_LIST, Field, Values, limits

MAGIC, END_MAGIC = b"NCM\x1a", b"NCM\x1b"
PLAIN, VERSION = 1, 2  # a header without options is of version 1
MARK = 0xA0  # high bits of a packet's first byte
CRC_BYTES = 4
MAX_BODY = 1 << 26
MAX_POC = 1 << 40
ALL_POCS = range(MAX_POC)
MAX_PICTURES = 1 << 16  # of a segment
MAX_TIME = 1 << 61
GROUP_BYTES = 2048
SKIPPABLE = 64  # a reader passes over options of the header that it does not know from this tag on
HASHED, POSTFILTER, WIENER, CORRECTED = 1, 2, 16, 32  # extras of a segment; what its filter sees is added
FULL_STRENGTH = 8  # of the post-filter: what its network says
PAIRS = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))  # of a Wiener filter: rows down, columns right; and opposite
LARGEST_WEIGHT = 127  # of a pair, for anchors
MAX_CORRECTIONS, LARGEST_CORRECTION = 64, 127  # of a filter in all; of one, in eighths
CORRECTION_STEPS = 32  # of a correction, in a level of 8 bit


class Kind(IntEnum):
    """Kinds of packets; a packet's first byte is MARK with its kind in the low bits."""

    SEGMENT = 1
    ANCHORS = 2
    BFRAMES = 3
    HASHES = 4
    END = 5


class Sight(IntEnum):
    """What the filter of a segment's anchors sees of others, as a part of the segment's extras.

    Nothing, its neighbours, or these and what a network makes of them.
    """

    ALONE = 0
    NEIGHBOURS = 4
    PREDICTION = 12


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


class Option(NamedTuple):
    """An option of the file header; readers that do not know a tag below SKIPPABLE refuse the stream."""

    tag: int
    name: str
    fields: tuple[Field, ...]
    meaning: str


OPTIONS = (
    Option(
        1,
        "neighbour_filter",
        (
            Field("name", "text", "the filter that sees neighbouring anchors, by name"),
            Field("fingerprint", "id", "of its weights"),
        ),
        "The filter of segments whose anchors are filtered beside their neighbours.",
    ),
    Option(
        2,
        "averaged",
        (Field("turns", "uint", "2: as they are and upside down", 2, 2),),
        "B-frames are predicted as the average of what the network answers for the references turned in so many ways.",
    ),
    Option(
        64,
        "sample_aspect_ratio",
        (Field("ratio", "fraction", "width of a sample over its height"),),
        "The shape of a sample. Without this option samples are square.",
    ),
    Option(
        65,
        "display_matrix",
        tuple(
            Field(name, "sint", f"{meaning} of the matrix as in ISO/IEC 14496-12", -(1 << 31), (1 << 31) - 1)
            for name, meaning in zip(
                "abucdvxyw",
                [f"row {row}, column {column}" for row in (1, 2, 3) for column in (1, 2, 3)],
                strict=True,
            )
        ),
        "How to turn or mirror the pictures for display. Without this option they are shown as they are.",
    ),
    Option(
        66,
        "colour_codes",
        (
            Field("primaries", "byte", "ColourPrimaries", 0, 255),
            Field("transfer", "byte", "TransferCharacteristics", 0, 255),
            Field("matrix_code", "byte", "MatrixCoefficients, 2 where `matrix` says all", 0, 255),
        ),
        "Codes of Rec. ITU-T H.273. Without this option all are 2, unspecified.",
    ),
    Option(
        67,
        "chroma_location",
        (Field("location", "choice", "which of them", choices=CHROMA_LOCATIONS),),
        "Where samples of chroma lie among those of luma. Without this option it is left.",
    ),
    Option(
        68,
        "field_order",
        (Field("first_field", "choice", "the field that is shown first", choices=FIELD_ORDERS),),
        "The frames hold two fields each. Without this option they are progressive.",
    ),
    Option(
        69,
        "mastering_display",
        (
            *(
                Field(f"{colour}_{axis}", "uint", f"{axis} of {colour}, in 1/50000", 0, (1 << 32) - 1)
                for colour in ("red", "green", "blue", "white")
                for axis in "xy"
            ),
            Field("most_luminance", "uint", "in 1/10000 cd/m2", 0, (1 << 32) - 1),
            Field("least_luminance", "uint", "in 1/10000 cd/m2", 0, (1 << 32) - 1),
        ),
        "The display that the film was mastered on, as in SMPTE ST 2086.",
    ),
    Option(
        70,
        "content_light",
        (
            Field("max_cll", "uint", "cd/m2 of the brightest sample", 0, (1 << 32) - 1),
            Field("max_fall", "uint", "cd/m2 of the brightest frame on average", 0, (1 << 32) - 1),
        ),
        "Content light level, as in CTA-861.3.",
    ),
    Option(
        71,
        "start",
        (
            Field("numerator", "sint", "of seconds", -MAX_TIME, MAX_TIME),
            Field("denominator", "uint", "of seconds", 1),
        ),
        "When the first picture is shown, beside other tracks. Without this option at 0.",
    ),
    Option(72, "language", (Field("language", "text", "as in the source"),), "The language of the track."),
    Option(73, "title", (Field("title", "text", "as in the source"),), "The name of the track."),
    Option(
        74,
        "half",
        (Field("precision", "choice", "of networks that make samples", choices=(BF16,)),),
        "The encoder computed synthesis and filters in this precision. Without this option in float32. A "
        "decoder may compute in another one; its pictures then differ a little.",
    ),
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
        "a sum: 1 if a HASHES packet follows, 2 if the anchors are shown filtered by the model, 4 if they are filtered "
        "beside their neighbours, 8 if also by what a network makes of these, 16 if Wiener filters come last, 32 if "
        "corrections are added",
        0,
        HASHED + POSTFILTER + Sight.PREDICTION + WIENER + CORRECTED,
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
        "wiener",
        "sints",
        "weights in 1/64 of the Wiener filters of Y, U and V: for each plane, of the pairs of samples so many (down, "
        f"right) and as many (up, left): {', '.join(map(str, PAIRS))}",
        -LARGEST_WEIGHT,
        LARGEST_WEIGHT,
        count=lambda v: 3 * len(PAIRS) if v["extras"] & WIENER else 0,
    ),
    Field(
        "corrected",
        "uints",
        "how many corrections the filter has",
        1,
        MAX_CORRECTIONS,
        count=lambda v: 1 if v["extras"] & CORRECTED else 0,
    ),
    Field(
        "corrections",
        "sints",
        "how much of each correction is added, in eighths: first those of Y, then those of U and V",
        -LARGEST_CORRECTION,
        LARGEST_CORRECTION,
        count=lambda v: sum(v["corrected"]),
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
        "what each has besides: 2 motion-compensated blocks, 4 Wiener filters, 8 the loop filter; a sum",
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


_OPTIONS = f"""## Options of the file header

A header of version 2 goes on with options. An option is a varint with its tag, a varint with the length of its fields,
and the fields. Tags increase. A reader refuses a stream with an unknown tag below {SKIPPABLE}, and passes over other
unknown options. A stream without options is of version {PLAIN}."""


def syntax_markdown() -> str:
    """Markdown of the tables in docs/stream.md: the codes, the file header, and the fields of each kind of packet."""
    codes = "\n".join(f"| {name} | {code.meaning} |" for name, code in CODES.items())
    parts = ["## Codes\n\n| code | how it is written |\n|---|---|\n" + codes, "## File header\n\n" + _table(HEADER)]
    parts.append(_OPTIONS)
    for option in OPTIONS:
        parts.append(f"### Option {option.tag}: {option.name}\n\n{option.meaning}\n\n{_table(option.fields)}")
    for kind, (fields, meaning) in PACKETS.items():
        parts.append(f"## {kind.name} (0x{MARK | kind:02X})\n\n{meaning}\n\n{_table(fields)}")
    return "\n\n".join(parts) + "\n"


def _table(fields: Iterable[Field]) -> str:
    """Markdown of one table of fields."""
    rows = "\n".join(f"| {f.name} | {f.code} | {limits(f)} | {f.meaning} |" for f in fields)
    return "| element | code | values | meaning |\n|---|---|---|---|\n" + rows
