# SPDX-License-Identifier: MIT
"""Learned B-frames between the anchors of any ordinary video codec.

import codec

summary = codec.encode("in.mp4", "out.ncm", crf=28)
codec.decode("out.ncm", "out.mkv")
for frame in codec.open("out.ncm"):
    frame.picture.y  # numpy planes

Names are loaded when they are first used (PEP 562): `import codec` loads neither torch nor CompressAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .anchors.listing import Listing
    from .anchors.listing import listings as anchor_listings
    from .anchors.protocol import AnchorFrame
    from .anchors.registry import anchor_codec
    from .bframe.model import Model
    from .bframe.predictor import Predictor
    from .bframe.records import Interval
    from .bframe.records import Interval as Between
    from .bitstream.info import StreamInfo, info
    from .decoder.video import Video, decode, verify
    from .decoder.video import Video as open  # noqa: N813 (the name that users call)
    from .device import choose_device
    from .encoder.encode import encode
    from .encoder.report import Summary
    from .encoder.settings import EncodeSettings
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
    from .models.open import load as load_model
    from .models.open import predictor
    from .version import __version__
    from .video.metrics import Quality, compare, rgb_of
    from .video.picture import Colour, Frame, VideoInfo, Yuv420
    from .video.reader import VideoSource, open_source
    from .video.writer import open_sink

# Where each public name lives, and what it is called there if that is another name.
_HOMES = {
    "AnchorError": "errors",
    "AnchorFrame": "anchors.protocol",
    "Between": "bframe.records:Interval",
    "CodecError": "errors",
    "Colour": "video.picture",
    "DamageError": "errors",
    "EncodeSettings": "encoder.settings",
    "Frame": "video.picture",
    "InputError": "errors",
    "Interval": "bframe.records",
    "Listing": "anchors.listing",
    "Model": "bframe.model",
    "ModelError": "errors",
    "OutputError": "errors",
    "Predictor": "bframe.predictor",
    "Quality": "video.metrics",
    "StreamError": "errors",
    "StreamInfo": "bitstream.info",
    "Summary": "encoder.report",
    "VersionError": "errors",
    "Video": "decoder.video",
    "VideoInfo": "video.picture",
    "VideoSource": "video.reader",
    "Yuv420": "video.picture",
    "__version__": "version",
    "anchor_codec": "anchors.registry",
    "anchor_listings": "anchors.listing:listings",
    "choose_device": "device",
    "compare": "video.metrics",
    "decode": "decoder.video",
    "encode": "encoder.encode",
    "info": "bitstream.info",
    "load_model": "models.open:load",
    "open": "decoder.video:Video",
    "open_sink": "video.writer",
    "open_source": "video.reader",
    "predictor": "models.open",
    "rgb_of": "video.metrics",
    "verify": "decoder.video",
}

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
    "Interval",
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


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'codec' has no attribute {name!r}")
    home, _, there = _HOMES[name].partition(":")
    value = getattr(import_module(f".{home}", __name__), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
