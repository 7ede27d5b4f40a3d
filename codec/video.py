# SPDX-License-Identifier: MIT
"""Video files as frames: `open_source` reads them, `open_sink` writes them."""

from .video_in import VideoSource, open_source
from .video_out import VideoSink, open_sink
from .video_raw import RawParameters, parse_frame_rate, probe_parameters

__all__ = [
    "RawParameters",
    "VideoSink",
    "VideoSource",
    "open_sink",
    "open_source",
    "parse_frame_rate",
    "probe_parameters",
]
