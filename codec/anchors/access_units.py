# SPDX-License-Identifier: MIT
"""HEVC and VVC byte streams cut into pictures. libavcodec cuts them, and decodes them to tell the order of display."""

import av

from ..bitstream.units import AnchorPacket
from .libav import create, packet_of
from .libav_codecs import START_CODE

CODECS = ("hevc", "vvc")


def access_units(stream: bytes, codec: str, first: int = 0) -> list[AnchorPacket]:
    """The pictures of a stream of 'hevc' or 'vvc' in coding order, numbered from `first` on in that of display.

    The first to be shown is the key; start codes before pictures are left out. ValueError if it is no such stream.
    """
    decoder = create(codec, "r")
    decoder.thread_count = 1
    try:
        parts = [bytes(part) for part in (*decoder.parse(stream), *decoder.parse())]
        packets = [packet_of(part, number) for number, part in enumerate(parts)]
        shown = [frame.pts for packet in (*packets, None) for frame in decoder.decode(packet)]
    except av.FFmpegError as error:
        raise ValueError(f"no {codec} that can be decoded: {error.strerror}") from error
    ranks = {number: rank for rank, number in enumerate(shown)}
    if 0 not in ranks or not stream.startswith((START_CODE, START_CODE[1:])):
        raise ValueError(f"no {codec} stream of whole pictures")
    starts = [n for n in range(len(parts)) if n in ranks]  # others, as a mark of the end, belong to the picture before
    whole = [b"".join(parts[start:stop]) for start, stop in zip(starts, [*starts[1:], None], strict=True)]
    return [
        AnchorPacket(first + ranks[start], ranks[start] == 0, data.strip(b"\0")[1:])
        for start, data in zip(starts, whole, strict=True)
    ]
