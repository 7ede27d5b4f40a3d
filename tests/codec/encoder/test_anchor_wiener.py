"""Wiener filters of a segment's anchors: which are sent, and that decoders apply them."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from anchors import coded_anchors
from helpers import moving, write

import codec
from codec.bframe.wiener_filter import filtered
from codec.bitstream.reader import StreamReader
from codec.bitstream.syntax import PAIRS
from codec.bitstream.writer import StreamWriter
from codec.encoder.anchor_wiener import wiener_weights
from codec.video.colour import in_levels
from codec.video.picture import Colour

TAPS = len(PAIRS)
FILTERED = {
    "mode": "bitfree",
    "gop": "fixed:1",
    "model": "small-filtered",
    "neighbours": "none",
    "qp": 34,
    "anchor_preset": "ultrafast",
    "postfilter": True,
    "hashes": True,
}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def blurred(picture, amount):
    """The planes of a picture, each a little smoother."""
    weights = torch.zeros(1, 3, TAPS)
    weights[:, :, [0, 3]] = amount
    return filtered(in_levels(picture), weights)


def test_what_is_blurred_alike_is_sharpened_where_that_is_worth_its_bytes():
    originals = moving(3, 66, 50, step=3)
    planes = [(poc, blurred(picture, 8)) for poc, picture in enumerate(originals)]

    def error(weights):
        taps = torch.tensor(weights).view(1, 3, TAPS).float()
        return sum(
            float((wanted - plane).square().sum())
            for poc, own in planes
            for wanted, plane in zip(in_levels(originals[poc]), filtered(own, taps), strict=True)
        )

    weights = wiener_weights(coded_anchors(originals, originals, 10_000), planes, Colour(), luma=True)
    assert len(weights) == 3 * TAPS and weights[0] < 0 and weights[3] < 0
    assert error(weights) < 0.3 * error([0] * 3 * TAPS)
    chroma = wiener_weights(coded_anchors(originals, originals, 10_000), planes, Colour(), luma=False)
    assert not any(chroma[:TAPS]) and chroma[TAPS:] == weights[TAPS:]
    assert wiener_weights(coded_anchors(originals, originals, 1), planes, Colour(), luma=True) == ()
    same = [(poc, in_levels(picture)) for poc, picture in enumerate(originals)]
    assert wiener_weights(coded_anchors(originals, originals, 10_000), same, Colour(), luma=True) == ()


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("size", [(66, 50), (35, 19)])
def test_the_decoder_shows_what_the_encoder_did(tmp_path, monkeypatch, size, bit_depth):
    monkeypatch.setattr("codec.encoder.anchor_wiener.WORTH", 1e9)
    src = write(tmp_path / "seq.y4m", moving(9, *size, bit_depth, step=3))
    codec.encode(src, tmp_path / "seq.ncm", recon=tmp_path / "recon.y4m", intra_period=4, **FILTERED)
    units = list(StreamReader(io.BytesIO((tmp_path / "seq.ncm").read_bytes())).units())
    assert any(unit.wiener for unit in units)
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    assert (tmp_path / "dec.y4m").read_bytes() == (tmp_path / "recon.y4m").read_bytes()
    assert codec.verify(tmp_path / "seq.ncm") == 9


def test_weights_without_strengths_are_refused(tmp_path, monkeypatch):
    codec.encode(write(tmp_path / "seq.y4m", moving(3)), tmp_path / "seq.ncm", **FILTERED)
    reader = StreamReader(io.BytesIO((tmp_path / "seq.ncm").read_bytes()))
    unit = replace(next(iter(reader.units())), strengths=(), wiener=(1,) * 3 * TAPS)
    with (tmp_path / "bad.ncm").open("wb") as file:
        writer = StreamWriter(file, reader.header)
        with pytest.raises(ValueError, match="Wiener filters come after strengths"):
            writer.write(unit)
        monkeypatch.setattr("codec.bitstream.writer.check_unit", lambda *_: None)
        writer.write(unit)
        writer.finish()
    with pytest.raises(codec.StreamError, match="Wiener filters after a filter that is not there"):
        next(iter(StreamReader(io.BytesIO((tmp_path / "bad.ncm").read_bytes())).units()))


def test_samples_are_moved_by_their_pairs():
    """One weight of 16/64 takes a quarter of what both neighbours differ by."""
    plane = torch.zeros(1, 1, 5, 7)
    plane[..., 2, 3] = 64.0
    weights = torch.zeros(1, 3, TAPS)
    weights[0, 0, 0] = 16
    shown = filtered((plane, plane, plane), weights)[0]
    assert np.array_equal(shown[0, 0, 2].numpy(), [0, 0, 16, 32, 16, 0, 0]) and float(shown.sum()) == 64
