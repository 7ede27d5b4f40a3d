"""VMAF in batches is VMAF of the whole."""

import math

import pytest
import torch
from helpers import bunny_pictures, moving

from codec.video.picture import Yuv420
from codec.video.vmaf import Vmaf


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_do_not_matter(batch):
    package = pytest.importorskip("vmaf_torch", reason="needs vmaf-torch: pip install -e '.[vmaf]'")
    source = bunny_pictures(6)
    decoded = [Yuv420(p.y // 8 * 8, p.u, p.v) for p in source]
    vmaf = Vmaf(batch)
    for pair in zip(source, decoded, strict=True):
        vmaf.add(*pair)
    planes = (torch.stack([torch.from_numpy(p.y).float() for p in ps])[:, None] for ps in (source, decoded))
    assert vmaf.finish() == pytest.approx(package.VMAF(clip_score=True)(*planes).flatten().tolist(), abs=1e-3)


def test_pictures_too_small_for_it_have_none():
    pytest.importorskip("vmaf_torch", reason="needs vmaf-torch: pip install -e '.[vmaf]'")
    for width, measured in ((16, False), (17, True)):
        vmaf = Vmaf()
        for picture in moving(3, width, 64):
            vmaf.add(picture, picture)
        assert [math.isnan(score) for score in vmaf.finish()] == [not measured] * 3
