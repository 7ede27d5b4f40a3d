# SPDX-License-Identifier: MIT
"""What a data folder holds: videos, folders of numbered images, or Vimeo-90k as it is downloaded.

Whatever the files are, training sees 8-bit limited-range 4:2:0 planes, because the codec never sees anything else.
A video is reformatted to them. The RGB of a PNG becomes such planes by our own `rgb_to_yuv`, so half of its chroma
resolution is gone before training starts: figures for RGB data sets are not comparable with those of RGB training.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch

from ..errors import InputError
from ..video.colour import rgb_to_yuv
from ..video.picture import Colour, Yuv420, crop

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".y4m", ".m4v")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VIMEO_KINDS = {"tri": 3, "sep": 7}  # the lists' prefix, and how many pictures a sequence has
VIMEO_TEST_STEP = 16  # every 16th sequence of the test list steers training (236 of 3,782 triplets)


class Found(NamedTuple):
    """A clip before it is decoded."""

    name: str
    scene: str  # clips of one scene are never split between training and validation
    source: str  # the collection it comes from
    paths: list[Path]  # one video, or the images in order
    held_out: bool | None = None  # whether it validates; None: the scene's name decides
    checked: bool = False  # without cuts and repeated frames, as its makers say


def find_clips(folder: Path) -> list[Found]:
    """All clips of a folder; InputError if there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of clips")
    clips = _vimeo90k(folder) or [*_videos(folder), *_image_folders(folder)]
    if not clips:
        suffixes = ", ".join(VIDEO_SUFFIXES)
        raise InputError(f"{folder} holds no clips ({suffixes}, folders of numbered images, or Vimeo-90k)")
    labels = _read_manifest(folder)
    return [_labelled(clip, labels) for clip in clips]


def read_pictures(clip: Found) -> Iterator[Yuv420]:
    """The clip's frames as 8-bit limited-range planes of even size, up to the first change of size."""
    frames = (frame for path in clip.paths for frame in _decode(path))
    size = None
    for frame in frames:
        size = size or (frame.width, frame.height)
        if (frame.width, frame.height) != size:
            return
        is_video = clip.paths[0].suffix.lower() in VIDEO_SUFFIXES
        picture = _planes_of(frame) if is_video else _planes_of_rgb(frame)
        yield crop(picture, size[0] // 2 * 2, size[1] // 2 * 2)


def _videos(folder: Path) -> list[Found]:
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
    return [Found(p.name, p.stem, p.stem, [p]) for p in paths]


def _image_folders(folder: Path) -> list[Found]:
    """Every folder below with three images and more whose names end in a number; the topmost folder is the source."""
    by_folder: dict[Path, list[tuple[str, int, Path]]] = {}
    for path in folder.rglob("*"):
        match = re.fullmatch(r"(.*?)(\d+)", path.stem)
        if path.suffix.lower() in IMAGE_SUFFIXES and match:
            by_folder.setdefault(path.parent.relative_to(folder), []).append((match[1], int(match[2]), path))
    clips = []
    for place, images in sorted(by_folder.items()):
        name = place.as_posix() if place.parts else folder.name
        if len(images) >= 3:
            clips.append(Found(name, name, Path(name).parts[0], [path for _, _, path in sorted(images)]))
    return clips


def _vimeo90k(folder: Path) -> list[Found]:
    """The clips of Vimeo-90k: its training list, and part of its test list to validate on.

    The list is empty if the folder is something else.
    """
    for kind, length in VIMEO_KINDS.items():
        lists = [folder / f"{kind}_{part}list.txt" for part in ("train", "test")]
        if lists[0].is_file():
            train, test = (_text(path).split() if path.is_file() else [] for path in lists)
            chosen = [*((name, False) for name in train), *((name, True) for name in test[::VIMEO_TEST_STEP])]
            return [_vimeo_clip(folder, name, length, held_out=held_out) for name, held_out in chosen]
    return []


def _vimeo_clip(folder: Path, name: str, length: int, *, held_out: bool) -> Found:
    """The clip of one sequence of Vimeo-90k, of `length` PNG pictures.

    Each is a scene of its own, so that all are drawn equally often, as in the paper.
    """
    paths = [folder / "sequences" / name / f"im{number}.png" for number in range(1, length + 1)]
    return Found(name, name, "vimeo-90k", paths, held_out, checked=True)


def _labelled(clip: Found, labels: dict[str, tuple[str, str]]) -> Found:
    scene, source = labels.get(Path(clip.name).name, (clip.scene, clip.source))
    return clip._replace(scene=scene, source=source)


def _read_manifest(folder: Path) -> dict[str, tuple[str, str]]:
    """(scene, source) by file name out of the manifest.csv in or above a folder, if there is one.

    A source written as owner/repository@commit:path counts as owner/repository.
    """
    for path in (folder / "manifest.csv", folder.parent / "manifest.csv"):
        if path.is_file():
            rows = list(csv.DictReader(_text(path).splitlines()))
            if not {"file", "scene", "source"} <= set(rows[0] if rows else ()):
                raise InputError(f"{path} has no columns file, scene and source; add them, or remove the file")
            short = [number for number, row in enumerate(rows, 2) if row["scene"] is None or row["source"] is None]
            if short:
                raise InputError(f"{path}: line {short[0]} is cut off; write file, scene and source")
            return {Path(r["file"]).name: (r["scene"], r["source"].split("@")[0]) for r in rows}
    return {}


def _text(path: Path) -> str:
    """A list of clips. InputError if it cannot be read as text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no list of clips ({error}); write it in UTF-8") from error


def _decode(path: Path) -> Iterator[av.VideoFrame]:
    try:
        # Opened here, because the library would take a % in a name for a pattern.
        with path.open("rb") as file, av.open(file, "r") as container:
            yield from container.decode(video=0)
    except (OSError, av.FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be decoded ({reason}); fetch it again, or take it out") from error


def _planes_of(frame: av.VideoFrame) -> Yuv420:
    """The planes of a video frame as 8-bit limited-range 4:2:0, without the padding at the end of each line."""
    frame = frame.reformat(format="yuv420p", dst_color_range="MPEG")
    planes = [
        np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width]  # type: ignore[call-overload]
        for p in frame.planes
    ]
    return Yuv420(*planes)


def _planes_of_rgb(frame: av.VideoFrame) -> Yuv420:
    """The planes of an RGB image as 8-bit limited-range 4:2:0, by the codec's own conversion.

    An odd last row or column is left out.
    """
    rgb = frame.to_ndarray(format="rgb24")[: frame.height // 2 * 2, : frame.width // 2 * 2]
    tensor = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
    return rgb_to_yuv(tensor / 255, Colour(), 8)
