"""What several tests need: the clip that ships, pictures made up, measures."""

import math
import subprocess
import sys
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import numpy as np

from codec.video.colour import yuv_to_rgb
from codec.video.picture import Colour, Frame, VideoInfo, Yuv420, chroma_size, dtype_of, pad
from codec.video.reader import open_source
from codec.video.writer import open_sink

DATA = Path(__file__).parents[1] / "data"
BUNNY = Path(str(files("codec") / "sample" / "bunny.mp4"))


def bunny_pictures(count):
    with open_source(BUNNY) as source:
        return [frame.picture for frame, _ in zip(source, range(count), strict=False)]


def bunny(frames):
    """RGB of some frames of the clip, padded for the networks."""
    pictures = bunny_pictures(max(frames) + 1)
    return [yuv_to_rgb(pad(pictures[number], 32), Colour()) for number in frames]


def rgb_psnr(a, b):
    return 10 * math.log10(1 / float(((a.clamp(0, 1) - b.clamp(0, 1)) ** 2).mean()))


def moving(count, width=64, height=48, bit_depth=8, *, seed=0, step=1):
    """A smooth random texture that moves `step` pixels a frame to the right."""
    random = np.random.default_rng(seed)
    peak = (1 << bit_depth) - 1
    reach = step * count + 8
    coarse = random.random((height // 8 + 3, (width + reach) // 8 + 3))
    texture = np.kron(coarse, np.ones((8, 8)))
    kernel = np.ones(7) / 7
    for axis in (0, 1):
        texture = np.apply_along_axis(np.convolve, axis, texture, kernel, mode="same")
    texture = texture[4 : 4 + height]
    cw, ch = chroma_size(width, height)
    pictures = []
    for number in range(count):
        start = 4 + reach - 8 - step * number
        y = (texture[:, start : start + width] * 0.8 + 0.1) * peak
        chroma = np.resize(y[::2, ::2], (ch, cw)) if y[::2, ::2].shape != (ch, cw) else y[::2, ::2]
        planes = [p.round().astype(dtype_of(bit_depth)) for p in (y, chroma, peak - chroma)]
        pictures.append(Yuv420(*planes, bit_depth))
    return pictures


def write(path, pictures, *, rate=Fraction(25), pts=None, time_base=None):
    info = VideoInfo(pictures[0].width, pictures[0].height, rate, time_base or 1 / rate, pictures[0].bit_depth)
    with open_sink(path, info) as sink:
        for number, picture in enumerate(pictures):
            sink.write(Frame(number if pts is None else pts[number], picture))
    return path


def read(path):
    with open_source(path) as source:
        return list(source)


def command(*words, stdin=None):
    return subprocess.run([sys.executable, "-m", "codec.cli", *map(str, words)], input=stdin, capture_output=True)
