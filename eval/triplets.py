# SPDX-License-Identifier: MIT
"""The test sets of frame interpolation in the layouts that their authors publish, and any folder of videos.

A clip is what a mean is first taken over. It reads its triplets only when they are asked for.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

import codec

Image: TypeAlias = NDArray[np.uint8]  # RGB (H,W,3)

# Where a data set is published, and how it lies in its root folder.
SOURCES = {
    "vimeo": "Vimeo-90k, triplets: http://toflow.csail.mit.edu; tri_testlist.txt beside sequences/00001/0266/im1.png",
    "ucf101": "UCF101: https://github.com/liuziwei7/voxel-flow; 1/frame_00.png, frame_01_gt.png, frame_02.png, 11/...",
    "snu-film": "SNU-FILM: https://myungsub.github.io/CAIN; test-easy.txt beside test/GOPRO_test and test/YouTube_test",
    "x4k": "X-TEST of X4K1000FPS: https://github.com/JihyongOh/XVFI; test/Type1/TEST01_003_f0433/0000.png to 0032.png",
}
SNU_FILM_MODES = ("easy", "medium", "hard", "extreme")
X_TEST_FRAMES, X_TEST_STEP = 33, 4
# Two of the three frames are the same: table 6 of the paper.
# fmt: off
UCF101_DIRTY = frozenset({
    1, 141, 171, 191, 231, 241, 281, 291, 371,
    401, 441, 451, 511, 571, 611, 661, 711, 721,
    731, 971, 981, 1001, 1021, 1041, 1081, 1091, 1111,
    1221, 1231, 1241, 1251, 1261, 1321, 1361, 1401, 1411,
    1441, 1451, 1471, 1501, 1511, 1531, 1551, 1601, 1721,
    1741, 1811, 1901, 1911, 1961, 2051, 2061, 2111, 2191,
    2281, 2291, 2301, 2361, 2381, 2401, 2431, 2441, 2451,
    2471, 2481, 2491, 2531, 2671, 2691, 2711, 2751, 2761,
    2781, 2881, 2921, 2971, 3011, 3061, 3071, 3111, 3121,
    3131, 3171, 3181, 3211, 3231, 3241, 3311, 3321, 3341,
    3361, 3381, 3391, 3441, 3601, 3651, 3661, 3721,
})
# fmt: on


@dataclass(frozen=True, eq=False)
class Triplet:
    """Two input frames and the target, as RGB.

    `time` is that of the middle one, where the first of the three is at 0 and the last at 1: in interpolation the
    target's, in extrapolation the second input's.
    """

    name: str
    inputs: tuple[Image, Image]
    target: Image
    time: float


@dataclass(frozen=True, eq=False)
class VideoTriplet:
    """Two input frames and the target as planes of one video; `noise` is the inputs' RMS error as RGB in [0,1].

    `time` in (0,1) is the target's between the inputs. noise is 0 where the inputs are the source.
    """

    name: str
    inputs: tuple[codec.Yuv420, codec.Yuv420]
    target: codec.Yuv420
    time: float
    noise: float
    info: codec.VideoInfo


class Clip(NamedTuple):
    """Triplets whose results are averaged into one row."""

    name: str
    triplets: Callable[[], Iterator[Triplet | VideoTriplet]]


class Anchor(NamedTuple):
    """The encoder that makes a video's references, and its quality."""

    encoder: str
    crf: float


def read_png(path: Path) -> Image:
    """A picture file as RGB. InputError if it is missing or cannot be read."""
    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (OSError, av.FFmpegError, StopIteration) as error:
        raise codec.InputError(f"{path}: cannot be read as a picture ({error}); is the data set complete?") from error


def vimeo(root: Path, *, extrapolate: bool = False) -> list[Clip]:
    """Vimeo-90k, the test split of the triplets: tri_testlist.txt beside sequences/00001/0266/im1.png."""
    names = _lines(root / "tri_testlist.txt")
    folders = {name: root / "sequences" / name for name in names}
    return [
        _clip(name, [folder / f"im{n}.png" for n in (1, 2, 3)], extrapolate=extrapolate)
        for name, folder in folders.items()
    ]


def ucf101(root: Path, *, extrapolate: bool = False, without_dirty: bool = False) -> list[Clip]:
    """The 379 triplets that Liu et al. chose of UCF101 (ucf101_interp_ours): 1/frame_00.png, frame_01_gt, frame_02."""
    numbers = sorted(int(path.name) for path in root.iterdir() if path.name.isdigit()) if root.is_dir() else []
    if not numbers:
        raise codec.InputError(f"{root}: it holds no folders 1, 11, ... 3781; give the one that does")
    kept = [number for number in numbers if not (without_dirty and number in UCF101_DIRTY)]
    files = ("frame_00.png", "frame_01_gt.png", "frame_02.png")
    return [
        _clip(str(number), [root / str(number) / file for file in files], extrapolate=extrapolate) for number in kept
    ]


def snu_film(root: Path, mode: str, *, extrapolate: bool = False) -> list[Clip]:
    """One mode of SNU-FILM: test-easy.txt, in the root or its eval_modes, three pictures a line."""
    name = f"test-{mode}.txt"
    inside = root / "eval_modes" / name
    lines = [line.split() for line in _lines(inside if inside.exists() else root / name)]
    if any(len(line) != 3 for line in lines):
        raise codec.InputError(f"{root}: {name} does not have three pictures on every line")
    return [
        _clip(str(Path(line[1]).with_suffix("")), [_find(root, p) for p in line], extrapolate=extrapolate)
        for line in lines
    ]


def x4k(root: Path, *, extrapolate: bool = False) -> list[Clip]:
    """X-TEST of X4K1000FPS: test/Type1/TEST01_003_f0433/*.png, 33 pictures.

    Seven targets a clip between the first and the last picture, or the last from the first and the middle one.
    """
    folder = root / "test" if (root / "test").is_dir() else root
    scenes = {scene: sorted(scene.glob("*.png")) for scene in sorted(folder.glob("*/*")) if scene.is_dir()}
    if not scenes:
        raise codec.InputError(f"{root}: it holds no test/Type1/TEST01...; give the folder that does")
    for scene, files in scenes.items():
        if len(files) != X_TEST_FRAMES:
            raise codec.InputError(f"{scene}: {len(files)} pictures, not {X_TEST_FRAMES}; the data set is incomplete")
    names = {scene: "/".join(scene.parts[-2:]) for scene in scenes}
    if extrapolate:
        return [_clip(names[scene], files[::16], extrapolate=True) for scene, files in scenes.items()]
    return [Clip(names[scene], partial(_eightfold, files)) for scene, files in scenes.items()]


def videos(paths: Sequence[Path], *, step: int, frames: int | None, anchor: Anchor | None = None) -> list[Clip]:
    """A clip for each video: its targets are the frames at odd multiples of `step`, its inputs the frames `step` away.

    Inputs are source frames; with `anchor`, what that encoder makes of all inputs of the video as one closed group.
    """
    return [Clip(path.name, partial(_video, path, step=step, frames=frames, anchor=anchor)) for path in paths]


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise codec.InputError(f"{path}: {error.strerror}; give the data set's root folder") from error


def _find(root: Path, line: str) -> Path:
    """A picture of SNU-FILM's lists. They start with the author's own data/SNU-FILM, which need not be there."""
    parts = Path(line).parts
    tries = [root.joinpath(*parts[skip:]) for skip in range(len(parts))]
    return next((path for path in tries if path.exists()), tries[0])


def _clip(name: str, files: Sequence[Path], *, extrapolate: bool) -> Clip:
    return Clip(name, partial(_triplet, name, files, extrapolate=extrapolate))


def _triplet(name: str, files: Sequence[Path], *, extrapolate: bool) -> Iterator[Triplet]:
    first, middle, last = map(read_png, files)
    if extrapolate:
        yield Triplet(name, (first, middle), last, 0.5)
    else:
        yield Triplet(name, (first, last), middle, 0.5)


def _eightfold(files: Sequence[Path]) -> Iterator[Triplet]:
    last = len(files) - 1
    ends = read_png(files[0]), read_png(files[last])
    for index in range(X_TEST_STEP, last, X_TEST_STEP):
        yield Triplet(files[index].stem, ends, read_png(files[index]), index / last)


def _video(path: Path, *, step: int, frames: int | None, anchor: Anchor | None) -> Iterator[VideoTriplet]:
    with codec.open_source(path) as source:
        info, shown = source.info, list(islice(source, 0, frames, step))
    if len(shown) < 3:
        raise codec.InputError(f"{path}: too short for --step {step}; it needs {2 * step + 1} frames")
    originals = [frame.picture for frame in shown[::2]]
    references, noise = (
        (originals, 0.0) if anchor is None else _decoded(originals, info, anchor=anchor, distance=2 * step)
    )
    for index in range(1, len(shown) - 1, 2):
        past, target, future = shown[index - 1 : index + 2]
        time = (target.pts - past.pts) / (future.pts - past.pts)
        inputs = references[index // 2], references[index // 2 + 1]
        yield VideoTriplet(f"frame {index * step}", inputs, target.picture, time, noise, info)


def _decoded(
    originals: Sequence[codec.Yuv420], info: codec.VideoInfo, *, anchor: Anchor, distance: int
) -> tuple[list[codec.Yuv420], float]:
    """The pictures as the anchors of a video `distance` frames apart, and their RMS error: one closed group."""
    encoder = codec.anchor_codec(anchor.encoder, crf=anchor.crf, anchor_distance=distance)
    frames = (codec.AnchorFrame(picture, index == 0) for index, picture in enumerate(originals))
    decoded = encoder.decode(list(encoder.encode(frames, info)), info)
    pictures = [decoded[index] for index in range(len(originals))]
    return pictures, math.sqrt(np.mean([_error(a, b, info) for a, b in zip(originals, pictures, strict=True)]))


def _error(a: codec.Yuv420, b: codec.Yuv420, info: codec.VideoInfo) -> float:
    return float((codec.rgb_of(a, info.colour) - codec.rgb_of(b, info.colour)).square().mean())
