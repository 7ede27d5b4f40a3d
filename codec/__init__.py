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
    from .apps.dejitter import Smoothed, dejitter
    from .apps.motion_blur import blur_pictures, motion_blur
    from .apps.motion_pictures import show_motion
    from .apps.play import play
    from .apps.slow_motion import slow_motion
    from .bframe.model import Model
    from .bframe.predictor import Predictor
    from .bframe.records import Interval, ToWrite
    from .bframe.records import Interval as Between
    from .bitstream.info import StreamInfo
    from .container.opening import info
    from .container.remux import remux
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
        WorkerError,
    )
    from .files import replacing
    from .memory import keep_freed_memory
    from .models.onnx_file import export_onnx
    from .models.open import averaged, predictor
    from .models.open import load as load_model
    from .parallel.cluster import Cluster, open_cluster
    from .parallel.executor import InProcess
    from .parallel.pool import Pool
    from .status import Parser
    from .version import __version__
    from .video.metrics import Quality, compare, psnr, rgb_of
    from .video.picture import Colour, Frame, VideoInfo, Yuv420
    from .video.reader import open_source
    from .video.source import VideoSource
    from .video.vmaf import Vmaf, vmaf_available
    from .video.writer import open_sink
    from .video.xpsnr import Xpsnr

# Where each public name lives, and what it is called there if that is another name.
_ROOMS = {
    "anchors.listing": "Listing anchor_listings",
    "anchors.protocol": "AnchorFrame",
    "anchors.registry": "anchor_codec",
    "apps.dejitter": "Smoothed dejitter",
    "apps.motion_blur": "blur_pictures motion_blur",
    "apps.motion_pictures": "show_motion",
    "apps.play": "play",
    "apps.slow_motion": "slow_motion",
    "bframe.model": "Model",
    "bframe.predictor": "Predictor",
    "bframe.records": "Between Interval ToWrite",
    "bitstream.info": "StreamInfo",
    "container.opening": "info",
    "container.remux": "remux",
    "parallel.cluster": "Cluster open_cluster",
    "parallel.executor": "InProcess",
    "parallel.pool": "Pool",
    "decoder.video": "Video decode open verify",
    "device": "choose_device",
    "encoder.encode": "encode",
    "encoder.report": "Summary",
    "encoder.settings": "EncodeSettings",
    "errors": "AnchorError CodecError DamageError InputError ModelError OutputError StreamError "
    "VersionError WorkerError",
    "memory": "keep_freed_memory",
    "models.onnx_file": "export_onnx",
    "models.open": "averaged load_model predictor",
    "status": "Parser",
    "version": "__version__",
    "files": "replacing",
    "video.metrics": "Quality compare psnr rgb_of",
    "video.picture": "Colour Frame VideoInfo Yuv420",
    "video.reader": "open_source",
    "video.source": "VideoSource",
    "video.vmaf": "Vmaf vmaf_available",
    "video.writer": "open_sink",
    "video.xpsnr": "Xpsnr",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}
_THERE = {"Between": "Interval", "anchor_listings": "listings", "open": "Video", "load_model": "load"}

__all__ = [
    "AnchorError",
    "AnchorFrame",
    "Between",
    "Cluster",
    "CodecError",
    "Colour",
    "DamageError",
    "EncodeSettings",
    "Frame",
    "InProcess",
    "InputError",
    "Interval",
    "Listing",
    "Model",
    "ModelError",
    "OutputError",
    "Parser",
    "Pool",
    "Predictor",
    "Quality",
    "Smoothed",
    "StreamError",
    "StreamInfo",
    "Summary",
    "ToWrite",
    "VersionError",
    "Video",
    "VideoInfo",
    "VideoSource",
    "Vmaf",
    "WorkerError",
    "Xpsnr",
    "Yuv420",
    "__version__",
    "anchor_codec",
    "anchor_listings",
    "averaged",
    "blur_pictures",
    "choose_device",
    "compare",
    "decode",
    "dejitter",
    "encode",
    "export_onnx",
    "info",
    "keep_freed_memory",
    "load_model",
    "motion_blur",
    "open",
    "open_cluster",
    "open_sink",
    "open_source",
    "play",
    "predictor",
    "psnr",
    "remux",
    "replacing",
    "rgb_of",
    "show_motion",
    "slow_motion",
    "verify",
    "vmaf_available",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _HOMES:
        raise AttributeError(f"module 'codec' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), _THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
