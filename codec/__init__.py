# SPDX-License-Identifier: MIT
"""Learned B-frames between the anchors of any ordinary video codec.

import codec

summary = codec.encode("in.mp4", "out.ncm", mode="bitfree", anchor="x265", crf=28)
codec.decode("out.ncm", "out.mkv")
for frame in codec.open("out.ncm"):
    frame.picture.y  # numpy planes
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ncm-codec")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

from .api import Video, decode, encode, verify
from .errors import (
    AnchorError,
    CodecError,
    DamageError,
    InputError,
    ModelError,
    OutputError,
    StreamError,
    VersionError,
)
from .frame import Colour, Frame, VideoInfo, Yuv420
from .inspect import StreamInfo, info
from .metrics import Quality, compare
from .report import Summary
from .video import open_sink, open_source

open = Video

__all__ = [
    "AnchorError",
    "CodecError",
    "Colour",
    "DamageError",
    "Frame",
    "InputError",
    "ModelError",
    "OutputError",
    "Quality",
    "StreamError",
    "StreamInfo",
    "Summary",
    "VersionError",
    "Video",
    "VideoInfo",
    "Yuv420",
    "__version__",
    "compare",
    "decode",
    "encode",
    "info",
    "open",
    "open_sink",
    "open_source",
    "verify",
]
