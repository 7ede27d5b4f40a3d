# SPDX-License-Identifier: MIT
"""What every codec of anchors offers that an .mp4 or .mkv can hold."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Sample(NamedTuple):
    """A sample of a film, taken apart: the parts of its anchor, and what our unit in it holds (empty: no such unit)."""

    parts: list[bytes]
    content: bytes


class SampleFormat(Protocol):
    """How a codec's anchors lie in a film, and where our units lie among them."""

    @property
    def codec(self) -> str:
        """FFmpeg's name of it."""
        ...

    @property
    def reordering(self) -> int:
        """How many anchors may wait for one that is shown earlier."""
        ...

    def holds(self, anchor: bytes) -> bool:
        """Whether a film keeps an anchor to the byte."""
        ...

    def starts(self, anchor: bytes) -> list[int]:
        """Bits that `anchor` needs besides the parts of a sample."""
        ...

    def sample(self, anchor: bytes, content: bytes) -> bytes:
        """An anchor as a sample, with a unit of ours if there is content for one."""
        ...

    def read(self, data: bytes, configuration: bytes) -> Sample:
        """A sample taken apart, damaged or not; `configuration` is what its stream says to decoders."""
        ...

    def raw(self, anchor: bytes) -> bytes:
        """An anchor as a stream of its codec alone."""
        ...

    def anchor(self, parts: Sequence[bytes], starts: Sequence[int]) -> bytes:
        """An anchor of its parts, to the byte what `sample` was given."""
        ...
