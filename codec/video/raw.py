# SPDX-License-Identifier: MIT
"""Video without compression: .yuv files, whose names tell their format, and .y4m streams."""

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import numpy as np

from ..errors import InputError
from ..values import MAX_TERM, parse_frame_rate
from .picture import Colour, Frame, VideoInfo, Yuv420, chroma_size, split_planes
from .presentation import Presentation

Y4M_MAGIC = b"YUV4MPEG2"
Y4M_LOCATIONS = {"420jpeg": "center", "420mpeg2": "left", "420paldv": "topleft"}
Y4M_FIELDS = {"t": "top", "b": "bottom", "m": "top"}
DEFAULT_RATE = Fraction(30)

BIT_DEPTHS = {"yuv420p": 8, "yuv420p10le": 10}
Y4M_BIT_DEPTHS = {"420jpeg": 8, "420mpeg2": 8, "420paldv": 8, "420": 8, "420p10": 10}
MAX_RAW_SIDE = 16384  # a damaged header must not ask for more memory than any real video
MAX_LINE = 1024  # of a .y4m header

SIZE = re.compile(r"(?<!\d)(\d{1,5})[xX](\d{1,5})(?!\d)")
RATE_TOKEN = re.compile(r"(\d+(?:\.\d+)?)(fps|hz)?", re.IGNORECASE)
DEPTH_TOKEN = re.compile(r"(\d+)-?b(?:it|its)?", re.IGNORECASE)
CHROMA_TOKEN = re.compile(r"(?:yuv)?(400|411|420|422|440|444)(?:p(?:(\d+)(?:le)?)?)?", re.IGNORECASE)
FASTEST = 300  # frames a second; larger numbers in a file name mean something else


class RawParameters(NamedTuple):
    """What a .yuv file does not say itself: (width, height), frames a second and layout; None where unknown."""

    size: tuple[int, int] | None = None
    frame_rate: Fraction | None = None
    pixel_format: str | None = None

    def or_else(self, other: "RawParameters") -> "RawParameters":
        """These parameters, with the unknown ones taken from `other`."""
        return RawParameters(
            self.size or other.size, self.frame_rate or other.frame_rate, self.pixel_format or other.pixel_format
        )


def probe_parameters(name: str) -> RawParameters:
    """The parameters in a file name such as 'x_1920x1080_23.976_10bit_420.yuv'; only what follows the size counts."""
    found = SIZE.search(name)
    if found is None:
        return RawParameters()
    stem = re.sub(r"\.yuv$", "", name[found.end() :], flags=re.IGNORECASE)
    rates, chroma, depth = [], None, None
    for token in filter(None, re.split(r"[_\s-]|\.(?!\d)", stem)):
        if match := CHROMA_TOKEN.fullmatch(token):
            chroma, depth = match[1], match[2] or depth
        elif match := DEPTH_TOKEN.fullmatch(token):
            depth = match[1]
        elif (match := RATE_TOKEN.fullmatch(token)) and 0 < float(match[1]) <= FASTEST:
            rates.append((match[2] is None, match[1]))  # '50fps' sorts before '50'
    size = int(found[1]), int(found[2])
    rate = parse_frame_rate(min(rates, key=lambda r: r[0])[1]) if rates else None
    return RawParameters(size, rate, _pixel_format(chroma, depth))


def _pixel_format(chroma: str | None, depth: str | None) -> str | None:
    """The name of a layout, which may be one this program cannot read; None if the file name says nothing."""
    if chroma is None and depth is None:
        return None
    return f"yuv{chroma or '420'}p" + ("" if depth in (None, "8") else f"{depth}le")


def raw_info(parameters: RawParameters, name: str) -> VideoInfo:
    """What a .yuv file holds. InputError if its size is unknown or its layout is not 4:2:0 with 8 or 10 bit."""
    if parameters.size is None:
        raise InputError(
            f"{name}: raw video of unknown size; give --size WxH and --fps, or name it like x_416x240_50.yuv"
        )
    pixel_format = parameters.pixel_format or "yuv420p"
    if pixel_format not in BIT_DEPTHS:
        raise InputError(f"{name}: raw video in {pixel_format}; only {' and '.join(BIT_DEPTHS)} can be read")
    return _info(parameters.size, parameters.frame_rate, name=name, bit_depth=BIT_DEPTHS[pixel_format])


def raw_frame_count(size: int, info: VideoInfo, name: str) -> int:
    """How many frames a .yuv file of `size` bytes holds. InputError if that is not a whole number."""
    frame, layout = frame_bytes(info), f"{info.width}x{info.height} {info.bit_depth} bit"
    if size % frame:
        raise InputError(
            f"{name}: {size} bytes are no whole number of {layout} frames of {frame} bytes; "
            "the size or the pixel format is probably wrong, set them with --size and --pix-fmt"
        )
    return size // frame


def raw_frames(file: BinaryIO, info: VideoInfo, name: str) -> Iterator[Frame]:
    """The frames of a .yuv file at times 0, 1, 2, ... InputError if the last one is cut off."""
    number = 0
    while (picture := _read_picture(file, info, where=f"{name}: frame {number}")) is not None:
        yield Frame(number, picture)
        number += 1


def is_plain_y4m(line: bytes) -> bool:
    """Whether the first line of a .y4m stream announces 4:2:0 of 8 or 10 bit, or is none."""
    if not line.startswith(Y4M_MAGIC):
        return True
    return _y4m_fields(line).get("C", "420") in Y4M_BIT_DEPTHS


def _y4m_fields(line: bytes) -> dict[str, str]:
    """The parameters of a .y4m header by their letters, but for those of X, of which there may be several."""
    tokens = line.decode("ascii", "replace").split()[1:]
    return {token[0]: token[1:] for token in tokens if token[0] != "X"}


def y4m_info(line: bytes, name: str) -> VideoInfo:
    """What a .y4m stream holds, by its first line. InputError if that is damaged."""
    if not line.startswith(Y4M_MAGIC + b" "):
        raise InputError(f"{name}: does not start with {Y4M_MAGIC.decode()}; rename it if it is not a .y4m file")
    fields = _y4m_fields(line)
    try:
        size = int(fields["W"]), int(fields["H"])
        rate, scale = (int(n) for n in fields.get("F", "0:0").split(":"))
    except (KeyError, ValueError):
        raise InputError(f"{name}: width, height or frame rate in its header are damaged; make the file anew") from None
    frame_rate = Fraction(rate, scale) if rate > 0 and scale > 0 else None
    info = _info(size, frame_rate, name=name, bit_depth=Y4M_BIT_DEPTHS[fields.get("C", "420")])
    presentation = Presentation(
        sample_aspect_ratio=_ratio(fields.get("A", "")) or Fraction(1),
        chroma_location=Y4M_LOCATIONS.get(fields.get("C", ""), Presentation.chroma_location),
        field_order=Y4M_FIELDS.get(fields.get("I", ""), Presentation.field_order),
    )
    return replace(info, colour=Colour(full_range=b"XCOLORRANGE=FULL" in line.split()), presentation=presentation)


def _ratio(text: str) -> Fraction | None:
    """A sample aspect ratio as 64:45; None for anything else, such as 0:0, which stands for an unknown one."""
    match = re.fullmatch(r"0*([1-9]\d{0,8}):0*([1-9]\d{0,8})", text)
    return Fraction(int(match[1]), int(match[2])) if match else None


def y4m_carries(info: VideoInfo) -> set[str]:
    """Which fields of a video's presentation the header of a .y4m stream can say."""
    located = info.bit_depth == 8 and info.presentation.chroma_location in Y4M_LOCATIONS.values()
    return {"sample_aspect_ratio", "field_order", *(("chroma_location",) if located else ())}


def y4m_header(info: VideoInfo) -> bytes:
    """The first line of a .y4m stream."""
    shown = info.presentation
    locations = {location: chroma for chroma, location in Y4M_LOCATIONS.items()}
    chroma = locations.get(shown.chroma_location, "420mpeg2") if info.bit_depth == 8 else f"420p{info.bit_depth}"
    fields = {"top": "t", "bottom": "b"}.get(shown.field_order, "p")
    rate, ratio = (f"{part.numerator}:{part.denominator}" for part in (info.frame_rate, shown.sample_aspect_ratio))
    full = " XCOLORRANGE=FULL" if info.colour.full_range else ""
    return Y4M_MAGIC + f" W{info.width} H{info.height} F{rate} I{fields} A{ratio} C{chroma}{full}\n".encode()


def y4m_frames(file: BinaryIO, info: VideoInfo, name: str) -> Iterator[Frame]:
    """The frames after the header at times 0, 1, 2, ... InputError if one is damaged or the last one cut off."""
    number = 0
    while line := file.readline(MAX_LINE):
        if not line.startswith(b"FRAME") and not b"FRAME".startswith(line):
            raise InputError(f"{name}: frame {number} does not start with FRAME; the file is damaged, make it anew")
        picture = _read_picture(file, info, where=f"{name}: frame {number}")
        if picture is None:
            raise InputError(f"{name}: frame {number} is cut off after its header; the file is truncated, make it anew")
        yield Frame(number, picture)
        number += 1


def frame_bytes(info: VideoInfo) -> int:
    """Bytes of one picture in a .yuv file."""
    cw, ch = chroma_size(info.width, info.height)
    return (info.width * info.height + 2 * cw * ch) * (1 if info.bit_depth == 8 else 2)


def check_size(width: int, height: int, name: str) -> None:
    """InputError unless a picture of this size can be held."""
    if not (1 <= width <= MAX_RAW_SIDE and 1 <= height <= MAX_RAW_SIDE):
        raise InputError(f"{name}: a size of {width}x{height}; each side must be from 1 to {MAX_RAW_SIDE}")


def _info(size: tuple[int, int], frame_rate: Fraction | None, *, name: str, bit_depth: int) -> VideoInfo:
    """A video whose frames are shown at times 0, 1, 2, ..."""
    check_size(*size, name)
    rate = frame_rate or DEFAULT_RATE
    if max(rate.numerator, rate.denominator) > MAX_TERM:
        raise InputError(f"{name}: its frame rate is beyond what any video has; make the file anew")
    return VideoInfo(*size, frame_rate=rate, time_base=1 / rate, bit_depth=bit_depth)


def _read_picture(file: BinaryIO, info: VideoInfo, where: str) -> Yuv420 | None:
    """The next picture, None at the end of the file. InputError if it is cut off."""
    wanted = frame_bytes(info)
    data = file.read(wanted)
    if not data:
        return None
    if len(data) < wanted:
        raise InputError(
            f"{where} is cut off, {len(data)} of {wanted} bytes; the file is truncated or its size is not "
            f"{info.width}x{info.height}"
        )
    if info.bit_depth == 8:
        return split_planes(np.frombuffer(data, np.uint8).copy(), info.width, info.height, info.bit_depth)
    # A copy in the machine's own byte order: torch refuses the others and warns of read-only memory.
    samples = np.frombuffer(data, "<u2").astype(np.uint16)
    return split_planes(samples, info.width, info.height, info.bit_depth)
