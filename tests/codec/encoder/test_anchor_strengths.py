"""Strengths and corrections of a segment's anchors: which are sent, and that decoders apply them."""

import io
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from anchors import coded_anchors
from helpers import moving, write

import codec
from codec.bframe.anchor_filter import AnchorFilter, Change
from codec.bframe.neighbour_filter import by_plane
from codec.bitstream.reader import StreamReader
from codec.bitstream.syntax import CORRECTION_STEPS, Sight
from codec.bitstream.writer import StreamWriter
from codec.encoder.anchor_strengths import Strengths, best_strengths
from codec.models.neighbour_file import load_neighbour
from codec.models.open import load as load_model
from codec.models.registry import find
from codec.video.colour import in_levels
from codec.video.picture import Colour, VideoInfo, Yuv420

CORRECTED = {
    "mode": "bitfree",
    "gop": "fixed:1",
    "model": "small-filtered",
    "neighbours": "small-neighbour-corrected",
    "qp": 34,
    "anchor_preset": "ultrafast",
    "postfilter": True,
    "hashes": True,
}
EVERYWHERE = {poc: torch.ones(1, 1, 1, 1) for poc in range(3)}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


@pytest.fixture
def always(monkeypatch):
    """Corrections are sent however few bits they save."""
    monkeypatch.setattr("codec.encoder.anchor_strengths.WORTH", 1e9)


def changes_of(decoded, originals, rng):
    """What a filter might say: its change is half of what lacks; the rest of Y is twice its second correction.

    The first correction of Y, and the one of V, have nothing to do with it. U has none.
    """
    found = {}
    for poc, (one, other) in enumerate(zip(originals, decoded, strict=True)):
        y, u, v = (a - b for a, b in zip(in_levels(one), in_levels(other), strict=True))
        noise = [torch.from_numpy(rng.normal(0, 0.5, plane.shape)).float() for plane in (y, y, v)]
        half = y / 2 + noise[0]
        corrections = (torch.cat([noise[1], (y - half) / 2], 1), u[:, :0], noise[2])
        steps = tuple((CORRECTION_STEPS * maps).round().to(torch.int8) for maps in corrections)
        found[poc] = Change((half, u / 2, v / 2), steps)
    return found


def strengths_of(decoded, originals, size, changes, *, luma):
    """What is best for anchors of so many bytes each."""
    return best_strengths(coded_anchors(decoded, originals, size), changes, EVERYWHERE, Colour(), luma=luma)


def test_the_weights_leave_least_and_are_worth_their_bytes():
    rng = np.random.default_rng(0)
    originals = moving(3, 66, 50, step=3)
    decoded = [Yuv420(p.y + rng.integers(-3, 4, p.y.shape).astype(np.uint8), p.u + 2, p.v - 1) for p in originals]
    changes = changes_of(decoded, originals, rng)
    strengths, corrections = strengths_of(decoded, originals, 10_000, changes, luma=True)
    assert strengths == (8, 16, 16)
    assert abs(corrections[0]) <= 1 and corrections[1] == 16 and len(corrections) == 3
    chroma = strengths_of(decoded, originals, 10_000, changes, luma=False)
    assert not any(chroma.corrections[:2]) and chroma.change[0] > 8 and chroma.change[1:] == (16, 16)
    few = strengths_of(decoded, originals, 0, changes, luma=True)
    assert few == (chroma.change, ())


def test_nothing_is_added_to_what_lacks_nothing():
    originals = moving(3, 66, 50, step=3)
    changes = changes_of(originals, originals, np.random.default_rng(0))
    assert strengths_of(originals, originals, 10_000, changes, luma=True) == Strengths((0,) * 3, ())


def test_corrections_come_after_the_change_of_their_plane():
    added = torch.arange(6 + 8 + 2).view(1, -1, 1, 1).float().expand(1, 16, 2, 2)
    y, u, v = by_plane(added, (2, 1, 1))
    assert y.shape == (1, 3, 4, 4) and u.shape == v.shape == (1, 2, 2, 2)
    assert y[0, :, 0, 0].tolist() == [0, 6, 10] and y[0, :, 1, 1].tolist() == [3, 9, 13]
    assert u[0, :, 0, 0].tolist() == [4, 14] and v[0, :, 0, 0].tolist() == [5, 15]


def test_what_is_added_is_the_weighed_sum():
    picture, info = moving(1, 34, 18)[0], VideoInfo(34, 18, Fraction(25), Fraction(1, 25))
    alone, beside = load_model("small-filtered").codec.postfilter, load_neighbour(find(CORRECTED["neighbours"]))
    filter_ = AnchorFilter(alone, beside, info)
    plain = in_levels(picture)
    ones = tuple(torch.ones_like(plane) for plane in plain)
    maps = (plain[0].new_full((1, 2, 18, 34), 8), *(plain[1].new_full((1, 1, 9, 17), 16) for _ in range(2)))
    change = Change(ones, tuple(each.to(torch.int8) for each in maps))
    added = filter_.added(picture, change, (8, 4, 0), (0, 16, 2, -8))
    assert [float((a - b).unique()) for a, b in zip(added, plain, strict=True)] == [1.5, 0.5 + 0.125, -0.5]
    assert all(torch.equal(a, b) for a, b in zip(filter_.added(picture, change, (0, 0, 0), ()), plain, strict=True))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("size", [(66, 50), (35, 19)])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_decoder_shows_what_the_encoder_did(tmp_path, always, size, bit_depth, workers):
    src = write(tmp_path / "seq.y4m", moving(9, *size, bit_depth, step=3))
    how = {**CORRECTED, "intra_period": 4, "workers": workers}
    codec.encode(src, tmp_path / "seq.ncm", recon=tmp_path / "recon.y4m", **how)
    units = list(StreamReader(io.BytesIO((tmp_path / "seq.ncm").read_bytes())).units())
    assert any(len(unit.corrections) == 4 for unit in units)
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    assert (tmp_path / "dec.y4m").read_bytes() == (tmp_path / "recon.y4m").read_bytes()
    assert codec.verify(tmp_path / "seq.ncm") == 9


def rewritten(path, out, monkeypatch, **fields):
    """A stream whose first unit has other fields, right checksums, and nothing after it."""
    reader = StreamReader(io.BytesIO(path.read_bytes()))
    unit = replace(next(iter(reader.units())), hashes=(), **fields)
    monkeypatch.setattr("codec.bitstream.writer.check_unit", lambda *_: None)
    with out.open("wb") as file:
        writer = StreamWriter(file, reader.header)
        writer.write(unit)
        writer.finish()


def test_as_many_as_the_filter_has_none_of_are_damage_and_not_added(tmp_path, always, monkeypatch):
    src = write(tmp_path / "seq.y4m", moving(3, 66, 50, step=3))
    codec.encode(src, tmp_path / "seq.ncm", **CORRECTED)
    pictures = {}
    for name, corrections in (("none", ()), ("many", (9,) * 7)):
        rewritten(tmp_path / "seq.ncm", tmp_path / f"{name}.ncm", monkeypatch, corrections=corrections)
        with codec.open(tmp_path / f"{name}.ncm") as video:
            pictures[name] = [frame.picture for frame in video]
            problems = list(video.problems)
    assert pictures["none"] == pictures["many"]
    assert any("7 corrections of anchors, and the filter has 4" in problem for problem in problems)


def test_corrections_without_neighbours_are_refused(tmp_path, always, monkeypatch):
    codec.encode(write(tmp_path / "seq.y4m", moving(3, step=3)), tmp_path / "seq.ncm", **CORRECTED)
    reader = StreamReader(io.BytesIO((tmp_path / "seq.ncm").read_bytes()))
    unit, wrong = next(iter(reader.units())), {"sight": Sight.ALONE, "corrections": (1,) * 4}
    with (tmp_path / "bad.ncm").open("wb") as file, pytest.raises(ValueError, match="corrections are of a filter that"):
        StreamWriter(file, reader.header).write(replace(unit, **wrong))
    rewritten(tmp_path / "seq.ncm", tmp_path / "bad.ncm", monkeypatch, **wrong)
    with pytest.raises(codec.StreamError, match="corrections of a filter that sees no neighbours"):
        next(iter(StreamReader(io.BytesIO((tmp_path / "bad.ncm").read_bytes())).units()))
