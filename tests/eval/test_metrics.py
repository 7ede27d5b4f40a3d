"""PSNR and SSIM against known errors and another implementation."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eval.metrics import round_to_bytes, score, ssim


def test_psnr_of_a_known_error():
    picture = torch.full((1, 3, 16, 16), 0.5)
    assert score(picture + 1 / 255, picture).psnr == pytest.approx(20 * math.log10(255), abs=1e-3)
    one = picture.clone()
    one[:, 0] += 0.1  # the mean goes over all channels
    assert score(one, picture).psnr == pytest.approx(-10 * math.log10(0.01 / 3), abs=1e-4)
    assert score(picture, picture).psnr == pytest.approx(100)


def test_predictions_are_rounded_to_eight_bit():
    assert round_to_bytes(torch.tensor([-0.1, 0.4 / 255, 0.6 / 255, 1.2])).tolist() == pytest.approx([0, 0, 1 / 255, 1])


def test_ssim_of_flat_pictures():
    a, b = torch.full((1, 3, 16, 16), 0.25), torch.full((1, 3, 16, 16), 0.75)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, b) == ssim(b, a) == pytest.approx((2 * 0.1875 + 1e-4) / (0.0625 + 0.5625 + 1e-4), abs=1e-4)


def test_ssim_agrees_with_another_implementation():
    random = np.random.default_rng(0)
    a = random.random((3, 24, 20))
    b = np.clip(a + random.normal(0, 0.1, a.shape), 0, 1)

    def blur(x):
        return gaussian_filter(x, 1.5, mode="nearest", radius=5)

    variances = [blur(x * y) - blur(x) * blur(y) for x, y in ((a, a), (b, b), (a, b))]
    luminance = (2 * blur(a) * blur(b) + 1e-4) / (blur(a) ** 2 + blur(b) ** 2 + 1e-4)
    expected = (luminance * (2 * variances[2] + 9e-4) / (variances[0] + variances[1] + 9e-4)).mean()
    assert ssim(torch.from_numpy(a)[None], torch.from_numpy(b)[None]) == pytest.approx(expected, abs=1e-6)
