# SPDX-License-Identifier: MIT
"""Subtitles as text, from the form that one container has for them to that of another."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias, cast

import av
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

TEXT = ("mov_text", "subrip", "srt", "text", "ass", "ssa", "webvtt")
FORMS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip"}  # what each container has for text
Packet: TypeAlias = "av.Packet[Any]"


def is_text(stream: Stream) -> bool:
    """Whether a stream is of subtitles that are text, not pictures."""
    context = stream.codec_context if isinstance(stream, SubtitleStream) else None
    return context is not None and context.name in TEXT


def converter(stream: Stream, film: OutputContainer) -> tuple[Stream, Callable[[Packet], Sequence[Packet]]]:
    """A new stream of a film for subtitles that it cannot hold as they are, and what turns packets into its own.

    Styles that the new form does not know are lost. ValueError if the film has no form for text.
    """
    name = FORMS.get(film.format.name)
    if name is None:
        raise ValueError("no subtitles")
    added = film.add_stream(name)
    decoder = cast(SubtitleCodecContext, stream.codec_context)
    encoder = cast(SubtitleCodecContext, added.codec_context)
    decoder.open(strict=False)
    encoder.subtitle_header = decoder.subtitle_header
    encoder.time_base = added.time_base = stream.time_base or Fraction(1, 1000)

    def convert(packet: Packet) -> Sequence[Packet]:
        subtitle = decoder.decode2(packet)
        if subtitle is None or not len(subtitle):
            return []
        coded = encoder.encode_subtitle(subtitle)
        coded.pts, coded.dts, coded.duration, coded.time_base = (
            packet.pts,
            packet.dts,
            packet.duration,
            packet.time_base,
        )
        coded.stream = added
        return [coded]

    return added, convert
