# SPDX-License-Identifier: MIT
"""Which packets of a closed group hold pictures that no other refers to, and the group without some of them.

What stays decodes as before, to the bit. Decoders of AVC and AV1 tell which pictures these are, as they can skip them.
That of HEVC skips too many: those that no others of their own sublayer refer to, whatever the sublayers above do.
"""

import re
from collections.abc import Sequence

from ..bitstream.units import AnchorPacket

HEVC_PICTURE = re.compile(rb"(?:\A|\0\0\x01)([\0-\x3f])(.)", re.DOTALL)  # the header of a NAL unit of type below 32
AV1_FRAMES = (3, 6)  # types of the units that a frame starts with
AV1_SIZE = re.compile(rb"[\x80-\xff]*[\0-\x7f]")


def disposable_hevc(packets: Sequence[AnchorPacket]) -> set[int]:
    """Indices of those of the highest sublayer that no others of it refer to: even types below 16 (H.265, 7.4.2.2)."""
    heads = {packet.index: head for packet in packets if (head := HEVC_PICTURE.search(packet.data))}
    kinds = {index: (head[1][0] >> 1, head[2][0] & 7) for index, head in heads.items()}
    top = max((layer for _, layer in kinds.values()), default=0)
    return {index for index, (kind, layer) in kinds.items() if kind < 16 and kind % 2 == 0 and layer == top}


def without(packets: Sequence[AnchorPacket], indices: set[int], *, av1: bool = False) -> list[AnchorPacket]:
    """A closed group without some disposable packets; hidden frames of AV1 before theirs move to the next packet."""
    kept: list[AnchorPacket] = []
    hidden = b""
    for packet in packets:
        if packet.index in indices:
            hidden += packet.data[: _last_frame(packet.data)] if av1 else b""
        else:
            kept.append(packet._replace(data=hidden + packet.data))
            hidden = b""
    return kept


def _last_frame(data: bytes) -> int:
    """Where the last frame of an AV1 packet starts, which is the one that it shows (AV1, 5.3)."""
    last = start = 0
    while start < len(data):
        if data[start] >> 3 & 15 in AV1_FRAMES:
            last = start
        size = AV1_SIZE.match(data, start + 1 + (data[start] >> 2 & 1))
        if size is None:
            break
        start = size.end() + sum((byte & 127) << 7 * place for place, byte in enumerate(size[0]))
    return last
