# SPDX-License-Identifier: MIT
"""A video's anchors in one order, coded and measured a period at a time.

An encoder runs on from the first frame to the last where it can: x265 pays 1 to 3 % for starting anew at every I, and
as much for groups shorter than it was told. How it shares out bits between I and P depends on what it coded before, and
no way is the best in every period, so a period may also be coded anew, or by an encoder that has just coded the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, pairwise
from statistics import fmean
from typing import NamedTuple

from ...anchors.protocol import AnchorCodec
from ...bframe.records import Anchor
from ...bitstream.units import Unit
from ...gop.periods import Period, SourceSegment, every
from ...gop.structure import Segment, longest_group
from ...video.metrics import Quality
from ...video.picture import VideoInfo, Yuv420
from ..distortion import Assessed, DistortionMeter
from ..segments import code_anchors
from .price import Lagrangian, Point


class Coded(NamedTuple):
    """The anchors of a period in one order: source and unit without leading B-frames, and by POC anchors and qualities.

    `plain` are the qualities as the anchors' codec decodes them.
    """

    source: SourceSegment
    unit: Unit
    anchors: dict[int, Anchor]
    qualities: dict[int, Quality]
    plain: dict[int, Quality]

    @property
    def point(self) -> Point:
        """Bits and qualities."""
        return Point(8 * sum(self.unit.sizes.values()), list(self.qualities.values()))

    def costs(self, price: Lagrangian) -> dict[int, float]:
        """What each anchor costs, in bits, distortion included."""
        return {poc: 8 * size + price.of(self.qualities[poc]) for poc, size in self.unit.sizes.items()}

    def gained(self, price: Lagrangian) -> float:
        """Bits that filtering is worth a picture, on average; 0 where they are shown as decoded."""
        return fmean(price.of(self.plain[poc]) - price.of(quality) for poc, quality in self.qualities.items())

    def expected(self, price: Lagrangian) -> float:
        """What all costs up to the last anchor, in bits, were what lies between two as good as they are, and free.

        Nothing is filtered here: that would better all ways to code the same alike.
        """
        worth = [price.of(quality) for _, quality in sorted(self.plain.items())]
        gaps = self.source.segment.gaps
        between = sum((gap - 1) * (low + high) / 2 for gap, (low, high) in zip(gaps, pairwise(worth), strict=True))
        return 8 * sum(self.unit.sizes.values()) + sum(worth) + between


class AnchorPasses:
    """Code and measure the anchors of a video in any order."""

    def __init__(self, info: VideoInfo, anchors: AnchorCodec, intra_period: int, assess: DistortionMeter) -> None:
        self.info, self.anchors = info, anchors
        self.intra_period = intra_period
        self.assess = assess

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return self.info.pixels

    def run(self, source: Iterable[Period], distance: int, *, finer: float = 0.0) -> Iterator[Coded]:
        """The periods with anchors `distance` apart, at 2^finer times the wanted slope, by one encoder."""
        longest = longest_group(self.intra_period, distance)
        codec = self.anchors.variant(distance=distance, longest_group=longest, finer=finer)
        plan = every(distance)
        return self._coded(codec, (core(period, plan(period)) for period in source))

    def code_anew(self, period: Period, gaps: tuple[int, ...], *, finer: float = 0.0, warm: bool = False) -> Coded:
        """One period with these gaps between its anchors, by an encoder of its own; if `warm` it coded them before."""
        distance = max(1, round(sum(gaps) / max(1, len(gaps))))
        codec = self.anchors.variant(distance=distance, longest_group=len(gaps) + 1, finer=finer)
        return next(self._coded(codec, [core(period, gaps)] * (1 + warm), skip=int(warm)))

    def cheapest(self, period: Period, gaps: tuple[int, ...], price: Lagrangian, running: Coded | None = None) -> Coded:
        """One period with these gaps, of all ways to code it the one that is expected to cost least.

        `running` is that of an encoder which runs on; the only one if none remembers what it coded before.
        """
        if not self.anchors.remembers:
            return running or self.code_anew(period, gaps)
        ways = [self.code_anew(period, gaps), self.code_anew(period, gaps, warm=True)]
        return min(ways if running is None else [running, *ways], key=lambda way: way.expected(price))

    def disposable(self, coded: Coded) -> set[int]:
        """POCs of the anchors that no other refers to, and that have one on either side."""
        disposable = {coded.unit.anchor_pocs[index] for index in self.anchors.disposable(coded.unit.anchors)}
        return disposable - {coded.source.segment.intra, coded.source.segment.stop - 1}

    def without(self, coded: Coded, pocs: set[int]) -> Coded:
        """The same with some spare anchors left out; those that stay are numbered anew."""
        numbers = coded.unit.anchor_pocs
        kept = sorted(set(numbers.values()) - pocs)
        index = {poc: coded.unit.first_anchor + place for place, poc in enumerate(kept)}
        thin = self.anchors.without(coded.unit.anchors, {number for number, poc in numbers.items() if poc in pocs})
        anchors = [anchor._replace(index=index[numbers[anchor.index]]) for anchor in thin]
        segment = replace(coded.source.segment, gaps=tuple(high - low for low, high in pairwise(kept)))
        unit = replace(coded.unit, segment=segment, anchors=anchors)
        shown = {poc: coded.anchors[poc] for poc in kept}
        qualities, plain = ({poc: known[poc] for poc in kept} for known in (coded.qualities, coded.plain))
        return Coded(replace(coded.source, segment=segment), unit, shown, qualities, plain)

    @property
    def measure(self) -> str:
        """What is optimised."""
        return self.assess.measure

    def quality(self, source: Yuv420, shown: Yuv420) -> Quality:
        """See DistortionMeter."""
        return self.assess.quality(source, shown)

    def shown(self, coded: Coded) -> Coded:
        """The same as decoders will show it: its anchors filtered if that is allowed and makes them better."""
        plain = Assessed(coded.unit, coded.anchors, coded.qualities)
        return coded._replace(**self.assess.filtered(coded.source, plain)._asdict())

    def _coded(self, codec: AnchorCodec, sources: Iterable[SourceSegment], *, skip: int = 0) -> Iterator[Coded]:
        for source, unit, _ in islice(code_anchors(codec, self.info, sources), skip, None):
            pictures = self.anchors.decode(unit.anchors, self.info)
            decoded = {unit.anchor_pocs[index]: picture for index, picture in sorted(pictures.items())}
            plain = self.assess(source, unit, decoded)
            yield Coded(source, *plain, plain.qualities)


def core(period: Period, gaps: tuple[int, ...]) -> SourceSegment:
    """A period's segment without leading B-frames, as far as its last anchor."""
    segment = Segment(period.intra, gaps)
    return SourceSegment(segment, period.frames[: segment.stop - period.intra])
