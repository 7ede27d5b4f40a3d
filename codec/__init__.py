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

from .anchors import AnchorFrame, anchor_codec
from .anchors.listing import Listing, listings
from .api import Video, decode, verify
from .bframe import Between, Predictor, choose_device, predictor
from .encoding import encode
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
from .metrics import Quality, compare, rgb_of
from .models import Model
from .models import load as load_model
from .report import Summary
from .settings import EncodeSettings
from .video import VideoSource, open_sink, open_source

open = Video
anchor_listings = listings

__all__ = [
    "AnchorError",
    "AnchorFrame",
    "Between",
    "CodecError",
    "Colour",
    "DamageError",
    "EncodeSettings",
    "Frame",
    "InputError",
    "Listing",
    "Model",
    "ModelError",
    "OutputError",
    "Predictor",
    "Quality",
    "StreamError",
    "StreamInfo",
    "Summary",
    "VersionError",
    "Video",
    "VideoInfo",
    "VideoSource",
    "Yuv420",
    "__version__",
    "anchor_codec",
    "anchor_listings",
    "choose_device",
    "compare",
    "decode",
    "encode",
    "info",
    "load_model",
    "open",
    "open_sink",
    "open_source",
    "predictor",
    "rgb_of",
    "verify",
]
