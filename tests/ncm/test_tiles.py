"""Predictions by tiles are those of the whole picture, up to rounding; and they take less memory."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from ncm import NcmConfig, build, tiles

PLAIN = NcmConfig(widths=(16, 16, 16, 8, 8), context_width=4, teacher_width=8)
MATCHING = replace(PLAIN, pyramid=(4, 8, 8, 16), motion_features=16, quality_input=True)


def lively(config):
    """A network whose motion and correction are large, so that what a part sees shows in the picture."""
    torch.manual_seed(1)
    network = build(config).eval()
    with torch.no_grad():
        for block in network.flow.children():
            if hasattr(block, "lastconv"):
                block.lastconv[0].weight.mul_(30)
    return network


@pytest.mark.parametrize("config", [MATCHING, PLAIN], ids=["matching", "plain"])
@torch.inference_mode()
def test_tiles_are_parts_of_the_whole(config, monkeypatch):
    network, (past, future) = lively(config), torch.rand(2, 1, 3, 320, 480, generator=torch.Generator().manual_seed(3))
    whole = network(past, future, 0.4)
    assert whole.motion.flow.abs().max() > 1
    network.in_tiles(128)
    tiled = network(past, future, 0.4)
    for a, b in ((whole.frame, tiled.frame), *zip(whole.motion, tiled.motion, strict=True)):
        assert torch.allclose(a, b, atol=1e-3)
    monkeypatch.setattr("ncm.estimator.SEES", 0)
    monkeypatch.setattr("ncm.synthesis.SEES", 0)
    assert not torch.allclose(whole.frame, network(past, future, 0.4).frame, atol=1e-3)


@pytest.mark.parametrize(("length", "side"), [(96, 128), (480, 128), (1088, 512), (96, 5)])
def test_tiles_cover_a_side_once(length, side):
    spans = list(tiles._spans(length, side))
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert all(stop == start for (_, stop), (start, _) in pairwise(spans))
    assert all(start % 32 == 0 and start < stop for start, stop in spans)
