"""Networks in other programs: what an ONNX file answers is what torch does, for pictures of any size."""

import pytest
import torch

from codec.cli import main
from codec.models.network_file import save_network
from codec.models.onnx_file import CLOSE, OPSET, differs, part_of, serialised
from codec.models.registry import find
from ncm import NcmConfig, build

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.usefixtures("weights", "one_thread")
SMALL = {"image_features": 0, "quality_input": True, "context_width": 4, "teacher_width": 0}
LIKE_LITE = NcmConfig(
    widths=(8,), coarse_blocks=1, coarse_scales=(2,), fine_scales=(), fine_scales_far=(), synthesis="subpixel",
    last_features=False, **SMALL,
)  # fmt: skip
LIKE_BASE = NcmConfig(
    widths=(8, 8), depths=(1, 1), coarse_blocks=1, coarse_scales=(2,), fine_scales=(1,), fine_scales_far=(2,),
    pyramid=(4, 4, 4, 4), motion_features=8, matching_scales=2, matching_window=1, **(SMALL | {"image_features": 4}),
)  # fmt: skip


@pytest.mark.timeout(1200)  # a minute of processor time, and cores may be busy
@pytest.mark.parametrize("config", [LIKE_LITE, LIKE_BASE])
def test_prediction(tmp_path, config):
    torch.manual_seed(0)
    network = build(config)
    for name, weight in network.named_parameters():  # what begins at zero has something to say, flows too
        if not weight.any() or "lastconv" in name:
            torch.nn.init.normal_(weight, std=0.05)
    save_network(network, tmp_path / "mine.safetensors")
    part = part_of(tmp_path / "mine.safetensors")
    data = serialised(part)
    assert {each.domain: each.version for each in onnx.load_from_string(data).opset_import}[""] == OPSET
    assert differs(part, data, 2, 3) < CLOSE
    assert differs(part, data, 17, 18) < CLOSE  # with a coarse picture below half
    part.module.network.synthesis.requires_grad_(False)
    next(part.module.network.synthesis.parameters()).add_(0.1)
    assert differs(part, data, 2, 3) > CLOSE  # so it would tell


def test_a_post_filter():
    torch.manual_seed(0)
    part = part_of(find("small-filtered"))
    data = serialised(part)
    assert differs(part, data, 7, 12) < CLOSE and differs(part, data, 20, 9) < CLOSE


def test_the_command(tmp_path, capfd, monkeypatch):
    path = tmp_path / "filter.onnx"
    assert main(["export", "small-filtered", "--onnx", str(path)]) == 0
    onnx.checker.check_model(onnx.load(path))
    for model, file, said in (
        ("small-bframe", "small.onnx", "has no post-filter"),
        ("tcm-lite", "tcm.onnx", "cannot be exported"),
        ("small-neighbour", "filter.onnx", "cannot be exported"),
        ("tiny", "tiny.pt", ".onnx file"),
        ("none", "none.onnx", "is not installed"),
    ):
        assert main(["export", model, "--onnx", str(tmp_path / file)]) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1 and said in err
    monkeypatch.setattr("codec.models.onnx_file.find_spec", lambda name: None)
    assert main(["export", "tiny", "--onnx", str(path)]) == 2
    assert "install the extra" in capfd.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["filter.onnx"]


def test_the_place_is_looked_at_first(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("codec.models.onnx_file.serialised", lambda part: pytest.fail("exported before that"))
    assert main(["export", "lite", "--onnx", str(tmp_path / "no" / "lite.onnx")]) == 2
    assert "lite.onnx" in capfd.readouterr().err
