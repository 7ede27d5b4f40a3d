# SPDX-License-Identifier: MIT
"""Pictures as integer 4:2:0 planes, and the only padding and cropping of such planes in the project."""

import hashlib
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..arguments import check, check_range, shown
from ..errors import InputError
from .presentation import NOTHING_SAID, Presentation

Plane: TypeAlias = NDArray[Any]  # uint8 or uint16

# MatrixCoefficients of Rec. ITU-T H.273; of the two codes of bt601 the one for 525 lines.
MATRIX_CODES = {"bt709": 1, "unspecified": 2, "bt601": 6, "bt2020": 9}
LONGEST_SIDE = 65_535


@dataclass(frozen=True, eq=False)
class Yuv420:
    """One picture: y (H,W), u and v (ceil(H/2),ceil(W/2)), uint8 at 8 bit and uint16 at 9 to 16 bit.

    InputError, naming the plane, if one is not so.
    """

    y: Plane
    u: Plane
    v: Plane
    bit_depth: int = 8

    def __post_init__(self) -> None:
        _check_depth(self.bit_depth)
        dtype = np.dtype(dtype_of(self.bit_depth))
        for name, plane in zip("yuv", self.planes, strict=True):
            if not isinstance(plane, np.ndarray) or plane.ndim != 2 or not plane.size or plane.dtype != dtype:
                what = _array_in_words(plane)
                raise InputError(f"{name} is {what}; at {self.bit_depth} bit it must be a plane (H,W) of {dtype}")
            width, height = chroma_size(self.width, self.height)
            if name != "y" and plane.shape != (height, width):
                luma = f"y of {self.width}x{self.height}"
                raise InputError(
                    f"{name} is {plane.shape[1]}x{plane.shape[0]}; with {luma} it must be {width}x{height}"
                )

    @property
    def width(self) -> int:
        """Width of the picture in luma samples."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Height of the picture in luma samples."""
        return int(self.y.shape[0])

    @property
    def planes(self) -> tuple[Plane, Plane, Plane]:
        """The planes y, u and v, in this order."""
        return self.y, self.u, self.v

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Yuv420):
            return NotImplemented
        return self.bit_depth == other.bit_depth and all(map(np.array_equal, self.planes, other.planes))

    def tobytes(self) -> bytes:
        """The planes one after the other, 16-bit samples little-endian: one frame of a .yuv file."""
        return b"".join(np.ascontiguousarray(p, dtype=p.dtype.newbyteorder("<")).tobytes() for p in self.planes)

    def digest(self) -> bytes:
        """Eight bytes of SHA-256 over `tobytes`: by it a decoder can tell that it shows what the encoder saw."""
        return hashlib.sha256(self.tobytes()).digest()[:8]


class Frame(NamedTuple):
    """A picture and its presentation time in units of its video's time base."""

    pts: int
    picture: Yuv420


@dataclass(frozen=True)
class Colour:
    """How YUV maps to RGB: the matrix, a key of MATRICES, and whether samples use the full range."""

    matrix: str = "unspecified"
    full_range: bool = False

    def __post_init__(self) -> None:
        check("matrix", self.matrix, str)
        check("full_range", self.full_range, bool)
        if self.matrix not in MATRIX_CODES:
            raise InputError(f"matrix is {shown(self.matrix)}; it must be one of {', '.join(MATRIX_CODES)}")


@dataclass(frozen=True)
class VideoInfo:
    """What all frames of a video share. Times are counted in time_base seconds; frame_rate is the nominal one.

    InputError, naming the field, if one cannot be so.
    """

    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    bit_depth: int = 8
    colour: Colour = Colour()
    presentation: Presentation = NOTHING_SAID

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            check(name, size := getattr(self, name), int)
            check_range(name, size, 1, LONGEST_SIDE)
        for name in ("frame_rate", "time_base"):
            check(name, value := getattr(self, name), Fraction)
            if value <= 0:
                raise InputError(f"{name} is {shown(value)}; it must be above 0")
        _check_depth(self.bit_depth)
        check("colour", self.colour, Colour)
        check("presentation", self.presentation, Presentation)

    @property
    def pixels(self) -> int:
        """Luma samples of a picture: width times height."""
        return self.width * self.height


def check_picture(name: str, picture: object, like: Yuv420 | VideoInfo | None = None) -> None:
    """InputError, naming the argument, if something is no picture, or not of another's size and bit depth."""
    check(name, picture, Yuv420)
    assert isinstance(picture, Yuv420)
    if like is not None and _format_in_words(picture) != _format_in_words(like):
        raise InputError(f"{name} is of {_format_in_words(picture)}; it must be of {_format_in_words(like)}")


def _format_in_words(of: Yuv420 | VideoInfo) -> str:
    return f"{of.width}x{of.height} {of.bit_depth} bit"


def _array_in_words(value: object) -> str:
    return f"an array {value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else shown(value)


def _check_depth(bit_depth: int) -> None:
    """InputError if samples cannot have so many bits."""
    check("bit_depth", bit_depth, int)
    check_range("bit_depth", bit_depth, 8, 16)


def dtype_of(bit_depth: int) -> type[np.uint8] | type[np.uint16]:
    """The sample type that holds this bit depth."""
    return np.uint8 if bit_depth == 8 else np.uint16


def chroma_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of a 4:2:0 chroma plane; odd sizes round up."""
    return (width + 1) // 2, (height + 1) // 2


def split_planes(samples: Plane, width: int, height: int, bit_depth: int) -> Yuv420:
    """A Yuv420 over the flat samples of one .yuv frame."""
    cw, ch = chroma_size(width, height)
    y, u, v = np.split(samples, [width * height, width * height + cw * ch])
    return Yuv420(y.reshape(height, width), u.reshape(ch, cw), v.reshape(ch, cw), bit_depth)


def pad(picture: Yuv420, multiple: int, minimum: int = 0) -> Yuv420:
    """Repeat the right and bottom edges until both sizes are multiples of an even number and at least `minimum`."""
    assert multiple % 2 == 0
    width, height = (max(-(-s // multiple) * multiple, minimum) for s in (picture.width, picture.height))
    if (width, height) == (picture.width, picture.height):
        return picture
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    y, u, v = (
        np.pad(p, ((0, h - p.shape[0]), (0, w - p.shape[1])), mode="edge")
        for p, (h, w) in zip(picture.planes, sizes, strict=True)
    )
    return Yuv420(y, u, v, picture.bit_depth)


def crop(picture: Yuv420, width: int, height: int) -> Yuv420:
    """The top left width x height of a picture; views, not copies."""
    cw, ch = chroma_size(width, height)
    return replace(picture, y=picture.y[:height, :width], u=picture.u[:ch, :cw], v=picture.v[:ch, :cw])


def blank(info: VideoInfo) -> Yuv420:
    """A mid-grey picture, for when there is nothing better to show."""
    cw, ch = chroma_size(info.width, info.height)
    half, dtype = 1 << (info.bit_depth - 1), dtype_of(info.bit_depth)
    chroma = np.full((ch, cw), half, dtype)
    return Yuv420(np.full((info.height, info.width), half, dtype), chroma, chroma, info.bit_depth)
