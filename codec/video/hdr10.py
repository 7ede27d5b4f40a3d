# SPDX-License-Identifier: MIT
"""How FFmpeg's encoders are told of HDR10, so that their streams tell every player."""

from typing import NamedTuple

from .presentation import Presentation


class Words(NamedTuple):
    """An encoder's option for its own parameters, and those for the mastering display and the content light level."""

    option: str
    display: str
    light: str


ENCODERS = {
    "libx264": Words("x264-params", "mastering-display", "cll"),
    "libx265": Words("x265-params", "master-display", "max-cll"),
    "libsvtav1": Words("svtav1-params", "mastering-display", "content-light"),
}


def parameters(encoder: str, presentation: Presentation) -> list[str]:
    """Parameters of an encoder, as key=value, for what a film says of HDR10; none if it does not know of that."""
    if encoder not in ENCODERS:
        return []
    words, told = ENCODERS[encoder], []
    if presentation.mastering_display:
        told.append(f"{words.display}={_mastering_display(presentation.mastering_display, encoder)}")
    if presentation.content_light:
        told.append(f"{words.light}={','.join(map(str, presentation.content_light))}")
    return told


def _mastering_display(values: tuple[int, ...], encoder: str) -> str:
    """The mastering display as an encoder is told of it; SVT-AV1 wants chromaticities and cd/m2, not their units."""
    units = (50_000, 10_000) if encoder == "libsvtav1" else (1, 1)
    rx, ry, gx, gy, bx, by, wx, wy, most, least = (
        f"{value / units[place >= 8]:.9g}" for place, value in enumerate(values)
    )
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
