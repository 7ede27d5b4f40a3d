# SPDX-License-Identifier: MIT
"""The anchors of one segment, coded, decoded again and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from ..bframe.records import Anchor
from ..bitstream.units import Unit
from ..gop.periods import SourceSegment
from ..video.metrics import Quality
from ..video.picture import Yuv420


@dataclass(frozen=True, kw_only=True)
class CodedAnchors:
    """Source and unit of a segment, and by POC its anchors as decoders show them, and how good they are.

    `qualities` are of what is shown, `decoded_qualities` of what the anchors' codec decodes; the two differ where the
    anchors are filtered.
    """

    source: SourceSegment
    unit: Unit
    anchors: dict[int, Anchor]
    qualities: dict[int, Quality]
    decoded_qualities: dict[int, Quality]

    @property
    def decoded(self) -> dict[int, Yuv420]:
        """The anchors by POC as their codec decodes them."""
        return {poc: anchor.decoded for poc, anchor in self.anchors.items()}

    @property
    def bits(self) -> int:
        """Bits of all anchors of the segment together, framing aside."""
        return 8 * sum(self.unit.sizes.values())


def mean_quality(qualities: Mapping[int, Quality], measure: str) -> float:
    """The mean of one measure over pictures by POC."""
    return fmean(getattr(quality, measure) for quality in qualities.values())
