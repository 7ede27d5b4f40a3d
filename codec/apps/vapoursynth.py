# SPDX-License-Identifier: MIT
"""A stream as a clip of VapourSynth, for scripts that filter it further.

    from codec.apps.vapoursynth import clip

    clip("out.mp4").set_output()

VapourSynth asks for frames nearly in order, from several threads. So the decoder goes on where it was if that is a
little before, and the last frames are kept.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any, Unpack, cast

import numpy as np

from ..arguments import checked
from ..container.opening import info as stream_info
from ..decoder.video import Reading, Video
from ..errors import InputError, StreamError
from ..files import PathLike
from ..video.picture import MATRIX_CODES, Frame, VideoInfo
from ..video.presentation import UNSPECIFIED

KEPT = 16  # frames, and as many at most are decoded to get to one


@checked
def clip(path: PathLike, **reading: Unpack[Reading]) -> Any:  # noqa: ANN401 (vapoursynth.VideoNode, which has no types)
    """A VapourSynth clip of all frames of a stream or film: 4:2:0 of 8 to 16 bit, with times and colours as properties.

    The rest is as for `codec.open`. Raises a CodecError: InputError without VapourSynth, or for a video of odd sizes,
    StreamError for a damaged stream.
    """
    try:
        import vapoursynth as vs
    except ImportError as error:
        raise InputError("clips need VapourSynth; install it with pip install vapoursynth (Python 3.12)") from error
    described = stream_info(path)
    if described.damage:
        raise StreamError(f"{path}: {described.damage[0]}; decode it to a file, which says what is lost")
    video = Video(path, **reading)
    if video.info.width % 2 or video.info.height % 2:
        size = f"{video.info.width}x{video.info.height}"
        raise InputError(f"{path}: VapourSynth has no 4:2:0 of odd sizes ({size}); decode to a file instead")
    core, frames, shared = vs.core, _Frames(video), _properties(video.info)
    durations = [high - low for low, high in pairwise(described.pts)]
    durations.append(round(1 / (video.info.frame_rate * video.info.time_base)))

    def shown(n: int, f: Any) -> Any:  # noqa: ANN401 (the names that VapourSynth calls them by)
        out = f.copy()
        for number, plane in enumerate(frames[n].picture.planes):
            np.copyto(np.asarray(out[number]), plane)
        duration = durations[n] * video.info.time_base
        times = {"_DurationNum": duration.numerator, "_DurationDen": duration.denominator}
        out.props.update(shared | times)
        return out

    depth, rate = video.info.bit_depth, video.info.frame_rate
    empty = core.std.BlankClip(
        width=video.info.width,
        height=video.info.height,
        format=core.query_video_format(vs.YUV, vs.INTEGER, depth, 1, 1).id,
        length=len(video),
        fpsnum=rate.numerator,
        fpsden=rate.denominator,
        keep=True,
    )
    return core.std.ModifyFrame(empty, empty, shown)


class _Frames:
    """Frames of a video by number, for any thread."""

    def __init__(self, video: Video) -> None:
        self._video, self._lock = video, threading.Lock()
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._running: Iterator[Frame] = iter(())
        self._next = -KEPT  # nothing is running

    def __getitem__(self, number: int) -> Frame:
        with self._lock:
            if number not in self._kept and not 0 <= number - self._next < KEPT:
                self._running, self._next = cast(Iterator[Frame], self._video[number:]), number
            while number not in self._kept:
                self._kept[self._next] = next(self._running)
                self._next += 1
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return self._kept[number]


def _properties(info: VideoInfo) -> dict[str, int]:
    """What VapourSynth calls the colours and the shape of pixels, as far as they are known."""
    primaries, transfer, matrix = info.presentation.colour_codes
    codes = {
        "_Primaries": primaries,
        "_Transfer": transfer,
        "_Matrix": MATRIX_CODES[info.colour.matrix] if matrix == UNSPECIFIED else matrix,
    }
    known = {name: code for name, code in codes.items() if code != UNSPECIFIED}
    shape: Fraction = info.presentation.sample_aspect_ratio
    return known | {"_Range": int(info.colour.full_range)} | {"_SARNum": shape.numerator, "_SARDen": shape.denominator}
