"""Small streams with the anchors of real encoders."""

from dataclasses import replace
from random import Random

import pytest
from helpers import moving, write

import codec
from codec.bitstream.reader import StreamReader
from codec.bitstream.units import BFramePacket
from codec.bitstream.writer import StreamWriter

ANCHORS = ("x265", "x264", "svtav1")
FRAMES = 20


@pytest.fixture(scope="session")
def plain(tmp_path_factory, tiny_weights):
    """A folder with a bitfree stream of three segments, with hashes, for each codec of anchors: x265.ncm, ..."""
    folder = tmp_path_factory.mktemp("plain")
    src = write(folder / "seq.y4m", moving(FRAMES))
    fast = {"mode": "bitfree", "model": str(tiny_weights / "tiny.safetensors"), "intra_period": 8, "metrics": False}
    for anchor in ANCHORS:
        preset = "12" if anchor == "svtav1" else "medium"  # with pictures out of order
        codec.encode(src, folder / f"{anchor}.ncm", anchor=anchor, preset=preset, hashes=True, **fast)
    return folder


@pytest.fixture(scope="session")
def loaded(plain):
    """The same streams with payloads that no decoder reads, some of them full of zeros: x265-loaded.ncm, ..."""
    for anchor in ANCHORS:
        with (plain / f"{anchor}.ncm").open("rb") as file, (plain / f"{anchor}-loaded.ncm").open("wb") as loaded:
            reader = StreamReader(file)
            writer = StreamWriter(loaded, replace(reader.header, mode="bitneed"))
            for number, unit in enumerate(reader.units()):
                pocs = [picture.poc for picture in unit.segment.bframes()][number:]
                payloads = {poc: BFramePacket(poc, 0, 7, payload(poc)) for poc in pocs}
                writer.write(replace(unit, bframes=payloads, coded=frozenset(pocs)))
            writer.finish()
    return plain


def payload(poc):
    random = Random(poc)
    choices = bytes(range(256)) if poc % 2 else b"\0\0\0\1\2\3"
    return bytes(random.choices(choices, k=700)) + b"\0" * (poc % 4)
