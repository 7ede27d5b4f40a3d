# SPDX-License-Identifier: MIT
"""Streams that are nearly right: bits, runs, cuts, packets moved and crossed, bodies changed under right checksums."""

import io
from collections.abc import Callable, Sequence
from random import Random

from codec.bitstream.fields import pack, unpack
from codec.bitstream.framing import TRAILER_BYTES, Packet, PacketSource, checksum, frame_packet, read_header
from codec.bitstream.syntax import CRC_BYTES, PACKETS, Kind
from codec.errors import StreamError

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]
INTERESTING = (0, 1, 2, 63, 64, 127, 128, 255, 256, 65535, 65536, 1 << 20, 1 << 22, 1 << 40, (1 << 56) - 1)


def start_of(data: bytes) -> int:
    """Where the packets of a good stream begin."""
    source = PacketSource(io.BytesIO(data))
    read_header(source)
    return source.offset


def packets_of(data: bytes) -> list[Packet]:
    """All packets of a good stream."""
    source = PacketSource(io.BytesIO(data))
    read_header(source)
    return [item for item in source.packets() if isinstance(item, Packet)]


def bits(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """One to eight bits turned."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def runs(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """A run of bytes replaced by zeros, noise, or bytes from elsewhere, or doubled."""
    size = 1 << random.randrange(12)
    at = random.randrange(len(data))
    other = random.randrange(len(data))
    new = random.choice((bytes(size), random.randbytes(size), data[other : other + size], data[at : at + size] * 2))
    return data[:at] + new + data[at + size :]


def cuts(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """The end cut off, or a part cut out."""
    first, second = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + (data[second:] if random.random() < 0.5 else b"")


def moved(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """Packets that are whole, but left out, repeated or out of order."""
    parts = [data[packet.offset : packet.stop] for packet in packets_of(data)]
    for _ in range(random.randrange(1, 4)):
        taken = parts.pop(random.randrange(len(parts))) if len(parts) > 1 else parts[0]
        for _ in range(random.randrange(3)):
            parts.insert(random.randrange(len(parts) + 1), taken)
    return data[: start_of(data)] + b"".join(parts) + data[-TRAILER_BYTES:]


def crossed(data: bytes, random: Random, corpus: Sequence[bytes]) -> bytes:
    """Whole packets of another stream put between or instead of its own."""
    other = random.choice(corpus)
    parts = [data[packet.offset : packet.stop] for packet in packets_of(data)]
    strange = [other[packet.offset : packet.stop] for packet in packets_of(other)]
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(parts))
        parts[at : at + random.randrange(2)] = [random.choice(strange)]
    return data[: start_of(data)] + b"".join(parts) + data[-TRAILER_BYTES:]


def summed(data: bytes, random: Random, corpus: Sequence[bytes]) -> bytes:
    """Bodies, or the header, changed as above; their checksums put right."""
    start, packets = start_of(data), packets_of(data)
    if random.random() < 0.2:
        head = bytearray(data[: start - CRC_BYTES])
        head[random.randrange(6, len(head))] = random.randrange(256)
        return bytes(head) + checksum(head) + data[start:]
    chosen = random.randrange(len(packets))
    out = data[:start]
    for number, packet in enumerate(packets):
        body = packet.body
        if number == chosen and body:
            body = random.choice((bits, runs, cuts))(body, random, corpus)
        out += frame_packet(packet.kind, body)
    return out + data[-TRAILER_BYTES:]


def fields(data: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """One field of one packet set to another value that it may have; checksums right."""
    start, packets = start_of(data), packets_of(data)
    chosen = random.randrange(len(packets))
    out = data[:start]
    for number, packet in enumerate(packets):
        out += frame_packet(packet.kind, _with_field(packet, random) if number == chosen else packet.body)
    return out + data[-TRAILER_BYTES:]


def _with_field(packet: Packet, random: Random) -> bytes:
    table = PACKETS[Kind(packet.kind)][0]
    values = unpack(table, packet.body, "a good packet")
    field = random.choice(table)
    new = random.choice((*INTERESTING, field.low, field.high))
    values[field.name] = [new] * len(values[field.name]) if isinstance(values[field.name], list) else new
    if field.code == "rest":
        values[field.name] = random.randbytes(random.randrange(64))
    lengths = {other.name: other.count(values) for other in table if isinstance(values[other.name], list)}
    for name, length in lengths.items():
        if 0 <= length <= 1 << 17:
            values[name] = (values[name] + [values[name][-1] if values[name] else 1] * length)[:length]
    try:
        return pack(table, values)
    except (ValueError, TypeError, StreamError):
        return packet.body[: random.randrange(len(packet.body) + 1)]


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__: mutation for mutation in (bits, runs, cuts, moved, crossed, summed, fields)
}
OF_FILMS: dict[str, Mutation] = {f"{mutation.__name__}, film": mutation for mutation in (bits, runs, cuts)}
