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
    from .files import replacing
    from .models.open import load as load_model
    from .models.open import predictor
    from .version import __version__
    from .video.metrics import Quality, compare, psnr, rgb_of
    from .video.picture import Colour, Frame, VideoInfo, Yuv420
    from .video.reader import VideoSource, open_source
    from .video.writer import open_sink

# Where each public name lives, and what it is called there if that is another name.
_ROOMS = {
    "anchors.listing": "Listing anchor_listings",
    "anchors.protocol": "AnchorFrame",
    "anchors.registry": "anchor_codec",
    "bframe.model": "Model",
    "bframe.predictor": "Predictor",
    "bframe.records": "Between Interval",
    "bitstream.info": "StreamInfo info",
    "decoder.video": "Video decode open verify",
    "device": "choose_device",
    "encoder.encode": "encode",
    "encoder.report": "Summary",
    "encoder.settings": "EncodeSettings",
    "errors": "AnchorError CodecError DamageError InputError ModelError OutputError StreamError VersionError",
    "models.open": "load_model predictor",
    "version": "__version__",
    "files": "replacing",
    "video.metrics": "Quality compare psnr rgb_of",
    "video.picture": "Colour Frame VideoInfo Yuv420",
    "video.reader": "VideoSource open_source",
    "video.writer": "open_sink",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}
_THERE = {"Between": "Interval", "anchor_listings": "listings", "open": "Video", "load_model": "load"}

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
    "psnr",
    "replacing",
    "rgb_of",
    "verify",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'codec' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), _THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
