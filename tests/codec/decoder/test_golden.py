"""A stream made once must be read for ever: anchors to the bit, B-frames to a rounding error of float sums.

UPDATE_GOLDEN=NAME makes a stream and its pictures anew; do that only if the format changes on purpose.
"""

import os

import numpy as np
import pytest
from helpers import DATA, moving, write

import codec
from codec.bitstream.reader import StreamReader
from codec.bitstream.syntax import Sight
from codec.encoder import anchor_strengths, anchor_wiener
from codec.video.reader import open_source

MODES = {
    "golden": {"mode": "bitfree", "model": "tiny", "qp": 30},
    "golden-bitneed": {"mode": "bitneed", "model": "small-bframe", "qp": 12},  # from before motion-compensated blocks
    "golden-blocks": {"mode": "bitneed", "model": "small-bframe", "qp": 12},  # from before filters
    "golden-filters": {"mode": "bitneed", "model": "small-bframe", "qp": 12},
    "golden-postfilter": {"mode": "bitneed", "model": "small-filtered", "qp": 12, "postfilter": True},
    "golden-neighbours": {
        "mode": "bitneed",
        "model": "small-filtered",
        "neighbours": "small-neighbour",
        "qp": 28,
        "postfilter": True,
    },
    "golden-predictions": {
        "mode": "bitneed",
        "model": "small-filtered",
        "neighbours": "small-neighbour-ncm",
        "qp": 28,
        "postfilter": True,
    },
    "golden-wiener": {
        "mode": "bitneed",
        "model": "small-filtered",
        "neighbours": "none",
        "qp": 22,
        "postfilter": True,
    },
    "golden-corrections": {
        "mode": "bitneed",
        "model": "small-filtered",
        "neighbours": "small-neighbour-corrected",
        "qp": 28,
        "postfilter": True,
    },
    "golden-fast": {"mode": "bitneed", "model": "fast", "qp": 12},  # by earlier weights
    "golden-looped": {"mode": "bitneed", "model": "small-looped", "qp": 8},
}
PAYLOADS = {
    "golden": {None},
    "golden-bitneed": {0},
    "golden-blocks": {2},
    "golden-filters": {6},
    "golden-postfilter": {6},
    "golden-neighbours": {2},
    "golden-predictions": {2},
    "golden-wiener": {2},
    "golden-corrections": {2},
    "golden-fast": {6},
    "golden-looped": {10, 14},
}  # modes of the B-frames
SIGHTS = {
    "golden-neighbours": {Sight.NEIGHBOURS},
    "golden-predictions": {Sight.NEIGHBOURS, Sight.PREDICTION},
    "golden-corrections": {Sight.NEIGHBOURS},
}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def update(name, tmp_path):
    src = write(tmp_path / "seq.y4m", moving(11, 66, 50))
    recon = DATA / f"{name}.y4m"
    if name in ("golden-wiener", "golden-corrections"):  # a picture so small is hardly worth their bytes
        anchor_wiener.WORTH, anchor_strengths.WORTH = (1e9, 1.0) if name == "golden-wiener" else (0.0, 1e9)
    codec.encode(src, DATA / f"{name}.ncm", intra_period=6, metrics=False, hashes=True, recon=recon, **MODES[name])


@pytest.mark.parametrize("name", MODES)
def test_golden_stream(name, tmp_path):
    if os.environ.get("UPDATE_GOLDEN") == name:
        update(name, tmp_path)
    frames = codec.info(DATA / f"{name}.ncm").frames
    kinds = [frame.kind for frame in frames]
    with codec.open(DATA / f"{name}.ncm") as video, open_source(DATA / f"{name}.y4m") as expected:
        pairs = list(zip(video, expected, kinds, strict=True))
        assert not any("payload" in problem for problem in video.problems)
    assert "".join(kinds) == "IBPBPBIBPBP"
    assert {frame.mode for frame in frames if frame.kind == "B"} == PAYLOADS[name]
    for shown, golden, kind in pairs:
        planes = zip(shown.picture.planes, golden.picture.planes, strict=True)
        difference = np.concatenate([np.abs(a.astype(int) - b).ravel() for a, b in planes])
        if kind == "B" or "postfilter" in MODES[name]:
            assert difference.max() <= 1 and (difference > 0).mean() < 1e-2
        else:
            assert difference.max() == 0


@pytest.mark.parametrize("name", MODES)
def test_the_header_says_what_it_said(name):
    header = codec.info(DATA / f"{name}.ncm").header
    settings = MODES[name]
    assert (header.width, header.height, header.gop, header.intra_period) == (66, 50, "ibpb", 6)
    assert header.anchor_settings == f"x265 preset=medium qp={settings['qp']}"
    assert ("neighbour_filter" in header.options) == (name in SIGHTS)
    assert (header.mode, header.model) == (settings["mode"], settings["model"])


@pytest.mark.parametrize("name", SIGHTS)
def test_its_filter_sees_what_it_saw(name):
    with (DATA / f"{name}.ncm").open("rb") as file:
        assert {unit.sight for unit in StreamReader(file).units()} == SIGHTS[name]


def test_its_corrections_are_there():
    with (DATA / "golden-corrections.ncm").open("rb") as file:
        assert all(len(unit.corrections) == 4 for unit in StreamReader(file).units())


def test_its_wiener_filters_are_there():
    with (DATA / "golden-wiener.ncm").open("rb") as file:
        assert all(unit.wiener for unit in StreamReader(file).units())
