"""B-frames of still video: what both references show, the prediction must show."""

from fractions import Fraction

import numpy as np
import pytest

from codec.bframe.predictor import Predictor
from codec.models.open import load
from codec.video.metrics import plane_psnr
from codec.video.picture import Colour, VideoInfo, Yuv420


@pytest.mark.parametrize("model", ["rife", "rife5", "base"])
def test_colours_outside_rgb_survive(model):
    """Dark saturated blue is legal in YUV and has negative green in RGB: clipping there once cost 20 dB of U."""
    random = np.random.default_rng(0)
    luma = np.kron(random.integers(16, 60, (8, 8)), np.ones((8, 8))).astype(np.uint8)
    chroma = np.full((32, 32), 200, np.uint8)
    picture = Yuv420(luma, chroma, np.full((32, 32), 128, np.uint8))
    info = VideoInfo(64, 64, Fraction(25), Fraction(1, 25), colour=Colour("bt709"))
    predictor = Predictor(load(model), info)
    reference = predictor.reference(picture)
    shown = predictor.predict(reference, reference, 0.5, 0.0)
    assert plane_psnr(picture.u, shown.u, 8) > 38 and plane_psnr(picture.y, shown.y, 8) > 38
