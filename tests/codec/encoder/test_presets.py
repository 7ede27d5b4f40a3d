"""Presets: what they stand for, what goes before them, and that the stream says all a decoder needs."""

import pytest
from helpers import moving, write

import codec
from codec.bitstream.reader import StreamReader
from codec.encoder.settings import EncodeSettings
from codec.errors import InputError


@pytest.fixture(autouse=True)
def small_model(monkeypatch, tiny_weights):
    """Tiny networks beside those that ship."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def test_what_is_given_goes_before_the_preset():
    plain, fast, best = (EncodeSettings(preset=name) for name in (None, "fast", "best"))
    assert (plain.model_name, plain.refinement, plain.averaged) == ("bframe", 0, False)
    assert (fast.model_name, EncodeSettings(preset="fast", mode="bitfree").model_name) == ("fast", "lite")
    assert EncodeSettings(mode="bitfree", postfilter=True).model_name == "bframe"  # `base` has no filter
    assert (best.model_name, best.refinement, best.averaged) == ("bframe", 8, True)
    given = EncodeSettings(preset="best", neighbours="mine")
    for restored, names in (
        (False, ["neighbour", "none", "neighbour-ncm", "mine"]),
        (True, ["neighbour-av1", "none", "neighbour-ncm-av1", "mine"]),
    ):
        assert [each.neighbour_filter(restored=restored) for each in (plain, fast, best, given)] == names
    given = EncodeSettings(preset="best", model="mine", effort=0, tta=False)
    assert (given.model_name, given.refinement, given.averaged) == ("mine", 0, False)


@pytest.mark.parametrize(
    ("anchor", "filter_"), [("x265", "neighbour"), ("x264", "neighbour"), ("svtav1", "neighbour-av1")]
)
def test_the_filter_is_the_one_made_for_the_encoder(tmp_path, anchor, filter_):
    src, stream = write(tmp_path / "seq.y4m", moving(1, 66, 50)), tmp_path / "s.ncm"
    settings = {"mode": "bitfree", "model": "small-filtered", "postfilter": True, "anchor": anchor, "metrics": False}
    for given, named in ({"": filter_, "small-neighbour": "small-neighbour", "none": None}).items():
        codec.encode(src, stream, neighbours=given, **settings)
        with stream.open("rb") as file:
            options = StreamReader(file).header.options
        assert options.get("neighbour_filter", {}).get("name") == named


def test_another_name_is_the_anchor_encoders():
    old, new = EncodeSettings(preset="slow"), EncodeSettings(preset="fast", anchor_preset="slow")
    assert old.encoder_preset == new.encoder_preset == "slow" and old.model_name == "bframe"
    assert "--anchor-preset slow" in old.notes[0] and not new.notes
    assert EncodeSettings(preset="fast").encoder_preset is None
    with pytest.raises(InputError, match="'slow' is not a preset; choose from fast, medium, best"):
        EncodeSettings(preset="slow", anchor_preset="slow")


def test_averaged_predictions_are_decoded_without_an_option(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(5, 66, 50, 8))
    shown = {}
    for tta in (False, True):
        recon = tmp_path / f"{tta}.yuv"
        settings = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "metrics": False, "tta": tta}
        codec.encode(src, tmp_path / "s.ncm", recon=recon, **settings)
        codec.decode(tmp_path / "s.ncm")
        shown[tta] = recon.read_bytes()
        assert (tmp_path / "s.dec.yuv").read_bytes() == shown[tta]
        assert ("averaged" in codec.info(tmp_path / "s.ncm").text()) == tta
    assert shown[True] != shown[False]


def test_options_that_exclude_each_other_are_named_as_they_are_given():
    with pytest.raises(InputError, match="--crf and --target-psnr exclude each other"):
        EncodeSettings(crf=20.0, target_psnr=36.0)
