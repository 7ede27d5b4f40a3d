# SPDX-License-Identifier: MIT
"""The decode loop over a whole stream, one segment at a time."""

from collections.abc import Iterator

from ..bitstream.reader import StreamReader
from ..bitstream.units import Unit
from .reconstruct import Reconstructor, Shown


class Decoder:
    """Show the pictures of a stream in display order and keep account of what was damaged."""

    def __init__(self, reader: StreamReader, reconstructor: Reconstructor) -> None:
        self.reader = reader
        self.reconstructor = reconstructor
        self.problems: list[str] = []
        self.hashed = False  # whether any segment carried hashes

    def __iter__(self) -> Iterator[Shown]:
        for unit in self.reader.units():
            pictures = self.reconstructor.pictures(unit, self.reconstructor.anchors(unit))
            self.problems += [f"frame {damage.poc}: {damage.what}" for damage in unit.damage]
            concealed = [s.poc for s in pictures if s.concealed]
            if concealed and not unit.damage:
                self.problems.append(f"frame {concealed[0]}: its anchor cannot be decoded")
            if unit.hashes:
                self.hashed = True
                self._check(unit, pictures)
            yield from pictures
        self.problems += [f"frame {damage.poc}: {damage.what}" for damage in self.reader.damage]
        if self.reader.truncated:  # says more than what is missing because of it
            self.problems.sort(key=lambda line: "cut short" not in line)

    def _check(self, unit: Unit, pictures: list[Shown]) -> None:
        """Compare with the hashes that the encoder stored; a concealed picture was reported already."""
        for picture in pictures:
            expected = unit.hashes[picture.poc - unit.segment.first]
            if not picture.concealed and picture.frame.picture.digest() != expected:
                self.problems.append(f"frame {picture.poc}: differs from the encoder's reconstruction")
