# SPDX-License-Identifier: MIT
"""The decode loop over a whole stream: later segments begin while earlier ones are made, as the executor wants."""

from collections.abc import Container, Iterable, Iterator

from ..bframe.tasks import Made
from ..bitstream.reader import StreamReader
from ..bitstream.syntax import ALL_POCS
from ..bitstream.units import Unit
from ..parallel.executor import begun_ahead
from .concealment import Concealer
from .reconstruct import Reconstructor
from .under_way import AnchorsUnderWay, SegmentUnderWay, Shown


class Decoder:
    """Show the pictures of a stream in display order and keep account of what was damaged; `units` are its reader's.

    B-frames that are not wanted, nor referred to by wanted ones, are not made: copies of other pictures stand in.
    """

    def __init__(
        self,
        reader: StreamReader,
        units: Iterable[Unit],
        reconstructor: Reconstructor,
        wanted: Container[int] = ALL_POCS,
    ) -> None:
        self.reader = reader
        self.units = units
        self.reconstructor = reconstructor
        self.wanted = wanted
        self.problems: list[str] = []
        self.hashed = False  # whether any segment carried hashes
        self.rounded = 0  # pictures that differ from the encoder's, by what only rounding can explain
        self._concealer = Concealer(reader.header, reader.first)

    @property
    def missing(self) -> int:
        """How many pictures of the stream are not shown, not even by stand-ins, as far as that is known by now."""
        return self._concealer.missing

    def __iter__(self) -> Iterator[Shown]:
        yield from self._concealer.completed(self._pictures())
        self._concealer.finish(self.reader.stop)
        self.problems += [f"frame {damage.poc}: {damage.what}" for damage in self.reader.damage]
        if self.reader.truncated:  # says more than what is missing because of it
            self.problems.sort(key=lambda line: "cut short" not in line)

    def _pictures(self) -> Iterator[Shown]:
        """The pictures of all segments that have an anchor."""
        executor = self.reconstructor.executor
        decoded = ((unit, self._decoded(unit)) for unit in self.units)
        begun = ((unit, self._begin(unit, anchors)) for unit, anchors in begun_ahead(executor, decoded, most=1))
        for unit, segment in begun_ahead(executor, begun):
            pictures, damage = list[Shown](), list(unit.damage)
            if segment is not None:
                pictures = segment.pictures()
                damage += self.reconstructor.undecodable(segment)
            self.problems += [f"frame {found.poc}: {found.what}" for found in damage]
            concealed = [s.poc for s in pictures if s.concealed]
            if concealed and not damage:
                self.problems.append(f"frame {concealed[0]}: its anchor cannot be decoded")
            if unit.hashes:
                self.hashed = True
                self._check(unit, pictures, {found.poc for found in damage})
            yield from pictures

    def _decoded(self, unit: Unit) -> AnchorsUnderWay | None:
        """The anchors of a segment, decoded, and handed out to be filtered; None if it has none."""
        return self.reconstructor.begin_anchors(unit) if unit.anchor_packets else None

    def _begin(self, unit: Unit, anchors: AnchorsUnderWay | None) -> SegmentUnderWay[Made] | None:
        """The B-frames of a segment, handed out; None if it has no anchor."""
        return None if anchors is None else self.reconstructor.begin(unit, anchors.finished(), self.wanted)

    def _check(self, unit: Unit, pictures: list[Shown], reported: set[int]) -> None:
        """Compare with the hashes that the encoder stored, but for what is concealed or was `reported`, by POC.

        Anchors as their codec decodes them are the same on every machine, and so are the symbols of payloads. What
        networks make of both may differ by a rounding, mostly one level here and there. So if the bytes of a segment
        are good and its anchors are right, no difference is damage.
        """
        differing = [
            picture
            for picture in pictures
            if not (picture.concealed or picture.poc in reported or picture.poc not in self.wanted)
            and picture.frame.picture.digest() != unit.hashes[picture.poc - unit.segment.first]
        ]
        exact = self.reconstructor.anchor_codec.exact and not any(unit.strengths)
        wrong = [picture for picture in differing if exact and picture.kind != "B"]
        self.problems += [f"frame {picture.poc}: differs from the encoder's reconstruction" for picture in wrong]
        if not wrong:
            self.rounded += len(differing)
