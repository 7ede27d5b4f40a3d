# SPDX-License-Identifier: MIT
"""Good streams to tamper with: the golden ones, and small ones coded here, plain and in films."""

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DATA = Path(__file__).parents[1] / "data"
FILMS = (".mp4", ".mkv")
COMMON: dict[str, Any] = {"intra_period": 4, "metrics": False, "effort": 0}
# What the small streams are coded with; they have five pictures of 34x26.
SETTINGS: dict[str, dict[str, Any]] = {
    "predicted": {"mode": "bitfree", "model": "fast"},
    "av1": {"mode": "bitneed", "model": "small-bframe", "anchor": "svtav1"},
    "hashed": {"mode": "bitneed", "model": "small-bframe", "hashes": True},
    "filtered": {"mode": "auto", "model": "small-filtered", "neighbours": "small-neighbour", "anchor": "x264"},
    "tcm": {"mode": "bitfree", "model": "tiny", "anchor": "tcm"},
}


class Seed(NamedTuple):
    """A good stream; one in a film has bytes that only the film's container understands."""

    name: str
    data: bytes
    film: bool = False


def golden() -> list[Seed]:
    """The golden streams."""
    return [Seed(path.stem, path.read_bytes()) for path in sorted(DATA.glob("golden*.ncm"))]


def coded(folder: Path) -> list[Seed]:
    """Small streams, coded now, and films of those whose anchors a film can hold."""
    from codec import encode, remux

    source = folder / "source.y4m"
    _write_clip(source)
    seeds = []
    for name, settings in SETTINGS.items():
        plain = folder / f"{name}.ncm"
        encode(source, plain, **COMMON, **settings)
        seeds.append(Seed(name, plain.read_bytes()))
        for suffix in FILMS if settings.get("anchor") != "tcm" else ():
            film = plain.with_suffix(suffix)
            remux(plain, film)
            seeds.append(Seed(film.name, film.read_bytes(), film=True))
    return seeds


def _write_clip(path: Path) -> None:
    """Five small pictures of blocks that move."""
    from codec.video.picture import Frame, VideoInfo, Yuv420
    from codec.video.writer import open_sink

    blocks = np.random.default_rng(0).integers(0, 256, (6, 12))
    texture = np.kron(blocks, np.ones((8, 8))).astype(np.uint8)
    with open_sink(path, VideoInfo(34, 26, Fraction(25), Fraction(1, 25))) as sink:
        for number in range(5):
            y = texture[number : number + 26, 2 * number : 2 * number + 34]
            sink.write(Frame(number, Yuv420(y, y[::2, ::2].copy(), 255 - y[::2, ::2])))
