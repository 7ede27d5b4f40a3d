# SPDX-License-Identifier: MIT
"""HEVC and VVC byte streams cut into pictures: just enough of their headers to tell the order of display.

One layer, pictures as frames. Names are those of Rec. ITU-T H.265 and H.266 (clauses 7.3 and 8.1.3 / 8.3.1 there).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

START_CODE = b"\x00\x00\x00\x01"
SEPARATOR = re.compile(rb"\x00*\x00\x00\x01")
HEADER_BYTES = 64  # of a slice, more than what stands before its picture order count


class AccessUnit(NamedTuple):
    """A coded picture: its place in display order (coded video sequence, picture order count), and its bytes."""

    order: tuple[int, int]
    data: bytes


class Headline(NamedTuple):
    """What the header of a picture says of its order."""

    restart: bool  # an IDR: counts start anew
    poc_lsb: int
    poc_bits: int
    anchors_poc: bool  # later pictures count from this one


class _Syntax(Protocol):
    def read(self, nal: bytes) -> Headline | None:
        """The headline of a picture's first slice, None for all else."""
        ...

    def trails(self, nal: bytes) -> bool:
        """Whether it belongs to the picture before it."""
        ...


def access_units(stream: bytes, codec: str) -> list[AccessUnit]:
    """The pictures of a stream of 'hevc' or 'vvc' in coding order. ValueError if it is not one."""
    syntax: _Syntax = SYNTAXES[codec]()
    units: list[AccessUnit] = []
    leading: list[bytes] = []  # what belongs to the next picture
    order = _Order()
    for nal in _nal_units(stream):
        headline = syntax.read(nal)
        if headline is not None:
            units.append(AccessUnit(order.next(headline), b"".join((*leading, nal))))
            leading = []
        elif units and syntax.trails(nal) and not leading:
            units[-1] = units[-1]._replace(data=units[-1].data + nal)
        else:
            leading.append(nal)
    if leading or not units or not SEPARATOR.match(stream):
        raise ValueError(f"no {codec} stream of whole pictures")
    return units


def _nal_units(stream: bytes) -> Iterator[bytes]:
    """The NAL units with their start codes, which are all that stands between them."""
    starts = [match.start() for match in SEPARATOR.finditer(stream)]
    for start, stop in zip(starts, [*starts[1:], len(stream)], strict=True):
        yield stream[start:stop]


class _Order:
    """Picture order counts from their low bits."""

    sequence, reference = -1, 0

    def next(self, headline: Headline) -> tuple[int, int]:
        """Which sequence the next picture in coding order is of, and its count there."""
        if headline.restart:
            self.sequence, self.reference = self.sequence + 1, headline.poc_lsb
            return self.sequence, headline.poc_lsb
        span = 1 << headline.poc_bits
        # The count with these low bits that is nearest to the reference, half a span ahead belonging to the past.
        poc = self.reference + (headline.poc_lsb - self.reference + span // 2) % span - span // 2
        if headline.anchors_poc:
            self.reference = poc
        return self.sequence, poc


class _Bits:
    """Reads a header's bits. ValueError at its end."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")  # emulation prevention
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.position = 0

    def u(self, count: int) -> int:
        """A whole number of so many bits."""
        self.position += count
        if self.position > len(self.bits):
            raise ValueError("a header is cut off")
        return int(self.bits[self.position - count : self.position] or "0", 2)

    def ue(self) -> int:
        """A whole number in Exp-Golomb code (ITU-T H.265, 9.2)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def align(self) -> None:
        """Go on at the next whole byte."""
        self.position = -(-self.position // 8) * 8


def _payload(nal: bytes, limit: int | None = None) -> bytes:
    """A NAL unit without start code and its header of two bytes."""
    start = nal.index(b"\x01") + 3
    return nal[start : start + limit if limit else None]


def _header(nal: bytes) -> bytes:
    start = nal.index(b"\x01") + 1
    if len(nal) < start + 2:
        raise ValueError("a NAL unit is cut off")
    return nal[start : start + 2]


@dataclass
class _Hevc:
    pocs: dict[int, tuple[int, bool]] = field(default_factory=dict)  # of an SPS: bits of a count, three colour planes
    slices: dict[int, tuple[int, bool, int]] = field(default_factory=dict)  # of a PPS: SPS, output flag, extra bits

    SPS, PPS, VCL, IRAP, IDR = 33, 34, range(32), range(16, 24), (19, 20)
    TRAILING = (36, 37, 38, 40)  # end of sequence, end of stream, filler, suffix SEI
    LEADING_PICTURES = range(6, 10)  # RADL, RASL
    NOT_REFERENCED = range(0, 16, 2)  # by pictures of the same sublayer

    def kind(self, nal: bytes) -> int:
        """The NAL unit's type."""
        return _header(nal)[0] >> 1 & 63

    def trails(self, nal: bytes) -> bool:
        """Whether it belongs to the picture before it."""
        return self.kind(nal) in (*self.VCL, *self.TRAILING)

    def read(self, nal: bytes) -> Headline | None:
        """The headline of a picture's first slice, None for all else; parameter sets are noted."""
        kind = self.kind(nal)
        if kind == self.SPS:
            self._sps(_Bits(_payload(nal)))
        elif kind == self.PPS:
            bits = _Bits(_payload(nal))
            number, sps, _, output = bits.ue(), bits.ue(), bits.u(1), bits.u(1)
            self.slices[number] = sps, bool(output), bits.u(3)
        elif kind in self.VCL:
            bits = _Bits(_payload(nal, HEADER_BYTES))
            if bits.u(1):
                return self._slice(bits, kind, temporal_id=(_header(nal)[1] & 7) - 1)
        return None

    def _slice(self, bits: _Bits, kind: int, temporal_id: int) -> Headline:
        if kind in self.IRAP:
            bits.u(1)
        pps = bits.ue()
        if pps not in self.slices or self.slices[pps][0] not in self.pocs:
            raise ValueError("a slice comes before its parameter sets")
        sps, output, extra = self.slices[pps]
        poc_bits, planes = self.pocs[sps]
        if kind in self.IDR:
            return Headline(True, 0, poc_bits, True)
        bits.u(extra)
        bits.ue()  # slice_type
        bits.u(output + 2 * planes)
        counted = temporal_id == 0 and kind not in self.LEADING_PICTURES and kind not in self.NOT_REFERENCED
        return Headline(False, bits.u(poc_bits), poc_bits, counted)

    def _sps(self, bits: _Bits) -> None:
        bits.u(4)
        sublayers = bits.u(3)  # minus 1
        bits.u(1 + 88 + 8)  # profile, tier and level of the whole
        present = [(bits.u(1), bits.u(1)) for _ in range(sublayers)]
        bits.u(2 * (8 - sublayers) if sublayers else 0)
        for profile, level in present:
            bits.u(88 * profile + 8 * level)
        number, chroma = bits.ue(), bits.ue()
        planes = chroma == 3 and bits.u(1) == 1
        bits.ue(), bits.ue()  # size
        if bits.u(1):  # conformance window
            [bits.ue() for _ in range(4)]
        bits.ue(), bits.ue()  # bit depths
        self.pocs[number] = bits.ue() + 4, planes


@dataclass
class _Vvc:
    poc_bits: int = 0  # of the last SPS
    header: bytes | None = None  # the picture header whose first slice is to come

    SPS, PICTURE_HEADER, VCL, IDR = 15, 19, range(12), (7, 8)
    TRAILING = (18, 21, 22, 24, 25)  # suffix APS, end of sequence, end of stream, suffix SEI, filler
    LEADING_PICTURES = (2, 3)  # RADL, RASL

    def kind(self, nal: bytes) -> int:
        """The NAL unit's type."""
        return _header(nal)[1] >> 3

    def trails(self, nal: bytes) -> bool:
        """Whether it belongs to the picture before it."""
        return self.kind(nal) in (*self.VCL, *self.TRAILING)

    def read(self, nal: bytes) -> Headline | None:
        """The headline of a picture's first slice, None for all else; parameter sets and picture headers are noted."""
        kind = self.kind(nal)
        if kind == self.SPS:
            self._sps(_Bits(_payload(nal)))
        elif kind == self.PICTURE_HEADER:
            self.header = _payload(nal, HEADER_BYTES)
        elif kind in self.VCL:
            bits = _Bits(_payload(nal, HEADER_BYTES))
            within = bits.u(1)
            if not within and self.header is not None:
                bits, self.header, within = _Bits(self.header), None, 1
            return self._picture(bits, kind, temporal_id=(_header(nal)[1] & 7) - 1) if within else None
        return None

    def _picture(self, bits: _Bits, kind: int, temporal_id: int) -> Headline:
        if not self.poc_bits:
            raise ValueError("a slice comes before its parameter sets")
        intra, unreferenced = bits.u(1), bits.u(1)
        bits.u(intra)
        bits.u(bits.u(1))  # whether intra slices may occur, told if inter slices may
        bits.ue()
        counted = temporal_id == 0 and kind not in self.LEADING_PICTURES and not unreferenced
        return Headline(kind in self.IDR, bits.u(self.poc_bits), self.poc_bits, counted)

    def _sps(self, bits: _Bits) -> None:
        bits.u(4 + 4)
        sublayers = bits.u(3)  # minus 1
        bits.u(2 + 2)
        if bits.u(1):
            self._profile(bits, sublayers)
        bits.u(1)
        bits.u(bits.u(1))  # whether sizes change within a sequence, told if references are resampled
        bits.ue(), bits.ue()  # size
        if bits.u(1):  # conformance window
            [bits.ue() for _ in range(4)]
        if bits.u(1):
            raise ValueError("subpictures are not understood; code without them")
        bits.ue()  # bit depth
        bits.u(1 + 1)
        self.poc_bits = bits.u(4) + 4

    def _profile(self, bits: _Bits, sublayers: int) -> None:
        bits.u(7 + 1 + 8 + 1 + 1)
        if bits.u(1):  # general constraints
            bits.u(71)
            bits.u(bits.u(8))
        bits.align()
        present = sum(bits.u(1) for _ in range(sublayers))
        bits.align()
        bits.u(8 * present)
        bits.u(32 * bits.u(8))


SYNTAXES: dict[str, Callable[[], _Syntax]] = {"hevc": _Hevc, "vvc": _Vvc}
