# SPDX-License-Identifier: MIT
"""The header of a stream, by what it is made with."""

from ..anchors.protocol import AnchorCodec
from ..bframe.model import Model
from ..bitstream.fields import Values
from ..bitstream.presentation import options_of
from ..bitstream.units import Header
from ..models.neighbour_file import NamedFilter
from ..video.picture import VideoInfo
from .settings import EncodeSettings


def header_of(
    settings: EncodeSettings, info: VideoInfo, anchor_codec: AnchorCodec, model: Model, neighbours: NamedFilter | None
) -> Header:
    """What the whole stream has in common."""
    return Header(
        width=info.width,
        height=info.height,
        frame_rate=info.frame_rate,
        time_base=info.time_base,
        bit_depth=info.bit_depth,
        matrix=info.colour.matrix,
        full_range=info.colour.full_range,
        mode=settings.mode,
        gop=settings.schedule,
        intra_period=settings.intra_period,
        anchor_codec=anchor_codec.name,
        anchor_settings=anchor_codec.describe(),
        model=model.name,
        fingerprint=model.fingerprint,
        options=_options(settings, info, neighbours),
    )


def _options(settings: EncodeSettings, info: VideoInfo, neighbours: NamedFilter | None) -> dict[str, Values]:
    """Options of the header, by name."""
    options = options_of(info.presentation)
    if settings.averaged:
        options["averaged"] = {"turns": 2}
    if settings.half:
        options["half"] = {"precision": settings.precision}
    if neighbours is not None:
        options["neighbour_filter"] = {"name": neighbours.name, "fingerprint": neighbours.fingerprint}
    return options
