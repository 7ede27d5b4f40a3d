"""Measures of decoded pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import bunny_pictures, moving
from pytorch_msssim import ms_ssim

from codec.video.metrics import compare, plane_psnr, psnr, rgb_of, structural_weight
from codec.video.picture import Colour


def test_identical_pictures_are_lossless():
    picture = bunny_pictures(1)[0]
    quality = compare(picture, picture, Colour())
    assert quality.psnr_y == quality.psnr_rgb == quality.psnr_yuv == 100
    assert quality.ms_ssim == pytest.approx(1)


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_psnr_of_a_constant_error(bit_depth):
    picture = moving(1, bit_depth=bit_depth)[0]
    error = 1 << (bit_depth - 8)
    shifted = replace(picture, y=picture.y + np.array(error, picture.y.dtype))
    peak = (1 << bit_depth) - 1
    assert compare(picture, shifted, Colour()).psnr_y == pytest.approx(20 * math.log10(peak / error))
    assert plane_psnr(picture.y, shifted.y, bit_depth) == plane_psnr(shifted.y, picture.y, bit_depth)


def test_worse_pictures_score_lower():
    a, b, c = (bunny_pictures(9)[i] for i in (0, 1, 8))
    near, far = compare(a, b, Colour()), compare(a, c, Colour())
    assert near.psnr_y > far.psnr_y and near.psnr_rgb > far.psnr_rgb and near.ms_ssim > far.ms_ssim


def test_small_pictures_have_no_ms_ssim():
    a, b = moving(2, 64, 48)
    assert math.isnan(compare(a, b, Colour()).ms_ssim)


def test_psnr_is_capped():
    assert psnr(0) == psnr(1e-30) == 100 and psnr(1.0) == 0


def test_structural_weight_says_where_errors_show():
    """Noise of the same power where weights are large takes more of MS-SSIM than where they are small."""
    rgb = rgb_of(bunny_pictures(1)[0], Colour())
    weight = structural_weight(rgb)
    assert weight.shape == (1, 1, *rgb.shape[2:]) and float((1 / weight).mean()) == pytest.approx(1)
    noise = 0.03 * torch.randn(rgb.shape, generator=torch.Generator().manual_seed(0))
    low, high = weight.flatten().quantile(torch.tensor([0.25, 0.75]))
    losses = [1 - float(ms_ssim(rgb, rgb + noise * where, data_range=1.0)) for where in (weight > high, weight < low)]
    assert losses[0] > 2 * losses[1]


def test_structural_weight_of_a_flat_picture_is_one():
    torch.testing.assert_close(structural_weight(torch.full((1, 3, 32, 64), 0.5)), torch.ones(1, 1, 32, 64))
