"""XPSNR by FFmpeg's filter: as the filter itself writes it down, the same for every picture at any depth."""

import locale
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from helpers import moving

from codec.video.picture import VideoInfo, Yuv420
from codec.video.xpsnr import Xpsnr


def noisy(picture, amount):
    random = np.random.default_rng(0)
    planes = [(p + random.integers(0, amount + 1, p.shape)).astype(p.dtype) for p in picture.planes]
    return Yuv420(*planes, picture.bit_depth)


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (67, 51)])
def test_less_noise_is_better_and_none_counts_100(bit_depth, width, height):
    info = VideoInfo(width, height, Fraction(25), Fraction(1, 25), bit_depth)
    pictures = moving(3, width, height, bit_depth)
    scores = []
    for amount in (0, 2, 8):
        xpsnr = Xpsnr(info)
        scores.append([xpsnr.add(picture, noisy(picture, amount)) for picture in pictures])
    perfect, little, much = scores
    assert perfect == [100.0] * 3
    assert all(a > b > 20 for a, b in zip(little, much, strict=True))


def test_errors_count_less_where_a_picture_is_busy():
    """What sets it apart from PSNR."""
    random = np.random.default_rng(0)
    info = VideoInfo(128, 128, Fraction(25), Fraction(1, 25))
    y = np.full((128, 128), 120, np.uint8)
    y[:, 64:] = random.integers(60, 180, (128, 64))
    chroma = np.full((64, 64), 128, np.uint8)
    source = Yuv420(y, chroma, chroma)
    error = random.integers(-4, 5, (128, 64))
    flat, busy = y.copy(), y.copy()
    flat[:, :64] = y[:, :64] + error
    busy[:, 64:] = y[:, 64:] + error
    assert Xpsnr(info).add(source, replace(source, y=busy)) > Xpsnr(info).add(source, replace(source, y=flat)) + 1


@pytest.mark.parametrize(("width", "height", "bit_depth"), [(64, 48, 16), (40, 40, 8), (2, 2, 8)])
def test_what_the_filter_cannot_measure(width, height, bit_depth):
    info = VideoInfo(width, height, Fraction(25), Fraction(1, 25), bit_depth)
    picture = moving(1, width, height, bit_depth)[0]
    assert math.isnan(Xpsnr(info).add(picture, picture))


def test_a_decimal_comma_changes_nothing(decimal_comma):
    """FFmpeg writes its figures by the locale."""
    info = VideoInfo(64, 48, Fraction(25), Fraction(1, 25), 8)
    (picture,) = moving(1, 64, 48, 8)
    found = Xpsnr(info).add(picture, noisy(picture, 8))
    locale.setlocale(locale.LC_ALL, "C")
    assert found == Xpsnr(info).add(picture, noisy(picture, 8))
