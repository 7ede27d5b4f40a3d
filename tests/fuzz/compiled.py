# SPDX-License-Identifier: MIT
"""Bytes that compiled code reads: changed anchors for libavcodec, and strings for CompressAI's coder as we feed it.

No network runs, so thousands take a second, and a memory checker can watch.
"""

import io
from collections import Counter
from collections.abc import Sequence
from random import Random

from codec.anchors.registry import anchor_codec
from codec.bitstream.reader import StreamReader
from codec.bitstream.units import AnchorPacket
from entropy import EntropyError, Read, Write
from entropy.tables import TOTAL, Lists

from .seeds import Seed

LIBAV = ("x265", "x264", "svtav1")


def anchors(seeds: Sequence[Seed], count: int, seed: int) -> Counter[tuple[str, str]]:
    """How many changed groups of each codec's anchors were decoded wholly, in part, or not at all."""
    groups = []
    for reader in (StreamReader(io.BytesIO(each.data)) for each in seeds if not each.film):
        if reader.header.anchor_codec in LIBAV:
            groups += [(reader.header, list(unit.anchor_packets)) for unit in reader.units()]
    codecs = {name: anchor_codec(name, threads=1) for name in LIBAV}
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(count):
        random = Random(f"{seed}-{number}")
        header, packets = random.choice(groups)
        tampered = [_changed(packet, random) if random.random() < 0.7 else packet for packet in packets]
        found = len(codecs[header.anchor_codec].decode(tampered, header.info))
        counts[header.anchor_codec, "all" if found == len(packets) else "some" if found else "none"] += 1
    return counts


def _changed(packet: AnchorPacket, random: Random) -> AnchorPacket:
    """An anchor with bits turned, bytes replaced, its end cut off, or its start repeated within."""
    data, at = bytearray(packet.data), random.randrange(len(packet.data))
    way = random.randrange(4)
    if way == 0:
        for _ in range(random.choice((1, 3, 20))):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif way == 1:
        data[at : at + random.randrange(1, 30)] = random.randbytes(random.randrange(30))
    elif way == 2:
        del data[at:]
    else:
        data[at:at] = data[: random.randrange(len(data))]
    return packet._replace(data=bytes(data))


def strings(count: int, seed: int) -> Counter[tuple[str, str]]:
    """How many strings of each kind were read wholly, or refused."""
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(count):
        random = Random(f"{seed}-{number}")
        lists = _tables(random)
        rows = [random.randrange(len(lists.lengths)) for _ in range(random.choice((1, 2, 3, 4, 17, 300)))]
        kind = ("noise", "one byte", "good", "changed")[number % 4]
        data = _string(kind, rows, lists, random)
        try:
            tape, at = Read(data), 0
            while at < len(rows):
                step = random.randrange(1, len(rows) + 1)
                tape.decode(rows[at : at + step], lists)
                at += step
            tape.finish()
            counts[kind, "whole"] += 1
        except EntropyError:
            counts[kind, "refused"] += 1
    return counts


def _tables(random: Random) -> Lists:
    """Distributions of a few symbols, in some of which nearly all, or nearly nothing, goes to the bypass."""
    cdfs = []
    for _ in range(random.choice((1, 3, 9))):
        count = random.choice((1, 2, 3, 9, 33))
        places = (
            sorted(random.sample(range(1, TOTAL), count)),
            list(range(1, count + 1)),
            list(range(TOTAL - count, TOTAL)),
        )
        cdfs.append([0, *random.choice(places), TOTAL])
    return Lists(cdfs, [len(cdf) for cdf in cdfs], [random.randrange(-9, 9) for _ in cdfs])


def _string(kind: str, rows: list[int], lists: Lists, random: Random) -> bytes:
    if kind == "noise":
        return random.randbytes(random.randrange(60))
    if kind == "one byte":
        return bytes([random.choice((0, 255, 0xF0, 0x0F))]) * random.randrange(200)
    tape = Write()
    tape.encode([random.choice((0, 1, -1, 5, 3000, -32767)) for _ in rows], rows, lists)
    data = bytearray(tape.finish())
    if kind == "changed":
        for _ in range(random.choice((1, 4))):
            data[random.randrange(len(data))] = random.randrange(256)
        del data[random.randrange(1, 3 * len(data)) :]
    return bytes(data)
