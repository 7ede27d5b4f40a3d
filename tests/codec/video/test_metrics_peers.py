"""PSNR and MS-SSIM of real frames against scikit-image's, FFmpeg's, and the definition of MS-SSIM."""

import math

import av
import numpy as np
import pytest
from helpers import bunny_pictures, write

from codec import Colour, Yuv420, compare, rgb_of

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang 2003, "Multiscale structural similarity"


@pytest.fixture(scope="module")
def pair():
    """A frame of the clip, and the same with noise and blocks."""
    source = bunny_pictures(1)[0]
    random = np.random.default_rng(0)

    def worse(plane):
        return np.clip(plane // 4 * 4 + random.normal(0, 2, plane.shape), 0, 255).round().astype(np.uint8)

    return source, Yuv420(*map(worse, source.planes))


def test_psnr_is_that_of_scikit_image(pair):
    skimage = pytest.importorskip("skimage.metrics", reason="needs scikit-image: pip install -e '.[dev]'")
    source, decoded = pair
    quality = compare(source, decoded, Colour("bt709"))
    for name, a, b in zip("yuv", source.planes, decoded.planes, strict=True):
        expected = skimage.peak_signal_noise_ratio(a, b, data_range=255)
        assert getattr(quality, f"psnr_{name}") == pytest.approx(expected, abs=1e-6)
    a, b = (rgb_of(picture, Colour("bt709"))[0].double().numpy() for picture in pair)
    assert quality.psnr_rgb == pytest.approx(skimage.peak_signal_noise_ratio(a, b, data_range=1), abs=1e-4)


def test_psnr_is_that_of_ffmpeg(pair, tmp_path):
    """Its filter `psnr`, through PyAV."""
    paths = [write(tmp_path / f"{name}.y4m", [picture]) for name, picture in zip("ab", pair, strict=True)]
    graph = av.filter.Graph()
    with av.open(str(paths[1])) as one, av.open(str(paths[0])) as two:
        inputs = [graph.add_buffer(template=file.streams.video[0]) for file in (one, two)]
        measure, sink = graph.add("psnr"), graph.add("buffersink")
        for number, source in enumerate(inputs):
            source.link_to(measure, 0, number)
        measure.link_to(sink)
        graph.configure()
        for file, source in zip((one, two), inputs, strict=True):
            source.push(next(file.decode(video=0)))
            source.push(None)
        found = dict(sink.pull().metadata)
    quality = compare(*pair, Colour("bt709"))
    for name in "yuv":
        assert float(found[f"lavfi.psnr.psnr.{name}"]) == pytest.approx(getattr(quality, f"psnr_{name}"), abs=0.01)


def test_ms_ssim_is_its_definition_by_scikit_image(pair):
    """Contrast and structure at five scales, halved by 2x2 means, and luminance at the last."""
    skimage = pytest.importorskip("skimage.metrics", reason="needs scikit-image: pip install -e '.[dev]'")
    a, b = (rgb_of(picture, Colour("bt709"))[0].double().numpy() for picture in pair)
    product = np.ones(3)
    for scale, weight in enumerate(WEIGHTS):
        found = [_ssim_and_contrast(skimage, x, y) for x, y in zip(a, b, strict=True)]
        product *= np.array([full if scale == len(WEIGHTS) - 1 else contrast for full, contrast in found]) ** weight
        a, b = _halved(a), _halved(b)
    assert compare(*pair, Colour("bt709")).ms_ssim == pytest.approx(product.mean(), abs=2e-4)


def _ssim_and_contrast(skimage, x, y):
    """Means of SSIM and of its factor without luminance, over the pixels whose window lies within the picture."""
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, full = skimage.structural_similarity(x, y, full=True, truncate=10 / 3, **settings)
    from scipy.ndimage import gaussian_filter

    mean_x, mean_y = (gaussian_filter(p, 1.5, truncate=10 / 3) for p in (x, y))
    luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    inner = (slice(5, -5), slice(5, -5))
    return full[inner].mean(), (full / luminance)[inner].mean()


def _halved(x):
    """(C,H,W) as means of 2x2; an odd side gets one row of zeros before it, as pytorch-msssim pads."""
    x = np.pad(x, [(0, 0), *((side % 2, 0) for side in x.shape[1:])])
    return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4))


def test_identical_pictures():
    source = bunny_pictures(1)[0]
    quality = compare(source, source, Colour("bt601"))
    assert quality.psnr_rgb == quality.psnr_y == 100 and quality.ms_ssim == pytest.approx(1)
    assert not math.isnan(quality.psnr_yuv)
