# SPDX-License-Identifier: MIT
"""Corpora of short clips, each decoded once into one flat file of 8-bit 4:2:0 planes.

index.json    {"folder": where the clips came from, "clips": [...]}, one `Clip` each
clean.yuv     all frames of all clips, y u v after one another
pass0.yuv     the same frames as decoded anchors (see decoded.py), at the same offsets, with pass0.json
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ..errors import InputError, OutputError
from ..files import replacing
from ..video.picture import Yuv420, split_planes
from .folders import Found, find_clips, read_pictures

log = logging.getLogger(__name__)

DUPLICATE = 0.2  # mean absolute luma difference of neighbouring frames below which one repeats the other
CUT = 40.0  # ... and above which a new shot has begun
VALIDATION_PART = 0.04  # of the scenes
PEAK = 255  # of the samples of a corpus, which have 8 bit
APART = 2  # frames from one to the next that was coded with it, in a decoded pass that does not say


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
    held_out: bool | None = None  # whether it validates; None: the scene's name decides
    corpus: int = 0  # its corpus's place in a library

    @property
    def frame_bytes(self) -> int:
        """The size of one frame; width and height are even."""
        return self.width * self.height * 3 // 2


class Corpus:
    """The clips of a cache folder and their frames; `passes` are the decoded versions that have been built."""

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / "index.json").read_text())
            self.clips = [Clip(**entry | {"runs": [(a, b) for a, b in entry["runs"]]}) for entry in index["clips"]]
            self.clean: NDArray[np.uint8] = np.memmap(folder / "clean.yuv", np.uint8, "r")
            self.passes = [DecodedPass(folder, path.stem) for path in sorted(folder.glob("pass*.json"))]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder} is no training cache ({error}); build one from a folder of clips") from error
        self._check_whole(folder)
        self.folder = folder
        self.origin: str = index.get("folder", "")
        self.found: int | None = index.get("found")  # clips that the folder held, too short ones too

    def _check_whole(self, folder: Path) -> None:
        """InputError if the planes or a pass lack part of the clips, as after a copy that was cut off."""
        size = _end_of(self.clips)
        if len(self.clean) < size:
            remedy = "delete the folder, and the clips are decoded anew"
            raise InputError(f"{folder / 'clean.yuv'} has {len(self.clean)} of {size} bytes; {remedy}")
        for made in self.passes:
            held = [clip for clip in self.clips if clip.name in made.noise]
            size = _end_of(held)
            if not held or len(made.samples) < size:
                what = f"{len(made.samples)} of {size} bytes" if held else "none of the clips"
                remedy = "delete it, and `codec train decode-passes` makes it anew"
                raise InputError(f"{folder / made.name}.yuv and .json have {what}; {remedy}")

    def describe(self) -> str:
        """What exported weights say they were trained on."""
        return f"{self.folder.name}: {len(self.clips)} clips, decoded passes: {len(self.passes)}"

    def picture(self, clip: Clip, index: int, *, decoded: int | None = None) -> Yuv420:
        """Frame `index` of a clip, as it is or out of a decoded pass."""
        samples = self.clean if decoded is None else self.passes[decoded].samples
        start = clip.offset + index * clip.frame_bytes
        return split_planes(samples[start : start + clip.frame_bytes], clip.width, clip.height, 8)


class Library:
    """Several corpora as one. Clips of the same source or scene belong together, wherever they lie.

    `training` and `validation` are the usable clips; where there are too few to hold any out, both are all of them.
    """

    def __init__(self, *corpora: Corpus) -> None:
        self.corpora = corpora
        self.clips = [replace(clip, corpus=n) for n, corpus in enumerate(corpora) for clip in corpus.clips]
        usable = [clip for clip in self.clips if clip.runs]
        self.validation = [clip for clip in usable if is_validation(clip)]
        self.training = [clip for clip in usable if not is_validation(clip)]
        self.too_few = not (self.validation and self.training)
        if self.too_few:
            self.validation = self.training = usable

    def describe(self) -> str:
        """What exported weights say they were trained on."""
        return "; ".join(corpus.describe() for corpus in self.corpora)

    def passes(self, clip: Clip) -> list["DecodedPass"]:
        """The decoded versions that there are of a clip."""
        return self.corpora[clip.corpus].passes

    def picture(self, clip: Clip, index: int, *, decoded: int | None = None) -> Yuv420:
        """Frame `index` of a clip, as it is or out of a decoded pass."""
        return self.corpora[clip.corpus].picture(clip, index, decoded=decoded)


class DecodedPass:
    """One decoded version of a corpus: every clip at some quality, with its RGB RMS error in [0,1] units.

    `distance` is how far apart pictures are that were coded together: 2 where even and odd ones were coded apart.
    `encoder` is the name of the codec of anchors that coded a clip.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.samples: NDArray[np.uint8] = np.memmap(folder / f"{name}.yuv", np.uint8, "r")
        entries = json.loads((folder / f"{name}.json").read_text())
        self.noise: dict[str, float] = {clip: entry["noise"] for clip, entry in entries.items()}
        self.distance: dict[str, int] = {clip: entry.get("distance", APART) for clip, entry in entries.items()}
        encoders = {clip: entry.get("encoder", "") for clip, entry in entries.items()}
        self.encoder: dict[str, str] = {clip: coder.partition(" ")[0] for clip, coder in encoders.items()}


def is_validation(clip: Clip) -> bool:
    """Whether the clip's scene is held out: a fixed property of its data set or of the scene's name."""
    if clip.held_out is not None:
        return clip.held_out
    digest = hashlib.sha256(clip.scene.encode()).digest()
    return int.from_bytes(digest[:8], "big") < VALIDATION_PART * 2**64


def open_corpus(data: Path, caches: Path) -> Corpus:
    """The corpus of a folder: a cache itself, or clips that are decoded into a folder of `caches` the first time."""
    if (data / "index.json").exists():
        return Corpus(data)
    cache = caches / data.resolve().name
    if not (cache / "index.json").exists():
        return build_cache(data, cache)
    corpus = Corpus(cache)
    if corpus.origin not in ("", str(data.resolve())):
        raise InputError(
            f"{cache} was made from {corpus.origin}, not from {data}; rename one, or use the cache as data"
        )
    if corpus.found not in (None, _count(data)):
        log.warning("%s has other clips than when %s was made of it; delete that to decode them", data, cache)
    return corpus


def _end_of(clips: Sequence[Clip]) -> int:
    """Where the last of some clips ends in a file of planes, in bytes."""
    return max((clip.offset + clip.frames * clip.frame_bytes for clip in clips), default=0)


def _count(folder: Path) -> int | None:
    """How many clips a folder holds; None if it is no longer there."""
    return len(find_clips(folder)) if folder.is_dir() else None


def build_cache(folder: Path, cache: Path) -> Corpus:
    """Decode every clip of a folder into a cache folder; InputError if there is none."""
    found = find_clips(folder)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with replacing(cache / "clean.yuv") as out:
            clips = [_store(clip, out) for clip in track(found, "decoding clips", transient=True)]
        index = {
            "folder": str(folder.resolve()),
            "found": len(found),
            "clips": [asdict(clip) for clip in clips if clip],
        }
        if not index["clips"]:
            raise InputError(f"{folder}: no clip has three frames")
        # The index comes last: a cache without one is not a cache.
        with replacing(cache / "index.json") as file:
            file.write(json.dumps(index, indent=1).encode())
    except OSError as error:
        raise OutputError(f"{cache}: {error.strerror or error}") from error
    return Corpus(cache)


def _store(found: Found, out: BinaryIO) -> Clip | None:
    """Append a clip's frames to the flat file; None, and nothing appended, if there are fewer than three."""
    offset, steps = out.tell(), []
    last: Yuv420 | None = None
    for picture in read_pictures(found):
        if last is not None:
            steps.append(float(np.abs(picture.y.astype(np.int16) - last.y).mean()))
        out.write(picture.tobytes())
        last = picture
    if last is None or len(steps) < 2:
        out.truncate(out.seek(offset))
        return None
    return Clip(
        name=found.name,
        scene=found.scene,
        source=found.source,
        width=last.width,
        height=last.height,
        frames=len(steps) + 1,
        offset=offset,
        runs=[(0, len(steps))] if found.checked else find_runs(steps),
        held_out=found.held_out,
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
