# SPDX-License-Identifier: MIT
"""Streams made up for tests: units whose contents tell where they belong, packets of any content, right checksums."""

import hashlib
import io
from fractions import Fraction

from codec.bitstream import syntax
from codec.bitstream.fields import pack
from codec.bitstream.framing import frame_packet, write_header
from codec.bitstream.reader import StreamReader
from codec.bitstream.units import AnchorPacket, BFramePacket, Header, Unit
from codec.bitstream.writer import StreamWriter

HEADER = Header(
    width=64,
    height=48,
    frame_rate=Fraction(30000, 1001),
    time_base=Fraction(1, 1000),
    bit_depth=8,
    matrix="bt709",
    full_range=False,
    mode="auto",
    gop="ibpb",
    intra_period=8,
    anchor_codec="x265",
    anchor_settings="qp=32",
    model="ncm-s",
    fingerprint=b"01234567",
)


def write(units, header=HEADER):
    file = io.BytesIO()
    writer = StreamWriter(file, header)
    for unit in units:
        writer.write(unit)
    writer.finish()
    assert writer.bytes_written == len(file.getvalue()) == writer.bytes_by_kind.total()
    return file.getvalue()


def read(data):
    reader = StreamReader(io.BytesIO(data))
    return list(reader.units()), reader


def make(segment, first_anchor, *, size, coded=(), shift=0, hashes=False, late=()):
    """A unit with contents that tell where they belong."""
    pts = [time + shift for time in HEADER.nominal_pts(segment.pocs)]
    for k, delay in enumerate(late):
        pts[k] += delay
    anchors = [AnchorPacket(first_anchor + k, k == 0, bytes([65 + k]) * size) for k in range(len(segment.anchor_pocs))]
    bframes = {poc: BFramePacket(poc, poc % 3, 30, bytes([97 + poc]) * size) for poc in coded}
    own = tuple(hashlib.sha256(bytes([poc])).digest()[:8] for poc in segment.pocs) if hashes else ()
    return Unit(segment, first_anchor, tuple(pts), 140, anchors, bframes, own, frozenset(coded))


def stream(*packets, header=HEADER):
    """A stream of packets, each a kind and its body or fields, with right checksums."""
    return write_header(header) + b"".join(frame_packet(kind, body(kind, values)) for kind, values in packets)


def body(kind, values):
    return values if isinstance(values, bytes) else pack(syntax.PACKETS[kind][0], values)
