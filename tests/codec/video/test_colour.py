import numpy as np
import pytest
import torch
from helpers import bunny_pictures, moving

from codec.video.colour import MATRICES, luma_levels, rgb_to_yuv, yuv_to_rgb
from codec.video.picture import Colour, Yuv420, crop, pad


def in_gamut(bit_depth):
    """Random planes whose colours are pale enough to survive RGB."""
    random = np.random.default_rng(0)
    shift = bit_depth - 8
    low, high = 90 << shift, 160 << shift
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    return Yuv420(*(random.integers(low, high, s).astype(dtype) for s in ((32, 48), (16, 24), (16, 24))), bit_depth)


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
def test_planes_survive_rgb(bit_depth, matrix, full_range):
    """The 2x2 mean undoes the chroma upsampling exactly, even on noise."""
    picture, colour = in_gamut(bit_depth), Colour(matrix, full_range)
    rgb = yuv_to_rgb(picture, colour)
    assert rgb_to_yuv(rgb, colour, bit_depth) == picture
    assert np.array_equal(luma_levels(rgb, colour, bit_depth)[0, 0].numpy(), picture.y)


def test_a_real_picture_survives_rgb():
    picture = bunny_pictures(1)[0]
    assert rgb_to_yuv(yuv_to_rgb(picture, Colour()), Colour(), 8) == picture


@pytest.mark.parametrize(
    ("yuv", "expected"),
    [
        ((16, 128, 128), (0, 0, 0)),
        ((235, 128, 128), (1, 1, 1)),
        ((63, 102, 240), (1, 0, 0)),
        ((32, 240, 118), (0, 0, 1)),
    ],
)
def test_known_colours_of_bt709(yuv, expected):
    planes = [np.full(shape, value, np.uint8) for shape, value in zip(((4, 4), (2, 2), (2, 2)), yuv, strict=True)]
    rgb = yuv_to_rgb(Yuv420(*planes), Colour())[0, :, 0, 0]
    assert torch.allclose(rgb, torch.tensor(expected, dtype=torch.float32), atol=0.01)


@pytest.mark.parametrize(("width", "height"), [(35, 19), (1, 1), (64, 32), (33, 64)])
def test_padding_repeats_edges_and_cropping_undoes_it(width, height):
    picture = moving(1, width, height, 10)[0]
    padded = pad(picture, 32, 64)
    assert padded.width % 32 == padded.height % 32 == 0 and min(padded.width, padded.height) >= 64
    assert crop(padded, width, height) == picture
    assert (padded.y[:, width:] == padded.y[:, width - 1 : width]).all()
    assert padded.u.shape == (padded.height // 2, padded.width // 2)


def test_bytes_are_those_of_a_yuv_file():
    picture = Yuv420(
        np.array([[1, 2], [3, 4]], np.uint16), np.array([[5]], np.uint16), np.array([[258]], np.uint16), 10
    )
    assert picture.tobytes() == bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 2, 1])
    assert len(picture.digest()) == 8
