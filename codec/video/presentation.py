# SPDX-License-Identifier: MIT
"""What a film says of its pictures besides size, rate and levels, and how that is put in words."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from fractions import Fraction

UNSPECIFIED = 2  # of primaries, transfer and matrix, in Rec. ITU-T H.273
CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
FIELD_ORDERS = ("progressive", "top", "bottom")


@dataclass(frozen=True)
class Presentation:
    """How a film is to be shown; what has its default was not said.

    display_matrix holds nine numbers as in ISO/IEC 14496-12, () = upright. colour_codes are primaries, transfer and
    matrix as in Rec. ITU-T H.273; the matrix only where `Colour` has no name for exactly that one. chroma_location is
    where chroma samples lie among those of luma, field_order which field of an interlaced frame comes first.
    mastering_display holds x and y of red, green, blue and white in 1/50000, then the most and the least luminance in
    1/10000 cd/m2; content_light the brightest sample and frame in cd/m2. `start` is when the first frame is shown, in
    seconds. language and title are the track's.
    """

    sample_aspect_ratio: Fraction = Fraction(1)
    display_matrix: tuple[int, ...] = ()
    colour_codes: tuple[int, ...] = (UNSPECIFIED, UNSPECIFIED, UNSPECIFIED)
    chroma_location: str = "left"
    field_order: str = "progressive"
    mastering_display: tuple[int, ...] = ()
    content_light: tuple[int, ...] = ()
    start: Fraction = Fraction(0)
    language: str = ""
    title: str = ""

    @property
    def interlaced(self) -> bool:
        """Whether frames hold two fields of different times."""
        return self.field_order != "progressive"

    @property
    def said(self) -> list[str]:
        """Names of the fields that do not have their defaults."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]


NOTHING_SAID = Presentation()
WORDS = {
    "sample_aspect_ratio": "sample aspect ratio",
    "display_matrix": "rotation",
    "colour_codes": "colour primaries and transfer",
    "chroma_location": "chroma location",
    "field_order": "field order",
    "mastering_display": "mastering display",
    "content_light": "content light level",
    "start": "start offset",
    "language": "language",
    "title": "title",
}


def left_out(presentation: Presentation, carried: Collection[str]) -> list[str]:
    """In words, what is said and cannot be carried."""
    return [WORDS[name] for name in presentation.said if name not in carried]
