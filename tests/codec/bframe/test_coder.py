"""`--mode bitneed` on whole videos: payloads, what a decoder makes of them, and what happens where they are damaged."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import BUNNY, command, moving, read, write

import codec
from codec.anchors.registry import anchor_codec
from codec.bframe.coder import BLOCKS, FILTERS
from codec.bitstream.reader import StreamReader
from codec.bitstream.units import BFramePacket
from codec.bitstream.writer import StreamWriter
from codec.models.open import load as load_model

FINE = {"mode": "bitneed", "model": "small-bframe", "qp": 8, "preset": "ultrafast"}  # payloads pay at this quality


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


def modes(path):
    return [frame.mode for frame in codec.info(path).frames if frame.kind == "B"]


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("width", "height"), [(66, 50), (35, 19)])
@pytest.mark.parametrize("gop", ["ibpb", "fixed:4"])
def test_the_decoder_shows_the_encoders_reconstruction(tmp_path, bit_depth, width, height, gop):
    src = write(tmp_path / "seq.y4m", moving(9, width, height, bit_depth))
    codec.encode(src, gop=gop, intra_period=8, recon=tmp_path / "recon.y4m", metrics=False, **FINE)
    assert BLOCKS + FILTERS in modes(tmp_path / "seq.ncm")  # some are coded
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    assert (tmp_path / "dec.y4m").read_bytes() == (tmp_path / "recon.y4m").read_bytes()


def test_the_shipped_model_in_separate_processes(tmp_path):
    recon = tmp_path / "recon.yuv"
    words = ["--frames", 5, "-o", tmp_path / "b.ncm", "--recon", recon, "--hash", "--crf", 20, "--mode", "bitneed"]
    encoded = command("encode", BUNNY, *words)
    assert encoded.returncode == 0, encoded.stderr
    assert encoded.stderr == b""
    assert codec.info(tmp_path / "b.ncm").header.model == "bframe"
    assert any(mode and mode & BLOCKS for mode in modes(tmp_path / "b.ncm"))
    decoded = command("decode", tmp_path / "b.ncm")
    assert (decoded.returncode, decoded.stdout, decoded.stderr) == (0, b"", b"")
    assert (tmp_path / "b.dec.yuv").read_bytes() == recon.read_bytes()
    assert command("verify", tmp_path / "b.ncm").stdout == b"5 frames, all as encoded\n"


def test_no_frame_is_worse_than_bitfree_for_what_it_costs(tmp_path):
    """With and without payloads the anchors are the same, so each B-frame can be compared by rate and distortion."""
    src = write(tmp_path / "seq.y4m", moving(9, 96, 64, step=5))
    area = 96 * 64
    for qp in (8, 22, 36):
        slope = anchor_codec("x265", qp=qp).slope
        settings = {"qp": qp, "preset": "ultrafast"}
        free = codec.encode(src, tmp_path / "free.ncm", mode="bitfree", model="small", **settings)
        need = codec.encode(src, tmp_path / "need.ncm", **FINE | settings)
        for a, b in zip(free.rows, need.rows, strict=True):
            costs = [slope * 10 ** (-row.psnr_rgb / 10) + row.bits / area for row in (a, b)]
            assert a.kind == b.kind and costs[1] <= costs[0] * (1 + 1e-9)
        assert need.bits_per_pixel("B") >= free.bits_per_pixel("B") == 0


def test_frames_that_others_refer_to_are_finer(tmp_path):
    """An octave of slope for each doubling of the span: the quality is a place on the ladder of lambdas."""
    src = write(tmp_path / "seq.y4m", moving(9, 66, 50, step=3))
    codec.encode(src, gop="fixed:8", metrics=False, **FINE | {"qp": 24})
    (unit, *_) = StreamReader(io.BytesIO((tmp_path / "seq.ncm").read_bytes())).units()
    spans = {picture.poc: picture.refs[1] - picture.refs[0] for picture in unit.segment.bframes()}
    found = {spans[poc]: bframe.quality for poc, bframe in unit.bframes.items()}
    assert len(found) > 1 and sorted(found, key=found.get) == sorted(found)


def test_offset_moves_the_quality(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(5, 96, 64, step=5))
    coarse, fine = (codec.encode(src, b_offset=offset, **FINE | {"qp": 16}) for offset in (-1.5, 1.5))
    assert fine.bits_per_pixel("B") > coarse.bits_per_pixel("B")
    assert fine.mean("psnr_rgb") > coarse.mean("psnr_rgb")


@pytest.fixture
def stream(tmp_path):
    """A stream of two segments with payloads, what it shows, and what it shows without them."""
    src = write(tmp_path / "seq.y4m", moving(9, step=5))
    codec.encode(src, intra_period=4, hashes=True, metrics=False, **FINE)
    codec.encode(src, tmp_path / "free.ncm", intra_period=4, metrics=False, **FINE | {"mode": "bitfree"})
    codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
    codec.decode(tmp_path / "free.ncm", tmp_path / "free.y4m")
    return tmp_path / "seq.ncm", *([f.picture for f in read(tmp_path / name)] for name in ("dec.y4m", "free.y4m"))


def rewritten(path, change):
    """The stream once more, each unit changed, with CRCs that fit."""
    reader = StreamReader(io.BytesIO(path.read_bytes()))
    bad = path.with_name("bad.ncm")
    with bad.open("wb") as file:
        writer = StreamWriter(file, reader.header)
        for unit in reader.units():
            change(unit)
            writer.write(unit)
        writer.finish()
    return bad


def damaged(bad):
    with pytest.raises(codec.DamageError) as caught:
        codec.decode(bad, bad.with_suffix(".y4m"))
    assert str(caught.value).startswith(f"{bad}: frame 1: ") and caught.value.exit_status == 1
    return [frame.picture for frame in read(bad.with_suffix(".y4m"))], str(caught.value)


def test_a_lost_payload_is_shown_as_its_prediction(stream):
    path, good, free = stream
    poc = 1
    offset = next(frame.offset for frame in codec.info(path).frames if frame.poc == poc)
    data = bytearray(path.read_bytes())
    data[offset + 12] ^= 1
    bad = path.with_name("bad.ncm")
    bad.write_bytes(data)
    shown, _ = damaged(bad)
    assert shown[poc] == free[poc] and free[poc] != good[poc]
    assert all(shown[n] == good[n] for n in range(9) if n not in (1, 3))  # these two share a packet


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": b""}, "empty string"),
        ({"data": b"\1\2\3"}, "too short"),
        ({"data": bytes(40)}, "payload"),
        ({"quality": 255}, "quality 255"),
        ({"mode": 9}, "mode 9"),
        ({"mode": 1}, "mode 1"),  # blocks with hard edges, from before any release
    ],
)
def test_a_payload_that_is_not_the_models(stream, change, words):
    """Its CRC is right, as from a writer with a fault: shown as the prediction, reported, nothing else harmed."""
    path, good, free = stream

    def replace_first(unit):
        if 1 in unit.bframes:
            unit.bframes[1] = BFramePacket(**unit.bframes[1]._asdict() | change)

    shown, message = damaged(rewritten(path, replace_first))
    assert words in message and shown[1] == free[1]
    assert all(shown[n] == good[n] for n in range(9) if n != 1)


def test_any_flipped_bit_of_a_payload_with_a_right_checksum(stream):
    """What the CRC would catch: the reader of symbols ends in a picture or a report, and the rest stays as it was."""
    path, good, _ = stream
    rng = np.random.default_rng(0)
    reports = 0
    for _ in range(25):

        def flip(unit):
            if 1 in unit.bframes:
                data = bytearray(unit.bframes[1].data)
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
                unit.bframes[1] = unit.bframes[1]._replace(data=bytes(data))
                unit.hashes = ()

        bad = rewritten(path, flip)
        try:
            codec.decode(bad, bad.with_suffix(".y4m"))
        except codec.DamageError:
            reports += 1
        shown = [frame.picture for frame in read(bad.with_suffix(".y4m"))]
        assert all(shown[n] == good[n] for n in range(9) if n != 1)
    assert reports > 0


@pytest.mark.filterwarnings("ignore:TF32")  # torch says so whenever mkldnn is switched
def test_threads_and_kernels_change_no_symbol(stream):
    path, good, _ = stream
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with torch.backends.mkldnn.flags(enabled=count == 1), codec.open(path) as video:
                shown = [frame.picture for frame in video]
                assert not any("payload" in problem for problem in video.problems)
            difference = np.concatenate(
                [np.abs(a.y.astype(int) - b.y).ravel() for a, b in zip(shown, good, strict=True)]
            )
            assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
    finally:
        torch.set_num_threads(threads)


def test_float_noise_in_the_decoder_changes_no_symbol(stream):
    """1e-5 of noise on every float activation: symbols come from whole numbers, so the stream still parses."""
    path, good, _ = stream
    model = load_model("small-bframe")
    generator = torch.Generator().manual_seed(0)

    def disturb(module, _, out):
        if isinstance(out, torch.Tensor) and not list(module.children()):
            return out * (1 + 1e-5 * torch.randn(out.shape, generator=generator))
        return None

    from codec.bframe.coder import BFrameCoder
    from codec.decoder.decoder import Decoder
    from codec.decoder.reconstruct import Reconstructor
    from entropy.exact import ExactConv2d

    for part in (model.network, model.codec):
        for module in part.modules():
            if not isinstance(module, ExactConv2d):
                module.register_forward_hook(disturb)
    with path.open("rb") as file:
        reader = StreamReader(file)
        info = reader.header.info
        reconstructor = Reconstructor(info, anchor_codec("x265"), BFrameCoder(model, info))
        decoder = Decoder(reader, reader.units(), reconstructor)
        shown = [picture.frame.picture for picture in decoder]
        assert not any("payload" in problem for problem in decoder.problems)
    difference = np.concatenate([np.abs(a.y.astype(int) - b.y).ravel() for a, b in zip(shown, good, strict=True)])
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-2


def test_a_network_cannot_code(tmp_path):
    src = write(tmp_path / "seq.y4m", moving(3))
    with pytest.raises(codec.ModelError, match=r"'tiny' only predicts.*bframe"):
        codec.encode(src, mode="bitneed", model="tiny")
    assert not (tmp_path / "seq.ncm").exists()


def test_payloads_for_a_model_that_only_predicts(stream):
    """A header that names a network, and payloads all the same: predictions, and a report."""
    path, _, free = stream
    reader = StreamReader(io.BytesIO(path.read_bytes()))
    network = load_model("small")
    reader.header = replace(reader.header, model="small", fingerprint=network.fingerprint)
    bad = path.with_name("bad.ncm")
    with bad.open("wb") as file:
        writer = StreamWriter(file, reader.header)
        for unit in reader.units():
            unit.hashes = ()
            writer.write(unit)
        writer.finish()
    shown, message = damaged(bad)
    assert "'small' reads no B-frame payloads" in message and shown == free


def test_a_codec_without_its_network(tmp_path, monkeypatch, tiny_weights):
    (tmp_path / "alone.safetensors").write_bytes((tiny_weights / "small-bframe.safetensors").read_bytes())
    monkeypatch.setenv("NCM_WEIGHTS", str(tmp_path))
    with pytest.raises(codec.ModelError, match=r"'small', fingerprint .* not installed"):
        load_model("alone")


def test_effort_saves_and_the_decoder_does_not_know(tmp_path):
    """More steps never cost more; what was tried is in the CSV; the same video gives the same bytes."""
    src = write(tmp_path / "seq.y4m", moving(3, 96, 64, step=5))
    slope, costs = anchor_codec("x265", qp=16).slope, []
    for effort in (0, 4):
        summary = codec.encode(
            src, effort=effort, recon=tmp_path / "recon.y4m", csv=tmp_path / "rows.csv", **FINE | {"qp": 16}
        )
        codec.decode(tmp_path / "seq.ncm", tmp_path / "dec.y4m")
        assert (tmp_path / "dec.y4m").read_bytes() == (tmp_path / "recon.y4m").read_bytes()
        row = summary.rows[1]
        costs.append(slope * 10 ** (-row.psnr_rgb / 10) + row.bits / (96 * 64))
        with (tmp_path / "rows.csv").open() as table:
            tried = list(csv.DictReader(table))[1]["tried"].split()
        assert len(tried) == effort + 1 and f"{row.bits}:{row.psnr_rgb:.3f}" in tried
    assert costs[1] < costs[0]
    first = (tmp_path / "seq.ncm").read_bytes()
    codec.encode(src, effort=4, metrics=False, **FINE | {"qp": 16})
    assert (tmp_path / "seq.ncm").read_bytes() == first
    with pytest.raises(codec.InputError, match="--effort -1"):
        codec.encode(src, effort=-1, **FINE)
