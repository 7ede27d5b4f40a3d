"""A stream made once must be read for ever: anchors to the bit, B-frames to a rounding error of float sums.

UPDATE_GOLDEN=1 makes the stream and its pictures anew; do that only if the format changes on purpose.
"""

import os

import numpy as np
import pytest
from helpers import DATA, moving, write

import codec
from codec.video import open_source

STREAM, PICTURES = DATA / "golden.ncm", DATA / "golden.y4m"


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def update(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(11, 66, 50))
    codec.encode(src, STREAM, model="tiny", intra_period=6, qp=30, metrics=False, hashes=True, recon=PICTURES)


def test_golden_stream(tmp_path):
    if os.environ.get("UPDATE_GOLDEN"):
        update(tmp_path)
    kinds = [frame.kind for frame in codec.info(STREAM).frames]
    with codec.open(STREAM) as video, open_source(PICTURES) as expected:
        pairs = list(zip(video, expected, kinds, strict=True))
    assert "".join(kinds) == "IBPBPBIBPBP"
    for shown, golden, kind in pairs:
        planes = zip(shown.picture.planes, golden.picture.planes, strict=True)
        difference = np.concatenate([np.abs(a.astype(int) - b).ravel() for a, b in planes])
        if kind == "B":
            assert difference.max() <= 1 and (difference > 0).mean() < 1e-2
        else:
            assert difference.max() == 0


def test_the_header_says_what_it_said():
    header = codec.info(STREAM).header
    assert (header.width, header.height, header.gop, header.intra_period) == (66, 50, "ibpb", 6)
    assert header.anchor_settings == "x265 preset=medium qp=30" and header.model == "tiny"
