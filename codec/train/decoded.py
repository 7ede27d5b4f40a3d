# SPDX-License-Identifier: MIT
"""What a codec's references really look like: a training cache once more, through anchor encoders at many qualities.

codec train decode-passes --cache CACHE --passes 2

Strong passes are by slower encoders, another for every clip, and half of them at the video's own rate: what filters
that see neighbouring pictures learn from.
"""

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track

from ..anchors.protocol import AnchorFrame
from ..anchors.registry import anchor_codec
from ..errors import AnchorError, CodecError
from ..files import replacing
from ..video.colour import yuv_to_rgb
from ..video.picture import Colour, VideoInfo, Yuv420
from .data import APART, Clip, Corpus


class Setting(NamedTuple):
    """An anchor encoder, its preset, its lowest and highest crf, its parameters, and how often it is drawn."""

    name: str
    preset: str
    lowest: int
    highest: int
    params: str = ""
    weight: float = 1.0


SETTINGS = (Setting("x265", "fast", 18, 38), Setting("svtav1", "8", 28, 58))
STRONG = (
    Setting("x265", "medium", 18, 38, "", 0.20),
    Setting("x265", "medium", 18, 38, "tune=psnr", 0.15),
    Setting("x265", "veryslow", 18, 38, "tune=psnr", 0.13),
    Setting("svtav1", "2", 28, 60, "", 0.08),
    Setting("svtav1", "4", 28, 60, "", 0.10),
    Setting("svtav1", "6", 28, 60, "", 0.16),
    Setting("svtav1", "8", 28, 60, "", 0.08),
    Setting("x264", "veryfast", 20, 36, "tune=zerolatency", 0.10),
)


def build_passes(cache: Path, count: int, *, strong: bool = False) -> None:
    """Decoded versions of a training cache, until there are `count`. InputError if it is none; AnchorError."""
    corpus, threads = Corpus(cache), torch.get_num_threads()
    torch.set_num_threads(1)  # the conversions are small; the encoders have threads of their own
    try:
        for number in range(len(corpus.passes), count):
            build_pass(corpus, number, strong=strong)
    finally:
        torch.set_num_threads(threads)


def build_pass(corpus: Corpus, number: int, *, strong: bool = False) -> None:
    """Write pass<number>.yuv and .json into the corpus's folder: all clips, each at its own quality. OutputError.

    One encoder codes them all, or if `strong` another each. Anchors are every other frame of a video. So a clip's even
    frames are coded as one sequence and its odd frames as another: every frame is then decoded as the anchor that it
    would be, and references 2, 4, 6 apart belong to one sequence. In a strong pass every other clip is one sequence,
    in the next pass the others are.
    """
    entries = {}
    with replacing(corpus.folder / f"pass{number}.yuv") as out:
        for index, clip in enumerate(track(corpus.clips, f"pass {number}", transient=True)):
            rng = np.random.default_rng((number, index))
            setting = _drawn(rng) if strong else SETTINGS[number % len(SETTINGS)]
            crf = int(rng.integers(setting.lowest, setting.highest + 1))
            distance = 1 + (number + index) % APART if strong else APART
            originals = [corpus.picture(clip, frame) for frame in range(clip.frames)]
            pictures = _code_phases(originals, clip, setting, crf, distance)
            assert out.tell() == clip.offset
            out.writelines(picture.tobytes() for picture in pictures)
            encoder = " ".join(filter(None, (setting.name, setting.preset, setting.params)))
            found = {"encoder": encoder, "crf": crf, "distance": distance}
            entries[clip.name] = {"noise": rgb_error(originals, pictures), **found}
    # The list comes last: a pass without one is not used.
    with replacing(corpus.folder / f"pass{number}.json") as file:
        file.write(json.dumps(entries, indent=1).encode())


def _drawn(rng: np.random.Generator) -> Setting:
    weights = np.array([setting.weight for setting in STRONG])
    return STRONG[int(rng.choice(len(STRONG), p=weights / weights.sum()))]


def _code_phases(originals: list[Yuv420], clip: Clip, setting: Setting, crf: int, distance: int) -> list[Yuv420]:
    """The frames of a clip decoded again; those that are `distance` apart are coded as one sequence."""
    pictures = list(originals)
    for phase in range(distance):
        pictures[phase::distance] = code(originals[phase::distance], setting, crf, distance)
    if any(p.y.shape != (clip.height, clip.width) for p in pictures):
        raise AnchorError(f"{setting.name} changed the size of {clip.name}")
    return pictures


def code(pictures: list[Yuv420], setting: Setting, crf: int, distance: int = APART) -> list[Yuv420]:
    """The pictures as one closed group, encoded and decoded again."""
    first = pictures[0]
    info = VideoInfo(first.width, first.height, Fraction(25), Fraction(1, 25))
    codec = anchor_codec(setting.name, preset=setting.preset, params=setting.params, crf=crf, anchor_distance=distance)
    packets = list(codec.encode((AnchorFrame(p, index == 0) for index, p in enumerate(pictures)), info))
    decoded = codec.decode(packets, info)
    if sorted(decoded) != list(range(len(pictures))):
        raise AnchorError(f"{setting.name} at crf {crf} returned {len(decoded)} of {len(pictures)} pictures")
    return [decoded[index] for index in range(len(pictures))]


def rgb_error(originals: list[Yuv420], decoded: list[Yuv420]) -> float:
    """The RMS difference over all pictures as RGB in [0,1]: what the codec tells the network as `noise`."""
    squares = [
        float((yuv_to_rgb(a, Colour()) - yuv_to_rgb(b, Colour())).square().mean())
        for a, b in zip(originals, decoded, strict=True)
    ]
    return float(np.sqrt(np.mean(squares)))


def main(argv: list[str] | None = None) -> int:
    """The command under its old name, `python -m codec.train.decoded`; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m codec.train.decoded", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="training cache, as a run makes it")
    parser.add_argument("--passes", type=int, default=2, help="how many versions of every clip in all")
    arguments = parser.parse_args(argv)
    try:
        build_passes(arguments.cache, arguments.passes)
    except CodecError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
