"""The published TCM networks: names and shapes of their checkpoints, and streams with random weights."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import DATA, moving
from tcm_states import random_state, shapes

from codec.anchors.protocol import AnchorFrame
from codec.anchors.registry import anchor_codec
from codec.anchors.tcm import official
from codec.anchors.tcm.group import Group
from codec.anchors.tcm.inter import PaperInter
from codec.anchors.tcm.intra import PaperIntra
from codec.bitstream.units import AnchorPacket
from codec.errors import InputError, ModelError
from codec.video.colour import yuv_to_rgb
from codec.video.picture import Colour, VideoInfo
from entropy import Estimate

SIZE = (64, 64)
INFO = VideoInfo(*SIZE, Fraction(25), Fraction(1, 25))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random checkpoints of rates 0 and 2, made to the official names and shapes, the I-frame codec slimmer."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("official")
    for rate in (0, 2):
        for part, width in (("intra", 32), ("inter", None)):
            torch.save({"state_dict": random_state(part, width)}, folder / f"{part}_psnr_TMM_q{rate + 1}.pth.tar")
    return folder


@pytest.mark.parametrize(("part", "network"), [("intra", PaperIntra), ("inter", PaperInter)])
def test_our_networks_hold_what_the_checkpoints_hold(part, network):
    names = official.INTRA_NAMES if part == "intra" else official.INTER_NAMES
    theirs = {official.ours(n, names): s for n, s in shapes(part).items() if not official.CONSTANT.fullmatch(n)}
    mine = {name: tuple(parameter.shape) for name, parameter in network().named_parameters()}
    assert mine == theirs


def test_the_p_frame_codec_has_the_published_size():
    assert sum(parameter.numel() for parameter in PaperInter().parameters()) == 10_708_989


def codec_of(folder, **settings):
    return anchor_codec("tcm", preset="psnr", params=f"weights={folder}", **settings)


def clip(length, keys=(0,)):
    return [AnchorFrame(picture, n in keys) for n, picture in enumerate(moving(length, *SIZE, step=2))]


def test_writer_and_reader_agree(folder):
    """Five pictures, the decoder without settings, as a stream has it."""
    source = clip(5)
    writer = codec_of(folder, qp=2)
    packets = list(writer.encode(source, INFO))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCM_TCM_WEIGHTS", str(folder))
        decoded = anchor_codec("tcm").decode(packets, INFO)
    assert decoded == writer.decode(packets, INFO) and sorted(decoded) == list(range(5))
    assert [packet.key for packet in packets] == [True, False, False, False, False]
    assert writer.slope == pytest.approx(1024)


def test_bits_are_those_that_training_estimates(folder):
    model = official.load_pair(official.pair_of(folder, "psnr", 0))
    assert model.intra.width == 32 and model.config.lambdas == (256,)
    assert len(model.inter.tables.length) == 256 and len(model.inter.density.length) == 64
    group, pictures = Group(model, 0), torch.rand(2, 1, 3, *SIZE)
    written = [8 * len(group.write(picture)) for picture in pictures]
    tapes = [Estimate("round"), Estimate("round")]
    with torch.no_grad():
        reference = model.intra(tapes[0], pictures[0], size=SIZE, quality=0)
        model.inter(tapes[1], pictures[1], reference, quality=0)
    assert [sorted(tape.bits) for tape in tapes] == [
        ["intra.y", "intra.z"],
        ["inter.y", "inter.z", "motion.y", "motion.z"],
    ]
    for bits, tape in zip(written, tapes, strict=True):
        assert bits == pytest.approx(float(tape.total()), rel=0.01, abs=64)


def test_pictures_and_bits_are_those_of_the_authors_code(tmp_path):
    """For seeded random checkpoints, by what the published code answered: an I-frame, a P-frame, and one after that."""
    for part, seed, width in (("intra", 4, 32), ("inter", 5, None)):
        torch.manual_seed(seed)
        torch.save(random_state(part, width), tmp_path / f"{part}_psnr_TMM_q1.pth.tar")
    model = official.load_pair(official.pair_of(tmp_path, "psnr", 0))
    golden = np.load(DATA / "tcm_golden.npz")
    first, *rest = (yuv_to_rgb(picture, Colour()).clamp(0, 1) for picture in moving(3, *SIZE, step=2))
    shown, bits = [], []
    with torch.no_grad():
        reference = model.intra(tape := Estimate("round"), first, size=SIZE, quality=0)
        shown, bits = [reference.frame], [float(tape.total())]
        for picture in rest:
            reference = model.inter(tape := Estimate("round"), picture, reference, quality=0)
            shown.append(reference.frame)
            bits.append(float(tape.total()))
    assert bits == pytest.approx(golden["bits"], rel=0.005)
    assert np.abs(torch.cat(shown).numpy() - golden["frames"] / 65535).max() < 1e-3


def test_a_stream_survives_damage(folder):
    codec = codec_of(folder, qp=0)
    packets = list(codec.encode(clip(3), INFO))
    whole = codec.decode(packets, INFO)
    assert codec.decode(packets[1:], INFO) == {}
    assert codec.decode([packets[0], packets[2]], INFO) == {0: whole[0]}
    for data in (b"", packets[1].data[:-4], packets[1].data + bytes(4), packets[0].data):
        damaged = [packets[0], AnchorPacket(1, False, data), packets[2]]
        assert codec.decode(damaged, INFO) == {0: whole[0]}
    for data in (b"", packets[0].data[:20], b"\x09" + packets[0].data[1:], packets[0].data[:4]):
        assert codec.decode([AnchorPacket(0, True, data)], INFO) == {}


def test_what_is_missing_is_named(folder, tmp_path, monkeypatch):
    packets = list(codec_of(folder, qp=0).encode(clip(1), INFO))
    monkeypatch.delenv("NCM_TCM_WEIGHTS", raising=False)
    with pytest.raises(ModelError, match=r"fingerprint [0-9a-f]{16}.*\$NCM_TCM_WEIGHTS"):
        anchor_codec("tcm").decode(packets, INFO)
    with pytest.raises(ModelError, match="NCM_TCM_WEIGHTS"):
        anchor_codec("tcm", preset="msssim")
    with pytest.raises(ModelError, match=r"intra_psnr_TMM_q2.pth.tar and inter"):
        list(codec_of(folder, qp=1).encode(clip(1), INFO))
    (tmp_path / "intra_psnr_TMM_q1.pth.tar").write_bytes(b"nothing")
    (tmp_path / "inter_psnr_TMM_q1.pth.tar").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"intra_psnr_TMM_q1.pth.tar: cannot be read"):
        list(codec_of(tmp_path, qp=0).encode(clip(1), INFO))


def test_checkpoints_are_loaded_strictly(tmp_path):
    state = {"optic_flow.moduleBasic.0.conv1.bias": torch.zeros(32), "surprise": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"missing .* unknown .*surprise"):
        official.fill(PaperInter(), state, official.INTER_NAMES, tmp_path)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"qp": 4}, "from 0, the coarsest, to 3"),
        ({"qp": 1, "crf": 20.0}, "exclude"),
        ({"params": "wieghts=x"}, "wieghts"),
        ({"params": "intra=jpeg"}, "jpeg"),
        ({"preset": "medium"}, "lite, psnr, msssim"),
    ],
)
def test_settings_with_mistakes(settings, complaint):
    with pytest.raises((InputError, ModelError), match=complaint):
        anchor_codec("tcm", **settings)


def test_crf_means_the_slope_of_x265(folder):
    assert codec_of(folder, crf=17.7).level == 3 and codec_of(folder, crf=23.5).level == 1
    assert codec_of(folder, crf=40).level == 0
