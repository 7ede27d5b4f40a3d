# SPDX-License-Identifier: MIT
"""Writing a film: takes an .ncm stream, as StreamWriter writes it, and makes an .mp4 or .mkv of it.

The packets of a segment ride on its first sample, in one unit of ours, behind a copy of the header. So a film can be
cut, copied and searched by key frames, and each of them has what its segment needs.
"""

from io import BytesIO
from pathlib import Path

from ..bitstream.framing import TRAILER_BYTES, PacketSource, read_header
from ..bitstream.limits import Budget
from ..bitstream.syntax import Kind
from ..bitstream.units import Header, Unit, add_anchors, read_segment
from ..errors import OutputError, StreamError
from ..video.companions import Companions
from .formats import FILMS, SAMPLE_FORMATS, check_anchors
from .packing import emptied, header_copy
from .track import Track


class FilmWriter:
    """Takes a stream item by item: the header, packets, the END packet with the bytes behind it.

    `path` is written; `name`, the file's name once it is complete, tells the container and is for messages.
    `companions` are put beside the pictures. OutputError
    if it cannot hold the stream; OSError and FFmpegError if it cannot be written; StreamError for an item that belongs
    nowhere, which is then left out.
    """

    def __init__(self, path: Path, name: str, companions: Companions | None = None) -> None:
        self._path, self._name, self._companions = path, name, companions
        self._header: Header | None = None
        self._track: Track | None = None
        self._unit: Unit | None = None
        self._content: list[bytes] = []
        self._budget = Budget()

    def write(self, item: bytes) -> int:
        """Take one item, as StreamWriter writes them; how many bytes it has."""
        if self._header is None:
            self._header = read_header(PacketSource(BytesIO(item)))
            check_anchors(self._name, self._header.anchor_codec)
            self._content.append(item)
            return len(item)
        packet = PacketSource(BytesIO(item)).packet()
        assert packet is not None, "not an item of a stream"
        self._budget.earn(len(item))
        if packet.kind == Kind.END:
            self._content.append(item[:-TRAILER_BYTES])
        elif packet.kind == Kind.ANCHORS:
            self._content.append(self._without_anchors(item, packet.body))
        else:
            if packet.kind == Kind.SEGMENT:
                self._flush()
                self._unit, _ = read_segment(packet.body, self._header, self._budget)
            self._content.append(item)
        return len(item)

    def finish(self) -> None:
        """Write what is still held back and close the file. OutputError if there are no pictures."""
        self._flush()
        if self._track is None:
            raise OutputError(f"{self._name}: no pictures to write; check the input")
        self._track.finish()

    def abort(self) -> None:
        """Close the file, whose content no longer matters."""
        if self._track is not None:
            self._track.abort()

    def _without_anchors(self, item: bytes, body: bytes) -> bytes:
        """What a film keeps of an ANCHORS packet; its anchors go into the unit."""
        assert self._header is not None
        if self._unit is None:
            raise StreamError("ANCHORS packet: belongs to no segment")
        form, known = SAMPLE_FORMATS[self._header.anchor_codec], len(self._unit.anchor_packets)
        add_anchors(self._unit, body, 0, self._budget)
        anchors = self._unit.anchor_packets[known:]
        for anchor in anchors:
            if not form.holds(anchor.data):
                raise OutputError(f"{self._name}: would lose a part of anchor {anchor.index}; write to .ncm instead")
        return emptied(item, body, [bit for anchor in anchors for bit in form.starts(anchor.data)])

    def _flush(self) -> None:
        """Write the samples of the segment that is complete. What belongs to none waits for the next one."""
        unit, self._unit = self._unit, None
        if unit is None or not unit.anchor_packets:
            return
        assert self._header is not None
        if self._track is None:
            container = FILMS[Path(self._name).suffix.lower()]
            self._track = Track(self._path, container, self._header, unit.anchor_packets[0].data, self._companions)
        pocs = unit.pocs_by_anchor
        times = [unit.pts[pocs[anchor.index] - unit.segment.first] for anchor in unit.anchor_packets]
        self._track.write(unit.anchor_packets, times, b"".join(self._content))
        self._content = [header_copy(self._header)]
