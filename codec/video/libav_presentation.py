# SPDX-License-Identifier: MIT
"""A film's presentation as FFmpeg's streams and frames have it, read and written through PyAV."""

import re
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, cast

import av
import av.logging
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.stream import Disposition
from av.video.stream import VideoStream

from .picture import MATRIX_CODES, VideoInfo
from .pixel_formats import FULL_RANGE
from .presentation import CHROMA_LOCATIONS, UNSPECIFIED, Presentation

LIMITED_RANGE = 1
UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
# FFmpeg's AVFieldOrder, by the field that is shown first.
FIELD_ORDER = {2: "top", 3: "bottom", 4: "bottom", 5: "top"}
SHOWN = re.compile(r" cl:(\S+) .* i:(\S) ")  # chroma location and field order, as the filter showinfo prints them
MAX_WORDS = 128  # characters of a title
# What is not carried at all, by the side data that the first frame has.
FOREIGN = {
    Type.STEREO3D: "stereo 3D",
    Type.SPHERICAL: "spherical mapping",
    Type.A53_CC: "closed captions",
    Type.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    Type.ICC_PROFILE: "ICC profile",
}


def _unnamed(kind: type[Type], value: object) -> Any:  # noqa: ANN401 (a Type, which mypy takes for closed)
    """What FFmpeg has beside a frame and PyAV has no name for, such as Exif: no reason not to read the rest."""
    member: Any = object.__new__(kind)
    member._name_, member._value_ = f"UNNAMED_{value}", value
    return member


Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


def presentation_of(stream: VideoStream, first: av.VideoFrame, *, matrix: str, start: Fraction) -> Presentation:
    """What a stream and its first frame say; `matrix` is the name that the pictures' matrix has for us."""
    location, order = _shown(stream, first)
    sides = {side.type: bytes(side) for side in _side_data(first)}
    named = (0, MATRIX_CODES[matrix])  # 0 is RGB, which was converted
    return Presentation(
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        display_matrix=_display_matrix(sides.get(Type.DISPLAYMATRIX, b"")),
        colour_codes=(
            first.color_primaries or UNSPECIFIED,
            first.color_trc or UNSPECIFIED,
            UNSPECIFIED if first.colorspace in named else first.colorspace,
        ),
        chroma_location=location if location in CHROMA_LOCATIONS[2:] else Presentation.chroma_location,
        field_order=order or FIELD_ORDER.get(stream.codec_context.field_order, "progressive"),
        mastering_display=_mastering_display(sides.get(Type.MASTERING_DISPLAY_METADATA, b"")),
        content_light=_content_light(sides.get(Type.CONTENT_LIGHT_LEVEL, b"")),
        start=start,
        language="" if (language := _words(stream, "language")) == "und" else language,
        title=_words(stream, "title") or _words(stream, "name"),  # .mp4 calls it a name
    )


def foreign_to(first: av.VideoFrame) -> list[str]:
    """What a frame carries that is not carried on, in words."""
    return sorted({FOREIGN[side.type] for side in _side_data(first) if side.type in FOREIGN})


def _side_data(frame: av.VideoFrame) -> Iterator[SideData]:
    return iter(cast(Iterable[SideData], frame.side_data))  # PyAV's stubs have it as a dictionary


def _shown(stream: VideoStream, frame: av.VideoFrame) -> tuple[str, str]:
    """(chroma location, field order or "" for progressive) of a frame; PyAV itself has no words for them."""
    graph = Graph()
    source, show, sink = graph.add_buffer(template=stream), graph.add("showinfo"), graph.add("buffersink")
    source.link_to(show)
    show.link_to(sink)
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as lines:
            graph.configure()
            graph.push(frame)
            graph.pull()
    finally:
        av.logging.set_level(level)
    found = next(filter(None, (SHOWN.search(text) for _, _, text in lines)), None)
    if found is None:
        return "unspecified", ""
    return found[1], {"T": "top", "B": "bottom"}.get(found[2], "")


def _words(stream: VideoStream, key: str) -> str:
    """A line of a track's metadata, without what cannot be printed."""
    return "".join(filter(str.isprintable, stream.metadata.get(key, "")))[:MAX_WORDS].strip()


def _display_matrix(data: bytes) -> tuple[int, ...]:
    matrix = struct.unpack("=9i", data) if len(data) == 36 else ()
    return () if matrix == UPRIGHT else matrix


def _mastering_display(data: bytes) -> tuple[int, ...]:
    """FFmpeg's AVMasteringDisplayMetadata: ten fractions, and whether primaries and luminance are there."""
    if len(data) < 88:
        return ()
    *parts, primaries, luminance = struct.unpack("=22i", data[:88])
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    if not (primaries and luminance) or not all(below > 0 <= above for above, below in pairs):
        return ()
    least, most = pairs.pop(8), pairs.pop(8)
    places = [round(Fraction(*pair) * 50_000) for pair in pairs]
    return (*places, *(round(Fraction(*pair) * 10_000) for pair in (most, least)))


def _content_light(data: bytes) -> tuple[int, ...]:
    light = struct.unpack("=2I", data[:8]) if len(data) >= 8 else ()
    return light if any(light) else ()


def describe(context: Any, info: VideoInfo) -> None:  # noqa: ANN401 (an encoder, or a frame)
    """Give an encoder or a frame the colours of a video."""
    primaries, transfer, matrix = info.presentation.colour_codes
    context.color_primaries, context.color_trc = primaries, transfer
    context.colorspace = MATRIX_CODES[info.colour.matrix] if matrix == UNSPECIFIED else matrix
    context.color_range = FULL_RANGE if info.colour.full_range else LIMITED_RANGE


def describe_track(stream: VideoStream, info: VideoInfo) -> None:
    """Give a track its language, its title and the rotation of its pictures; of its kind it is the one to be shown."""
    stream.disposition = Disposition.default
    presentation = info.presentation
    words = {"language": presentation.language, "title": presentation.title}
    stream.metadata.update({key: text for key, text in words.items() if text})
    stream.set_display_matrix(presentation.display_matrix or None)


class FieldMarker:
    """Marks frames as interlaced, which only a filter of FFmpeg can do; `code` is its number of the field order."""

    def __init__(self, info: VideoInfo, pixel_format: str) -> None:
        top = info.presentation.field_order == "top"
        self.code = 2 if top else 3
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=info.width,
            height=info.height,
            format=av.VideoFormat(pixel_format, info.width, info.height),
            time_base=info.time_base,
        )
        marker, sink = self._graph.add("setfield", "tff" if top else "bff"), self._graph.add("buffersink")
        source.link_to(marker)
        marker.link_to(sink)
        self._graph.configure()

    def marked(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame with its field order."""
        self._graph.push(frame)
        return cast(av.VideoFrame, self._graph.pull())
