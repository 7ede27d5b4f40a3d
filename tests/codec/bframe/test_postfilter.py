"""The post-filter of anchors: what it does to pictures, when it is used, and that decoders show the same."""

import io
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import BUNNY, command, moving, read, write

import codec
from codec.bframe.anchor_filter import Change
from codec.bframe.postfilter import PostFilter, PostFilterConfig
from codec.bitstream.reader import StreamReader
from codec.bitstream.syntax import Sight
from codec.bitstream.units import Unit
from codec.bitstream.writer import StreamWriter
from codec.encoder.distortion import DistortionMeter
from codec.gop.periods import SourceSegment
from codec.gop.structure import Segment
from codec.models.open import load as load_model
from codec.parallel.executor import InProcess
from codec.video.colour import in_levels, packed, unpacked
from codec.video.picture import Colour, Frame, VideoInfo, Yuv420

FILTERED = {"mode": "bitneed", "model": "small-filtered", "qp": 16, "preset": "ultrafast", "postfilter": True}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def units(path):
    return list(StreamReader(io.BytesIO(path.read_bytes())).units())


def shown(path):
    codec.decode(path, path.with_suffix(".y4m"))
    return [frame.picture for frame in read(path.with_suffix(".y4m"))]


def differences(some, others):
    return np.concatenate(
        [
            np.abs(a.astype(int) - b).ravel()
            for one, other in zip(some, others, strict=True)
            for a, b in zip(one.planes, other.planes, strict=True)
        ]
    )


def test_packed_planes_come_back():
    planes = in_levels(moving(1, 66, 50)[0])
    assert packed(planes).shape == (1, 6, 25, 33)
    assert all(torch.equal(a, b) for a, b in zip(unpacked(packed(planes)), planes, strict=True))


def test_before_training_it_finds_nothing_to_change():
    torch.manual_seed(0)
    planes = packed(in_levels(moving(1)[0])) / 255
    assert not PostFilter(PostFilterConfig(width=4, blocks=2))(planes, torch.tensor([0.02])).any()


def uncorrected(*planes):
    return Change(planes, tuple(plane[:, :0].to(torch.int8) for plane in planes))


class Halving:
    """A filter that knows the original: it would take out half of the errors of Y, double those of U, leave V."""

    sights, reach = [Sight.ALONE], 0

    def __init__(self, original):
        self.original = original

    def changes(self, decoded, poc, noise, sights):
        assert noise > 0
        y, u, v = (a - b for a, b in zip(in_levels(self.original), in_levels(decoded[poc]), strict=True))
        return [uncorrected(y / 2, -u, 0 * v) for _ in sights]

    def added(self, picture, change, strengths, corrections):
        assert not corrections
        return tuple(p + c * s / 8 for p, c, s in zip(in_levels(picture), change.planes, strengths, strict=True))

    def shown(self, planes, wiener):
        assert not wiener  # one picture of few bytes
        return Yuv420(*(plane[0, 0].numpy().round().astype(np.uint8) for plane in planes))


def meter_of(measure, anchor_filter):
    return DistortionMeter(Colour(), measure, anchor_filter, InProcess(SimpleNamespace(anchor_filter=anchor_filter)))


def test_as_much_of_each_plane_is_changed_as_makes_it_better():
    original = moving(1)[0]
    noise = np.random.default_rng(0).integers(-4, 5, original.y.shape)
    decoded = Yuv420((original.y + 4 * noise).astype(np.uint8), original.u + 2, original.v + 1)
    source = SourceSegment(Segment(0, ()), (Frame(0, original),))
    meter = meter_of("psnr_rgb", Halving(original))
    plain = meter.measured(source, Unit(source.segment, 0, (0,)), {0: decoded})
    assert plain.unit.strengths == () and plain.anchors[0].shown == decoded
    better = meter.filtered(plain)
    anchor = better.anchors[0]
    assert better.unit.strengths == (16, 0, 0) and better.unit.anchor_quality_qdb
    assert np.array_equal(anchor.shown.y, original.y) and np.array_equal(anchor.shown.u, decoded.u)
    assert anchor.decoded == decoded and better.qualities[0].psnr_y == 100
    perfect = meter.filtered(meter.measured(source, Unit(source.segment, 0, (0,)), {0: original}))
    assert perfect.unit.strengths == () and perfect.anchors[0].shown == original


class RightOnTheLeft(Halving):
    """A filter that takes out the errors of Y in the left half of a picture, and doubles them in the right one."""

    def changes(self, decoded, poc, noise, sights):
        y, u, v = (a - b for a, b in zip(in_levels(self.original), in_levels(decoded[poc]), strict=True))
        y[..., y.shape[-1] // 2 :] *= -1
        return [uncorrected(y, 0 * u, 0 * v) for _ in sights]


@pytest.mark.parametrize(("measure", "used"), [("psnr_rgb", False), ("ms_ssim", True)])
def test_by_structure_errors_count_where_little_varies(measure, used):
    height, width = 176, 192
    rng = np.random.default_rng(0)
    y = np.full((height, width), 120)
    y[:, width // 2 :] += rng.integers(-100, 101, (height, width // 2))
    error = rng.integers(-4, 5, y.shape)
    error[:, width // 2 :] += error[:, width // 2 :] // 2
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    original, decoded = (Yuv420(plane.astype(np.uint8), chroma, chroma) for plane in (y, y + error))
    source = SourceSegment(Segment(0, ()), (Frame(0, original),))
    meter = meter_of(measure, RightOnTheLeft(original))
    plain = meter.measured(source, Unit(source.segment, 0, (0,)), {0: decoded})
    better = meter.filtered(plain)
    after, before = (getattr(coded.qualities[0], measure) for coded in (better, plain))
    assert bool(better.unit.strengths) == (after > before) == used


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("width", "height"), [(66, 50), (35, 19)])
@pytest.mark.parametrize("mode", ["bitfree", "bitneed", "auto"])
def test_the_decoder_shows_the_encoders_reconstruction(tmp_path, mode, bit_depth, width, height):
    src = write(tmp_path / "seq.y4m", moving(9, width, height, bit_depth, step=3))
    settings = FILTERED | {"mode": mode, "intra_period": 4, "recon": tmp_path / "recon.y4m", "qp": 28}
    codec.encode(src, metrics=False, hashes=True, **settings)
    assert any(unit.strengths for unit in units(tmp_path / "seq.ncm"))
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    assert (tmp_path / "dec.y4m").read_bytes() == (tmp_path / "recon.y4m").read_bytes()
    assert codec.verify(tmp_path / "seq.ncm") == 9


def test_the_shipped_model_in_separate_processes(tmp_path):
    recon = tmp_path / "recon.yuv"
    words = [
        "--frames",
        5,
        "-o",
        tmp_path / "b.ncm",
        "--recon",
        recon,
        "--crf",
        30,
        "--mode",
        "bitneed",
        "--postfilter",
    ]
    encoded = command("encode", BUNNY, *words)
    assert encoded.returncode == 0, encoded.stderr
    assert all(unit.strengths for unit in units(tmp_path / "b.ncm"))
    assert command("decode", tmp_path / "b.ncm").returncode == 0
    assert (tmp_path / "b.dec.yuv").read_bytes() == recon.read_bytes()


def test_it_costs_nothing_and_makes_anchors_better(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(9, 66, 50, step=3))
    for qp in (8, 22, 36):
        with_it, without = (codec.encode(src, **FILTERED | {"postfilter": on, "qp": qp}) for on in (True, False))
        pairs = [(a, b) for a, b in zip(with_it.rows, without.rows, strict=True) if a.kind != "B"]
        assert all(a.bits == b.bits for a, b in pairs)
        assert sum(a.psnr_rgb - b.psnr_rgb for a, b in pairs) >= 0


def test_it_is_on_in_auto_alone_if_nobody_says(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(9, 66, 50, step=3))
    for mode, postfilter, used in (("auto", None, True), ("auto", False, False), ("bitneed", None, False)):
        codec.encode(src, **FILTERED | {"mode": mode, "postfilter": postfilter, "qp": 28})
        assert any(unit.strengths for unit in units(tmp_path / "seq.ncm")) == used
        text = codec.info(tmp_path / "seq.ncm").text()
        assert (" filtered " in text) == used and (used or " anchor " in text)


def test_payloads_are_read_alike_whatever_the_filter_shows(tmp_path):
    """What is exact goes by the anchors as decoded: another machine's filter may differ by a level."""
    src = write(tmp_path / "seq.y4m", moving(9, 66, 50, step=3))
    codec.encode(src, **FILTERED)
    assert any(frame.mode is not None for frame in codec.info(tmp_path / "seq.ncm").frames if frame.kind == "B")
    before = shown(tmp_path / "seq.ncm")
    with codec.open(tmp_path / "seq.ncm") as video:
        for parameter in video.model.codec.postfilter.parameters():
            parameter += 1e-4 * torch.randn_like(parameter)
        after = [frame.picture for frame in video]
        assert not video.problems
    off = differences(before, after)
    assert off.max() <= 1 and (off > 0).mean() < 0.05


def test_a_model_without_a_filter_cannot(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(3))
    for model in ("tiny", "small-bframe"):
        mode = "bitfree" if model == "tiny" else "bitneed"
        with pytest.raises(codec.ModelError, match=f"model '{model}' has no filter for anchors.*bframe"):
            codec.encode(src, **FILTERED | {"mode": mode, "model": model})
    codec.encode(src, **FILTERED | {"model": "small-bframe", "mode": "auto", "postfilter": None})  # it does without


def test_a_stream_that_asks_a_model_for_a_filter_it_lacks(tmp_path):
    """As from a writer with a fault: shown unfiltered, and said."""
    src = write(tmp_path / "seq.y4m", moving(5))
    codec.encode(src, **FILTERED | {"postfilter": False, "model": "small-bframe"})
    good, reader = shown(tmp_path / "seq.ncm"), StreamReader(io.BytesIO((tmp_path / "seq.ncm").read_bytes()))
    with (tmp_path / "bad.ncm").open("wb") as file:
        writer = StreamWriter(file, reader.header)
        for unit in reader.units():
            writer.write(replace(unit, strengths=(8, 8, 8)))
        writer.finish()
    with pytest.raises(codec.DamageError, match="frame 0: model 'small-bframe' has no filter for anchors"):
        codec.decode(tmp_path / "bad.ncm", tmp_path / "bad.y4m")
    assert [frame.picture for frame in read(tmp_path / "bad.y4m")] == good


def test_a_concealed_anchor_is_the_last_one_as_it_was_shown(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(5, 66, 50, step=3))
    codec.encode(src, **FILTERED | {"gop": "fixed:1", "qp": 28})
    unit = units(tmp_path / "seq.ncm")[0]
    info = VideoInfo(66, 50, Fraction(25), Fraction(1, 25))
    from codec.anchors.registry import anchor_codec
    from codec.decoder.reconstruct import Reconstructor
    from codec.models.open import predictor

    reconstructor = Reconstructor(info, anchor_codec("x265"), predictor(load_model("small-filtered"), info))
    anchors = reconstructor.anchors(unit)
    assert any(anchor.shown != anchor.decoded for anchor in anchors.values())
    lost = anchors.pop(2).shown
    pictures = reconstructor.pictures(unit, anchors)
    assert pictures[2].concealed and pictures[2].frame.picture == anchors[1].shown != lost


@pytest.mark.parametrize("sizes", [{"width": 0}, {"blocks": 0}])
def test_sizes_that_make_no_sense(sizes):
    with pytest.raises(ValueError, match="must be 1 and more"):
        PostFilterConfig(**sizes)
