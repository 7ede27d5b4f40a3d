# SPDX-License-Identifier: MIT
"""Anchors that nothing coded, for tests of what an encoder decides about them."""

from codec.bframe.records import Anchor
from codec.bitstream.units import AnchorPacket, Unit
from codec.encoder.coded_anchors import CodedAnchors
from codec.gop.periods import SourceSegment
from codec.gop.structure import Segment
from codec.video.picture import Frame


def coded_anchors(decoded, originals, size):
    """All pictures as the anchors of a segment, of so many bytes each."""
    segment = Segment(0, (1,) * (len(originals) - 1))
    source = SourceSegment(segment, tuple(Frame(n, picture) for n, picture in enumerate(originals)))
    packets = [AnchorPacket(n, n == 0, bytes(size)) for n in range(len(originals))]
    unit = Unit(segment, 0, tuple(range(len(originals))), anchor_packets=packets)
    anchors = {n: Anchor(picture, picture) for n, picture in enumerate(decoded)}
    return CodedAnchors(source=source, unit=unit, anchors=anchors, qualities={}, decoded_qualities={})
