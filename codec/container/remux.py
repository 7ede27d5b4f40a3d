# SPDX-License-Identifier: MIT
"""From .ncm to a film, from one film to another, and back: the stream stays the same to the byte."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, cast

from ..arguments import checked
from ..bitstream.framing import Packet, PacketSource, frame_packet, frame_trailer, read_header
from ..bitstream.reader import named
from ..bitstream.syntax import Kind
from ..errors import DamageError, InputError, StreamError
from ..files import PathLike, check_outputs, name_of
from ..progress import Progress, quiet
from .formats import check_name
from .opening import beside, stream_bytes, writing


@checked
def remux(src: PathLike, dst: PathLike, *, force: bool = False, progress: Progress = quiet) -> None:
    """Put the stream of one file into another, .ncm, .mp4, .m4v, .mov or .mkv by its name, without coding anything.

    A read-only file is replaced only if `force` is given. InputError, OutputError or StreamError; DamageError, after
    the file is there, if something was lost before.
    """
    check_name(dst)
    check_outputs({"the source": src}, {"the output": dst}, force=force)
    name = name_of(src)
    try:
        with named(name), ExitStack() as stack:
            file = stack.enter_context(stream_bytes(src))
            companions = stack.enter_context(beside(src, dst, file))
            output = stack.enter_context(writing(dst, companions, force=force))
            damage = 0
            for count, item in enumerate(items(file)):
                try:
                    if item is not None:
                        output.write(item)
                except StreamError:
                    item = None  # a packet whose segment was lost
                damage += item is None
                progress(count, None)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    if damage:
        raise DamageError(f"{name}: {damage} parts of it are damaged and left out; fetch the file again")


def items(file: BinaryIO) -> Iterator[bytes | None]:
    """A stream's header, packets, and END packet with what stands behind it; None where it is damaged. StreamError."""
    tee = _Tee(file)
    source = PacketSource(cast(BinaryIO, tee))
    read_header(source)
    yield bytes(tee.seen)
    for item in PacketSource(file, source.offset).packets():
        if not isinstance(item, Packet):
            yield None
            continue
        data = frame_packet(item.kind, item.body)
        yield data + (frame_trailer(len(data)) if item.kind == Kind.END else b"")
        if item.kind == Kind.END:
            return


class _Tee:
    """A file that remembers what was read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seen = file, bytearray()

    def read(self, size: int) -> bytes:
        """The next bytes of the file."""
        data = self._file.read(size)
        self.seen += data
        return data
