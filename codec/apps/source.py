# SPDX-License-Identifier: MIT
"""The video that pictures are made for."""

from ..container.opening import holds_stream
from ..errors import InputError
from ..files import PathLike, name_of
from ..video.reader import open_source
from ..video.source import VideoSource


def source_of(src: PathLike) -> VideoSource:
    """A video to read. InputError as of `open_source`, and for a stream: of that only the anchors would be seen."""
    if holds_stream(src):
        raise InputError(f"{name_of(src)}: is coded by this codec; decode it first, with codec decode")
    return open_source(src)
