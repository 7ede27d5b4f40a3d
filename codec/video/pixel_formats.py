# SPDX-License-Identifier: MIT
"""FFmpeg's pixel formats as our planes: 4:2:0 of 8 and 10 bit is copied, everything else is converted to it."""

from typing import Literal, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from .picture import MATRIX_CODES, Colour, Plane, Yuv420, chroma_size, dtype_of


class Layout(NamedTuple):
    """How a 4:2:0 pixel format keeps its samples; `shift` is how far they sit above the lowest bit."""

    bit_depth: int = 8
    interleaved: bool = False
    byte_order: Literal["<", ">"] = "<"
    shift: int = 0


LAYOUTS = {
    "yuv420p": Layout(),
    "yuvj420p": Layout(),
    "nv12": Layout(interleaved=True),
    "yuv420p10le": Layout(10),
    "yuv420p10be": Layout(10, byte_order=">"),
    "p010le": Layout(10, interleaved=True, shift=6),
    "p010be": Layout(10, interleaved=True, byte_order=">", shift=6),
}

# Rec. ITU-T H.273, MatrixCoefficients and VideoFullRangeFlag as FFmpeg numbers them.
MATRICES = {code: name for name, code in MATRIX_CODES.items()} | {5: "bt601", 10: "bt2020"}
FULL_RANGE = 2
SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class Reader:
    """Turns the frames of one video into planes, all of the format and the size that the first frame asks for."""

    def __init__(self, first: av.VideoFrame) -> None:
        self._scaler = VideoReformatter()
        self.bit_depth = depth_of(first)
        self._size = first.width, first.height
        # The scaler takes grey for full range whatever it says, so its levels are left as they are.
        self._grey = not is_rgb(first) and sum(not c.is_alpha for c in first.format.components) == 1
        self._target = ("gray" if self._grey else "yuv420p") + ("" if self.bit_depth == 8 else "10le")
        self.colour = colour_of(first)
        self.notes: tuple[str, ...] = ()
        if first.format.name not in LAYOUTS:
            alpha = any(component.is_alpha for component in first.format.components)
            self.notes = (
                f"its {first.format.name} is converted to {self.bit_depth}-bit 4:2:0"
                + (", without its transparency" if alpha else ""),
            )

    def planes(self, frame: av.VideoFrame) -> Yuv420:
        """A copy of a frame's samples as three planes. FFmpegError if its format cannot be converted."""
        layout = LAYOUTS.get(frame.format.name)
        if layout and layout.bit_depth == self.bit_depth and (frame.width, frame.height) == self._size:
            return planes_of(frame, layout)
        frame, layout = self._converted(frame), Layout(self.bit_depth)
        return grey_of(frame, layout) if self._grey else planes_of(frame, layout)

    def _converted(self, frame: av.VideoFrame) -> av.VideoFrame:
        """A frame in our format; RGB becomes BT.709 of limited range, all else keeps its matrix and range."""
        target = ColorRange.JPEG if self._grey or self.colour.full_range else ColorRange.MPEG
        return self._scaler.reformat(
            frame,
            *self._size,
            format=self._target,
            src_colorspace=Colorspace.ITU709,  # the same on both sides changes nothing
            dst_colorspace=Colorspace.ITU709,
            interpolation=SCALER,
            src_color_range=ColorRange.JPEG if is_rgb(frame) else target,
            dst_color_range=target,
            threads=1,
        )


def depth_of(frame: av.VideoFrame) -> int:
    """The bit depth at which a frame is coded: 8, or 10 for all that is deeper."""
    return 8 if max(component.bits for component in frame.format.components) <= 8 else 10


def is_rgb(frame: av.VideoFrame) -> bool:
    """Whether a frame has to be turned into YUV."""
    return frame.format.is_rgb or frame.format.has_palette


def colour_of(frame: av.VideoFrame) -> Colour:
    """How the planes of a frame, once they are 4:2:0, map to RGB."""
    if is_rgb(frame):
        return Colour("bt709")
    full = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
    return Colour(MATRICES.get(frame.colorspace, "unspecified"), full)


def planes_of(frame: av.VideoFrame, layout: Layout) -> Yuv420:
    """A copy of the frame's samples as three planes."""
    cw, ch = chroma_size(frame.width, frame.height)
    y = _samples(frame.planes[0], frame.width, height=frame.height, layout=layout)
    if layout.interleaved:
        both = _samples(frame.planes[1], 2 * cw, height=ch, layout=layout)
        u, v = np.ascontiguousarray(both[:, 0::2]), np.ascontiguousarray(both[:, 1::2])
    else:
        u, v = (_samples(p, cw, height=ch, layout=layout) for p in frame.planes[1:3])
    return Yuv420(y, u, v, layout.bit_depth)


def grey_of(frame: av.VideoFrame, layout: Layout) -> Yuv420:
    """A copy of the samples of a grey frame, and chroma planes without colour."""
    width, height = chroma_size(frame.width, frame.height)
    chroma = np.full((height, width), 1 << (layout.bit_depth - 1), dtype_of(layout.bit_depth))
    y = _samples(frame.planes[0], frame.width, height=frame.height, layout=layout)
    return Yuv420(y, chroma, chroma.copy(), layout.bit_depth)


def _samples(plane: av.video.plane.VideoPlane, width: int, *, height: int, layout: Layout) -> Plane:
    """A copy of one plane (height,width) without the bytes that pad its rows."""
    rows: NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(-1, abs(plane.line_size))  # type: ignore[call-overload]
    if plane.line_size < 0:  # stored bottom row first
        rows = rows[::-1]
    dtype = dtype_of(layout.bit_depth)
    stored = np.dtype(dtype).newbyteorder(layout.byte_order)
    samples = rows[:height, : width * stored.itemsize].view(stored)
    return (samples >> layout.shift).astype(dtype)
