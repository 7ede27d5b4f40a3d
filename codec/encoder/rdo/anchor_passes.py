# SPDX-License-Identifier: MIT
"""A video's anchors in one order, coded and measured a period at a time.

An encoder runs on from the first frame to the last where it can: x265 pays 1 to 3 % for starting anew at every I, and
as much for groups shorter than it was told. How it shares out bits between I and P depends on what it coded before, and
no way is the best in every period, so a period may also be coded anew, or by an encoder that has just coded the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from ...anchors.protocol import AnchorCodec
from ...gop.periods import Period, SourceSegment, every
from ...gop.structure import Segment, longest_group
from ...video.picture import VideoInfo
from ..coded_anchors import CodedAnchors
from ..distortion import DistortionMeter
from ..journal import Kept
from ..segments import code_anchors
from .lagrangian import Lagrangian

BEYOND = 100.0  # octaves of slope: further than any encoder's scale goes


@dataclass(frozen=True, kw_only=True)
class PeriodPasses:
    """A period, lambda in it, and its anchors as encoders coded them that run on from period to period.

    runs: its anchors, by their distance, as they are decoded; at distance 1 that is the encoder's own order.
    kept: how it was coded already, if it was.
    """

    period: Period
    lagrangian: Lagrangian
    runs: Mapping[int, CodedAnchors]
    kept: Kept | None = None


class AnchorPasses:
    """Code and measure the anchors of a video in any order."""

    def __init__(self, info: VideoInfo, anchor_codec: AnchorCodec, intra_period: int, meter: DistortionMeter) -> None:
        self.info, self.anchor_codec = info, anchor_codec
        self.intra_period = intra_period
        self.meter = meter

    @property
    def pixels(self) -> int:
        """Luma samples of a picture: width times height."""
        return self.info.pixels

    def run(self, source: Iterable[Period], distance: int, *, finer: float = 0.0) -> Iterator[CodedAnchors]:
        """The periods with anchors `distance` apart, at 2^finer times the wanted slope, by one encoder."""
        longest = longest_group(self.intra_period, distance)
        codec = self.anchor_codec.variant(distance=distance, longest_group=longest, finer=finer)
        plan = every(distance)
        return self._coded(codec, (core(period, plan(period)) for period in source))

    def code_anew(
        self, period: Period, gaps: tuple[int, ...], *, finer: float = 0.0, warm: bool = False
    ) -> CodedAnchors:
        """One period with these gaps between its anchors, by an encoder of its own; if `warm` it coded them before."""
        distance = max(1, round(sum(gaps) / max(1, len(gaps))))
        codec = self.anchor_codec.variant(distance=distance, longest_group=len(gaps) + 1, finer=finer)
        return next(self._coded(codec, [core(period, gaps)] * (1 + warm), skip=int(warm)))

    def is_coarsest(self, finer: float) -> bool:
        """Whether the encoder's scale ends at 2^finer times the wanted slope, so that nothing is coarser."""
        here, end = (self.anchor_codec.variant(distance=1, longest_group=0, finer=at) for at in (finer, -BEYOND))
        return here.describe() == end.describe()

    def cheapest(
        self, period: Period, gaps: tuple[int, ...], lagrangian: Lagrangian, running: CodedAnchors | None = None
    ) -> CodedAnchors:
        """One period with these gaps, of all ways to code it the one that is expected to cost least.

        `running` is how an encoder coded it that runs on. An encoder that remembers nothing codes it in one way only.
        """
        if not self.anchor_codec.remembers:
            return running or self.code_anew(period, gaps)
        ways = [self.code_anew(period, gaps), self.code_anew(period, gaps, warm=True)]
        return min(ways if running is None else [running, *ways], key=lagrangian.expected_cost)

    def disposable(self, coded: CodedAnchors) -> set[int]:
        """POCs of the anchors that no other refers to, and that have one on either side."""
        found = {coded.unit.pocs_by_anchor[index] for index in self.anchor_codec.disposable(coded.unit.anchor_packets)}
        return found - {coded.source.segment.intra, coded.source.segment.stop - 1}

    def without(self, coded: CodedAnchors, pocs: set[int]) -> CodedAnchors:
        """These anchors without the disposable ones of these POCs; those that stay are numbered anew.

        Decoded pictures and qualities of those that stay do not change.
        """
        numbers = coded.unit.pocs_by_anchor
        kept = sorted(set(numbers.values()) - pocs)
        index = {poc: coded.unit.first_anchor + place for place, poc in enumerate(kept)}
        thin = self.anchor_codec.without(
            coded.unit.anchor_packets, {number for number, poc in numbers.items() if poc in pocs}
        )
        packets = [anchor._replace(index=index[numbers[anchor.index]]) for anchor in thin]
        segment = replace(coded.source.segment, gaps=tuple(high - low for low, high in pairwise(kept)))
        return CodedAnchors(
            source=replace(coded.source, segment=segment),
            unit=replace(coded.unit, segment=segment, anchor_packets=packets),
            anchors={poc: coded.anchors[poc] for poc in kept},
            qualities={poc: coded.qualities[poc] for poc in kept},
            decoded_qualities={poc: coded.decoded_qualities[poc] for poc in kept},
        )

    def bits_of(self, coded: CodedAnchors, poc: int) -> float:
        """Bits saved without a disposable anchor: fewer than its packet has, if that holds what later pictures need."""
        return coded.bits - self.without(coded, {poc}).bits

    def _coded(self, codec: AnchorCodec, sources: Iterable[SourceSegment], *, skip: int = 0) -> Iterator[CodedAnchors]:
        for source, unit in islice(code_anchors(codec, self.info, sources), skip, None):
            pictures = self.anchor_codec.decode(unit.anchor_packets, self.info)
            decoded = {unit.pocs_by_anchor[index]: picture for index, picture in sorted(pictures.items())}
            yield self.meter.measured(source, unit, decoded)


def core(period: Period, gaps: tuple[int, ...]) -> SourceSegment:
    """A period's segment without leading B-frames, as far as its last anchor."""
    segment = Segment(period.intra, gaps)
    return SourceSegment(segment, period.frames[: segment.stop - period.intra])
