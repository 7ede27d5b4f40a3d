# SPDX-License-Identifier: MIT
"""XPSNR, PSNR weighed by what the eye sees of errors, by FFmpeg's filter of that name.

Source: Helmrich et al., "XPSNR: a low-complexity extension of the perceptually weighted peak signal-to-noise ratio for
high-resolution video quality assessment", 2020; libavfilter's vf_xpsnr.
"""

from fractions import Fraction

from av.filter import Graph
from av.filter.context import FilterContext

from ..arguments import checked
from .libav_writer import video_frame
from .metrics import LOSSLESS_PSNR
from .picture import VideoInfo, Yuv420, check_picture, pad

NAME, PLANES = "xpsnr", "yuv"
SMALLEST = 2048  # pixels; of less than 2025 the filter's blocks have no size, by which it then divides
DEEP_MULTIPLE = 16  # of both sizes; of deeper samples the filter takes rows to be as long as their memory
FORMATS = {8: "yuv420p", 10: "yuv420p10le", 12: "yuv420p12le"}


class Xpsnr:
    """Measures the pictures of a video in display order: a weight of motion depends on the pictures before."""

    @checked
    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._format = FORMATS.get(info.bit_depth) if info.pixels >= SMALLEST else None
        self._count = 0
        self._sources: list[FilterContext] = []
        if self._format is None:
            return
        graph = Graph()
        measure, self._sink = graph.add(NAME), graph.add("buffersink")
        rate = f"{info.frame_rate.numerator}/{info.frame_rate.denominator}"
        self._multiple = 2 if info.bit_depth == 8 else DEEP_MULTIPLE
        width, height = (-(-size // self._multiple) * self._multiple for size in (info.width, info.height))
        shape = f"video_size={width}x{height}:pix_fmt={self._format}:time_base=1/1:frame_rate={rate}"
        for place in range(2):
            source = graph.add("buffer", shape)
            source.link_to(measure, 0, place)
            self._sources.append(source)
        measure.link_to(self._sink)
        graph.configure()
        self._graph = graph  # or it would go

    def add(self, source: Yuv420, decoded: Yuv420) -> float:
        """XPSNR of the next picture in dB, (6 Y + U + V) / 8 of the planes'; NaN where the filter cannot measure.

        InputError if a picture is not of the video's size and bit depth.
        """
        check_picture("source", source, self._info)
        check_picture("decoded", decoded, self._info)
        if self._format is None:
            return float("nan")
        for context, picture in zip(self._sources, (source, decoded), strict=True):
            frame = video_frame(pad(picture, self._multiple), self._format)
            frame.pts, frame.time_base = self._count, Fraction(1)
            context.push(frame)
        self._count += 1
        known = self._sink.pull().metadata
        y, u, v = (min(LOSSLESS_PSNR, _number(known[f"lavfi.xpsnr.xpsnr.{plane}"])) for plane in PLANES)
        return (6 * y + u + v) / 8


def _number(text: str) -> float:
    """What FFmpeg wrote by the locale, of which some have a decimal comma."""
    return float(text.replace(",", "."))
