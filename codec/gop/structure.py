# SPDX-License-Identifier: MIT
"""Which pictures are anchors, which two anchors a B-frame uses, and the order of coding.

A *segment* is one intra period. In coding order it holds everything up to its last anchor: its I, the B-frames that
lead it (they sit before the I in display order and refer to the last anchor of the segment before), then its P
anchors and the B-frames between them. So a segment is shown without a gap and never waits for the one after it.

    ibpb, intra period 8      poc   0  1  2  3  4  5  6  7 | 8  9 10 ...
                                    I  B  P  B  P  B  P  B | I  B  P
                              segment 0: I0 P2 P4 P6, B1 B3 B5          segment 1: I8 P10 ..., B7 (leading) B9 ...

    fixed:4                   poc   0  1  2  3  4          B2 refers to 0 and 4, B1 to 0 and 2, B3 to 2 and 4
                                    I  B  B  B  P

    a cut before poc 5        poc   0  1  2  3  4 | 5      4 is an anchor (nothing after it may be shown with it),
                                    I  B  P  B  P | I      5 starts a segment without leading B-frames
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from ..errors import InputError

DEFAULT_INTRA_PERIOD = 32
ADAPTIVE = "adaptive"  # the schedule that is chosen by cost, period by period


@dataclass(frozen=True)
class Picture:
    """A picture in coding order. Its kind follows from the number of its references."""

    poc: int
    refs: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """The kind as a letter: I without references, P with one, B with two."""
        return "IPB"[len(self.refs)]


@dataclass(frozen=True)
class Segment:
    """The pictures of one intra period: the I at POC `intra`, anchors `gaps` apart, `leading` B-frames before it."""

    intra: int
    gaps: tuple[int, ...] = ()
    leading: int = 0

    @cached_property
    def anchor_pocs(self) -> tuple[int, ...]:
        """POCs of the anchors in display order."""
        return tuple(accumulate(self.gaps, initial=self.intra))

    @property
    def first(self) -> int:
        """The first POC in display order."""
        return self.intra - self.leading

    @cached_property
    def stop(self) -> int:
        """One past the last POC."""
        return self.intra + sum(self.gaps) + 1

    @property
    def pocs(self) -> range:
        """All POCs in display order."""
        return range(self.first, self.stop)

    def spans(self) -> list[tuple[int, int]]:
        """The pairs of neighbouring anchors with B-frames between them; the first may start in the segment before."""
        anchors = self.anchor_pocs if not self.leading else (self.first - 1, *self.anchor_pocs)
        return [(low, high) for low, high in pairwise(anchors) if high - low > 1]

    def bframes(self) -> list[Picture]:
        """The B-frames in coding order: span by span, midpoints first."""
        return [picture for low, high in self.spans() for picture in dyadic(low, high)]

    def pictures(self) -> list[Picture]:
        """All pictures, anchors first. An anchor's references are its encoder's affair; P stands for all but the I."""
        anchors = [Picture(self.intra), *(Picture(high, refs=(low,)) for low, high in pairwise(self.anchor_pocs))]
        return anchors + self.bframes()


def needed(segment: Segment, wanted: Container[int]) -> list[int]:
    """POCs of the B-frames that are made to show those wanted, with all that they refer to, in coding order."""
    found: list[int] = []
    references: set[int] = set()
    for picture in reversed(segment.bframes()):  # what refers to a picture comes after it in coding order
        if picture.poc in wanted or picture.poc in references:
            found.append(picture.poc)
            references.update(picture.refs)
    return found[::-1]


def letters(segment: Segment) -> str:
    """The kinds of a segment's pictures in display order, a letter each."""
    kinds = {picture.poc: picture.kind for picture in segment.pictures()}
    return "".join(kinds[poc] for poc in segment.pocs)


def dyadic(low: int, high: int) -> Iterator[Picture]:
    """The B-frames strictly between two coded pictures, each between its nearest coded neighbours."""
    middle = (low + high) // 2
    if middle > low:
        yield Picture(middle, refs=(low, high))
        yield from dyadic(low, middle)
        yield from dyadic(middle, high)


def anchor_distance(gop: str) -> int:
    """The distance between anchors of a schedule by name: 'ibpb' or 'fixed:N', N = 1, 2, 4, 8. InputError otherwise."""
    distances = {"ibpb": 2, "fixed:1": 1, "fixed:2": 2, "fixed:4": 4, "fixed:8": 8}
    if gop not in distances:
        raise InputError(f"--gop {gop[:40]!r} is not a schedule; choose from {', '.join((*distances, ADAPTIVE))}")
    return distances[gop]


def schedule(length: int, distance: int, *, linked: bool) -> tuple[int, ...]:
    """The gaps between the anchors of a period of `length` pictures, `distance` each.

    `linked` means the picture after them may serve as a reference (it exists and no cut lies before it): pictures past
    the last anchor are then left to lead the next segment. Otherwise the last picture becomes an anchor.
    """
    offsets = list(range(0, length, distance))
    if not linked and offsets[-1] != length - 1:
        offsets.append(length - 1)
    return tuple(b - a for a, b in pairwise(offsets))


def longest_group(intra_period: int, distance: int) -> int:
    """The most anchors that a segment of `schedule` can have."""
    return len(schedule(intra_period, distance, linked=False)) + 1
