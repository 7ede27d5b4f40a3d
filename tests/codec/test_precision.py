"""Half precision: motion and symbols stay, a decoder computes in either, and the stream says how it was made."""

import numpy as np
import pytest
import torch
from helpers import BUNNY, bunny, bunny_pictures, moving, write

import codec
from codec.device import is_half
from codec.models.open import halved, load
from codec.precision import AUTO, BF16, FP32

CLOSE = 0.1  # levels in the mean
pytestmark = pytest.mark.usefixtures("one_thread")


def planes(pictures):
    return np.concatenate([plane.ravel().astype(float) for picture in pictures for plane in picture.planes])


@pytest.mark.parametrize("model", ["lite", "base"])
def test_motion_stays_and_samples_hardly_move(model):
    past, source, future = (picture[..., :128, :192] for picture in bunny((0, 1, 2)))
    network = load(model)
    exact = network.network(past, future, 0.5, torch.tensor([0.02]))
    rough = halved(network).network(past, future, 0.5, torch.tensor([0.02]))
    assert torch.equal(exact.motion.flow, rough.motion.flow) and torch.equal(exact.motion.mask, rough.motion.mask)
    assert rough.frame.dtype == torch.float32 and not torch.equal(exact.frame, rough.frame)
    assert 255 * (exact.frame - rough.frame).abs().mean() < CLOSE
    psnr = [-10 * torch.log10((each.frame - source).square().mean()) for each in (exact, rough)]
    assert abs(psnr[0] - psnr[1]) < 0.02


def test_a_stream_says_how_it_was_made_and_is_decoded_either_way(tmp_path):
    """A pyramid, so that B-frames refer to B-frames; the reader's symbols would part if its vectors did."""
    src = write(tmp_path / "seq.y4m", bunny_pictures(5))
    settings = {"preset": "fast", "mode": "bitneed", "gop": "fixed:4", "crf": 30, "workers": 1, "hashes": True}
    recon = tmp_path / "recon.y4m"
    codec.encode(src, tmp_path / "s.ncm", anchor_preset="ultrafast", precision=BF16, recon=recon, **settings)
    assert codec.info(tmp_path / "s.ncm").header.options["half"] == {"precision": BF16}
    with codec.open_source(recon) as frames:
        expected = planes([frame.picture for frame in frames])
    shown = {}
    for precision in (FP32, BF16):
        with codec.open(tmp_path / "s.ncm", precision=precision, workers=1) as video:
            shown[precision] = planes([frame.picture for frame in video])
            assert not video.problems and bool(video.rounded) == (precision == FP32)
    assert np.array_equal(shown[BF16], expected)
    assert 0 < np.abs(shown[FP32] - expected).mean() < CLOSE


def test_filters_of_anchors_hardly_move(tmp_path):
    shown = {}
    for precision in (FP32, BF16):
        recon, dst = tmp_path / f"{precision}.y4m", tmp_path / f"{precision}.ncm"
        settings = {"mode": "bitneed", "postfilter": True, "crf": 36, "frames": 3, "workers": 1}
        codec.encode(BUNNY, dst, anchor_preset="ultrafast", precision=precision, recon=recon, **settings)
        with codec.open_source(recon) as frames:
            shown[precision] = planes([frame.picture for frame in frames])
        assert ("half" in codec.info(dst).header.options) == (precision == BF16)
    assert 0 < np.abs(shown[FP32] - shown[BF16]).mean() < CLOSE


def test_who_computes_in_what(monkeypatch, tmp_path):
    device = torch.device("cpu")
    for has in (False, True):
        monkeypatch.setattr("codec.device.has_bfloat16", lambda device, has=has: has)
        assert [is_half(AUTO, device, streams=streams) for streams in (False, True)] == [False, has]
        assert is_half(BF16, device, streams=False) and not is_half(FP32, device, streams=True)
    with pytest.raises(codec.InputError, match="'fp8' is none; choose from auto, fp32, bf16"):
        codec.EncodeSettings(precision="fp8")
    src = write(tmp_path / "seq.y4m", moving(3))
    codec.encode(src, tmp_path / "s.ncm", mode="bitfree", model="lite", metrics=False)
    with pytest.raises(codec.InputError, match="choose from"):
        codec.open(tmp_path / "s.ncm", precision="fp8")
