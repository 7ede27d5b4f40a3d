# SPDX-License-Identifier: MIT
"""A corpus of short clips, decoded once into one flat file of 8-bit 4:2:0 planes.

index.json    {"clips": [...], one `Clip` each}
clean.yuv     all frames of all clips, y u v after one another
pass0.yuv     the same frames as decoded anchors (see decoded.py), at the same offsets, with pass0.json
"""

import csv
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ..errors import InputError
from ..frame import Yuv420, crop, split_planes

DUPLICATE = 0.2  # mean absolute luma difference of neighbouring frames below which one repeats the other
CUT = 40.0  # ... and above which a new shot has begun
VALIDATION_PART = 0.04  # of the scenes
CLIP_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".y4m", ".m4v")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Where a clip's frames are, and which of them may be used together."""

    name: str
    scene: str  # clips of one scene are never split between training and validation
    source: str  # the repository or collection
    width: int
    height: int
    frames: int
    offset: int  # bytes from the start of the flat file
    runs: list[tuple[int, int]]  # first and last frame of each stretch without cuts and repeated frames

    @property
    def frame_bytes(self) -> int:
        """The size of one frame; width and height are even."""
        return self.width * self.height * 3 // 2


class Corpus:
    """The clips of a cache folder and their frames; `passes` are the decoded versions that have been built."""

    def __init__(self, folder: Path) -> None:
        try:
            entries = json.loads((folder / "index.json").read_text())["clips"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder} is no training cache ({error}); build one from a folder of clips") from error
        self.folder = folder
        self.clips = [Clip(**entry | {"runs": [(a, b) for a, b in entry["runs"]]}) for entry in entries]
        self.clean = np.memmap(folder / "clean.yuv", np.uint8, "r")
        self.passes = [DecodedPass(folder, path.stem) for path in sorted(folder.glob("pass*.json"))]

    def describe(self) -> str:
        """What exported weights say they were trained on."""
        return f"{self.folder.name}: {len(self.clips)} clips, decoded passes: {len(self.passes)}"

    def picture(self, clip: Clip, index: int, *, decoded: int | None = None) -> Yuv420:
        """Frame `index` of a clip, as it is or out of a decoded pass."""
        samples = self.clean if decoded is None else self.passes[decoded].samples
        start = clip.offset + index * clip.frame_bytes
        return split_planes(samples[start : start + clip.frame_bytes], clip.width, clip.height, 8)


class DecodedPass:
    """One decoded version of a corpus: every clip at some quality, with its RGB RMS error in [0,1] units."""

    def __init__(self, folder: Path, name: str) -> None:
        self.samples: NDArray[np.uint8] = np.memmap(folder / f"{name}.yuv", np.uint8, "r")
        self.noise: dict[str, float] = {
            clip: entry["noise"] for clip, entry in json.loads((folder / f"{name}.json").read_text()).items()
        }


def is_validation(clip: Clip) -> bool:
    """Whether the clip's scene is held out: a fixed property of the scene's name."""
    digest = hashlib.sha256(clip.scene.encode()).digest()
    return int.from_bytes(digest[:8], "big") < VALIDATION_PART * 2**64


def build_cache(folder: Path, cache: Path) -> Corpus:
    """Decode every clip of a folder into a cache folder; InputError if there is none."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in CLIP_SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no clips ({', '.join(CLIP_SUFFIXES)})")
    cache.mkdir(parents=True, exist_ok=True)
    labels = _read_manifest(folder)
    clips: list[Clip] = []
    with (cache / "clean.yuv").open("wb") as out:
        for path in track(paths, "decoding clips", transient=True):
            pictures = list(_decode(path))
            scene, source = labels.get(path.name, (path.stem, path.stem))
            if len(pictures) >= 3:
                clips.append(_describe(path.name, scene, source, pictures, out.tell()))
                out.writelines(picture.tobytes() for picture in pictures)
    # The index comes last: a cache without one is not a cache.
    (cache / "index.json").write_text(json.dumps({"clips": [asdict(clip) for clip in clips]}, indent=1))
    return Corpus(cache)


def _read_manifest(folder: Path) -> dict[str, tuple[str, str]]:
    """(scene, source) by file name out of the manifest.csv in or above a folder, if there is one.

    A source written as owner/repository@commit:path counts as owner/repository.
    """
    for path in (folder / "manifest.csv", folder.parent / "manifest.csv"):
        if path.is_file():
            with path.open(newline="") as file:
                return {Path(r["file"]).name: (r["scene"], r["source"].split("@")[0]) for r in csv.DictReader(file)}
    return {}


def _decode(path: Path) -> Iterator[Yuv420]:
    """The frames of a clip as limited-range 8-bit 4:2:0, cropped to even sizes and to the size of the first."""
    size = None
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                frame = frame.reformat(format="yuv420p", dst_color_range="MPEG")
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) == size:
                    yield crop(_planes_of(frame), size[0] // 2 * 2, size[1] // 2 * 2)
    except av.FFmpegError as error:
        raise InputError(f"{path}: {error}") from error


def _planes_of(frame: av.VideoFrame) -> Yuv420:
    """The planes without the padding at the end of each line."""
    planes = [
        np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width]  # type: ignore[call-overload]
        for p in frame.planes
    ]
    return Yuv420(*planes)


def _describe(name: str, scene: str, source: str, pictures: list[Yuv420], offset: int) -> Clip:
    first = pictures[0]
    luma = [p.y.astype(np.int16) for p in pictures]
    steps = [float(np.abs(a - b).mean()) for a, b in itertools.pairwise(luma)]
    return Clip(
        name=name,
        scene=scene,
        source=source,
        width=first.width,
        height=first.height,
        frames=len(pictures),
        offset=offset,
        runs=find_runs(steps),
    )


def find_runs(steps: list[float]) -> list[tuple[int, int]]:
    """First and last frame of the stretches of three frames and more whose steps are all real motion."""
    runs, first = [], 0
    for index, step in enumerate([*steps, CUT + 1]):
        if not DUPLICATE <= step <= CUT:
            if index - first >= 2:
                runs.append((first, index))
            first = index + 1
    return runs
