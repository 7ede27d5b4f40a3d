# SPDX-License-Identifier: MIT
"""Which packets of a closed group hold pictures that no other refers to, and the group without some of them.

What stays decodes as before, to the bit. HEVC and AVC say it in the header of every NAL unit. In AV1 a packet may hold
hidden frames before the one it shows; when that one goes, they move to the next packet.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..bitstream.units import AnchorPacket

NAL_START = b"\x00\x00\x01"
SEQUENCE_HEADER, FRAME = 1, 6  # types of OBU
KEY, INTRA_ONLY, SWITCH = 0, 2, 3  # types of AV1 frame
SELECT = 2  # of a tool that frames switch on and off


class Thinning(NamedTuple):
    """Indices of the spare packets of a group, and the group without some of those."""

    disposable: Callable[[Sequence[AnchorPacket]], set[int]]
    without: Callable[[Sequence[AnchorPacket], set[int]], list[AnchorPacket]]


def _dropped(packets: Sequence[AnchorPacket], indices: set[int]) -> list[AnchorPacket]:
    return [packet for packet in packets if packet.index not in indices]


def _spare_hevc(packets: Sequence[AnchorPacket]) -> set[int]:
    """Pictures of the highest sublayer that no others of it refer to: even types below 16 (H.265, table 7-1)."""
    pictures = {packet.index: _hevc_picture(packet) for packet in packets}
    top = max((layer for _, layer in pictures.values()), default=0)
    return {index for index, (kind, layer) in pictures.items() if kind < 16 and kind % 2 == 0 and layer == top}


def _hevc_picture(packet: AnchorPacket) -> tuple[int, int]:
    """Type and sublayer of the first NAL unit that is a picture; (1, 0), of a reference, if there is none."""
    headers = ((header[0] >> 1 & 63, (header[1] & 7) - 1) for header in _nal_headers(packet) if len(header) > 1)
    return next(((kind, layer) for kind, layer in headers if kind < 32), (1, 0))


def _spare_avc(packets: Sequence[AnchorPacket]) -> set[int]:
    """Pictures whose nal_ref_idc is 0 (H.264, 7.4.1)."""
    return {
        packet.index
        for packet in packets
        if [header[0] >> 5 & 3 for header in _nal_headers(packet) if header[0] & 31 in (1, 5)][:1] == [0]
    }


def _nal_headers(packet: AnchorPacket) -> list[bytes]:
    """The first two bytes of every NAL unit; the start code of the first is not stored, and none occurs within one."""
    return [part[:2] for part in (b"\x00" + NAL_START + packet.data).split(NAL_START)[1:] if part]


class _Obu(NamedTuple):
    """An AV1 unit: its type, all its bytes, and those after its header."""

    kind: int
    data: bytes
    payload: bytes


class _Sequence(NamedTuple):
    """What a sequence header says that is needed to read a frame's refresh flags (AV1, 5.5)."""

    screen_content: int
    integer_mv: int
    order_hint_bits: int


class _Bits:
    """Reads big-endian bit fields."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def __call__(self, count: int) -> int:
        """The next field. ValueError past the end."""
        self.left -= count
        if self.left < 0:
            raise ValueError("cut short")
        return self.value >> self.left & (1 << count) - 1


def _spare_av1(packets: Sequence[AnchorPacket]) -> set[int]:
    """Packets whose shown frame refreshes no reference; none if the headers hold what is not understood here."""
    disposable = set()
    sequence: _Sequence | None = None
    for packet in packets:
        try:
            units = _obus(packet.data)
            for unit in units:
                sequence = _sequence(_Bits(unit.payload)) if unit.kind == SEQUENCE_HEADER else sequence
            last = units[-1]
            if sequence and last.kind == FRAME and _refreshes_nothing(_Bits(last.payload[:16]), sequence):
                disposable.add(packet.index)
        except (ValueError, IndexError):
            return set()
    return disposable


def _without_av1(packets: Sequence[AnchorPacket], indices: set[int]) -> list[AnchorPacket]:
    """The group without the shown frames of some packets; hidden frames before them move to the next packet."""
    kept: list[AnchorPacket] = []
    hidden = b""
    for packet in packets:
        if packet.index in indices:
            hidden += b"".join(unit.data for unit in _obus(packet.data)[:-1])
        else:
            kept.append(packet._replace(data=hidden + packet.data))
            hidden = b""
    return kept


def _obus(data: bytes) -> list[_Obu]:
    """The units of a packet (AV1, 5.3). ValueError or IndexError if it is none."""
    units = []
    start = 0
    while start < len(data):
        header = data[start]
        place = start + (2 if header & 4 else 1)
        if not header & 2:
            raise ValueError("a unit without its size")
        size, place = _leb128(data, place)
        end = place + size
        units.append(_Obu(header >> 3 & 15, data[start:end], data[place:end]))
        start = end
    return units


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """A size and where it ends (AV1, 4.10.5)."""
    size = 0
    for shift in range(0, 56, 7):
        byte = data[place]
        place += 1
        size |= (byte & 127) << shift
        if not byte & 128:
            return size, place
    raise ValueError("a size that does not end")


def _sequence(bits: _Bits) -> _Sequence | None:
    """What a sequence header says (AV1, 5.5.1); None with timing, frame numbers or still pictures: not read here."""
    bits(3)
    still, reduced, timing = bits(1), bits(1), bits(1)
    if still or reduced or timing:
        return None
    delays = bits(1)
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:  # levels from 4.0 on have tiers
            bits(1)
        if delays and bits(1):
            bits(4)
    width_bits, height_bits = bits(4) + 1, bits(4) + 1
    bits(width_bits + height_bits)
    if bits(1):  # frame numbers
        return None
    bits(3 + 4)
    ordered = bits(1)
    if ordered:
        bits(2)
    screen = SELECT if bits(1) else bits(1)
    integer = SELECT if not screen or bits(1) else bits(1)
    return _Sequence(screen, integer, bits(3) + 1 if ordered else 0)


def _refreshes_nothing(bits: _Bits, sequence: _Sequence) -> bool:
    """Whether a frame is shown and becomes nobody's reference (AV1, 5.9.2)."""
    if bits(1):  # shows a frame that was there before
        return False
    kind, shown = bits(2), bits(1)
    if not shown or kind in (KEY, INTRA_ONLY, SWITCH):
        return False
    resilient = bits(1)
    bits(1)
    screen = bits(1) if sequence.screen_content == SELECT else sequence.screen_content
    if screen and sequence.integer_mv == SELECT:
        bits(1)
    bits(1 + sequence.order_hint_bits)
    if not resilient:
        bits(3)
    return bits(8) == 0


NONE = Thinning(lambda _: set(), _dropped)
HEVC = Thinning(_spare_hevc, _dropped)
AVC = Thinning(_spare_avc, _dropped)
AV1 = Thinning(_spare_av1, _without_av1)
