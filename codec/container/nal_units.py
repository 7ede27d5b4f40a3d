# SPDX-License-Identifier: MIT
"""HEVC and AVC: anchors as the NAL units of a sample, and a NAL unit of ours after the picture's own.

In a stream of ours, NAL units stand behind start codes; in a sample of .mp4 and .mkv, behind their lengths.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .sample import Sample

START_CODE = re.compile(rb"\x00?\x00\x00\x01")
EMULATION = re.compile(rb"\x00\x00(?=[\x00-\x03])")  # where a byte 3 keeps data from looking like a start code
LENGTH_BYTES = 4
VERSION = 1  # of a configuration (ISO/IEC 14496-15), its first byte
STOP = b"\x80"  # a NAL unit must not end in a zero


@dataclass(frozen=True)
class NalUnits:
    """A codec whose pictures are NAL units; `head` is the NAL header of our units, of a type that players pass over."""

    codec: str
    head: bytes
    length_at: int  # which byte of the decoder's configuration has the size of lengths in its two low bits, less one
    reordering: int = 2  # anchors that may wait for one that is shown earlier

    def holds(self, anchor: bytes) -> bool:
        """Whether a film keeps an anchor to the byte."""
        return all(part and not part.startswith(self.head) for part in START_CODE.split(anchor))

    def starts(self, anchor: bytes) -> list[int]:
        """For each NAL unit of an anchor but the first, 1 if its start code has four bytes and not three."""
        return [len(match[0]) - 3 for match in START_CODE.finditer(anchor)]

    def sample(self, anchor: bytes, content: bytes) -> bytes:
        """An anchor as a sample, with a unit of ours behind it if there is content for one."""
        parts = START_CODE.split(anchor)
        if content:
            parts.append(self.head + EMULATION.sub(b"\0\0\3", content + STOP))
        return b"".join(len(part).to_bytes(LENGTH_BYTES, "big") + part for part in parts)

    def read(self, data: bytes, configuration: bytes) -> Sample:
        """A sample's own NAL units, and the content of ours, from .mp4 or .mkv, or parted by start codes."""
        own, content = [], b""
        if len(configuration) > self.length_at and configuration[0] == VERSION:
            parts = _parts(data, 1 + (configuration[self.length_at] & 3))
        else:
            parts = iter(START_CODE.split(data)[1:])
        for part in parts:
            if part.startswith(self.head):
                content += part[len(self.head) :].replace(b"\0\0\3", b"\0\0").rstrip(b"\0").removesuffix(STOP)
            else:
                own.append(part)
        return Sample(own, content)

    def raw(self, anchor: bytes) -> bytes:
        """An anchor as a stream of its codec alone."""
        return b"\0\0\0\1" + anchor

    def anchor(self, parts: Sequence[bytes], starts: Sequence[int]) -> bytes:
        """An anchor of its NAL units; the inverse of `starts` and `sample`."""
        codes = (b"\0\0\0\1" if long else b"\0\0\1" for long in starts)
        return b"".join([*parts[:1], *(code + part for code, part in zip(codes, parts[1:], strict=False))])


def _parts(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """The NAL units of a sample; what is left of the last if the sample is damaged."""
    start = 0
    while start + length_bytes < len(data):
        stop = start + length_bytes + int.from_bytes(data[start : start + length_bytes], "big")
        yield data[start + length_bytes : stop]
        start = stop


HEVC = NalUnits(
    "hevc", bytes([58 << 1, 1]), 21
)  # 56 to 63 may follow a picture; 60 to 63 are LCEVC's and Dolby Vision's
AVC = NalUnits("h264", bytes([31]), 4)  # 24 to 31 are free; 25, 27, 28 and 30 are LCEVC's and Dolby Vision's
