# SPDX-License-Identifier: MIT
"""The test sequences of the literature, and how they are found in a folder; other folders are classes of their own.

Names, sizes, rates and lengths of HEVC classes B to E: HM's `cfg/per-sequence`, as in the common test conditions
(JCTVC-L1100); UVG: Mercat 2020, "UVG dataset", the seven of 2017 at 1080p; MCL-JCV: Wang 2016, five seconds each.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import codec

SUFFIXES = (".yuv", ".y4m", ".mkv", ".mp4", ".webm", ".mov", ".avi")
SIZE = re.compile(r"(\d{2,5})x(\d{2,5})", re.IGNORECASE)
DEPTH = re.compile(r"10-?b|10le|p10", re.IGNORECASE)  # of a file name: more than the 8 bit of all that we know


@dataclass(frozen=True)
class KnownSequence:
    """A sequence of the literature: 4:2:0, 8 bit. `aliases` are further names of its files."""

    group: str
    name: str
    width: int
    height: int
    fps: int
    frames: int
    aliases: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name in tables, such as BasketballPass_416x240_50."""
        return f"{self.name}_{self.width}x{self.height}_{self.fps}"

    @property
    def frame_bytes(self) -> int:
        """Bytes of a picture in a .yuv file."""
        return self.width * self.height * 3 // 2


@dataclass(frozen=True)
class Clip:
    """A video to be measured: its file, its name and class in tables, and what it is if it is known."""

    path: Path
    title: str
    group: str
    known: KnownSequence | None = None

    @property
    def raw(self) -> KnownSequence | None:
        """What a .yuv file of a known sequence holds, whatever its name says; None for all others."""
        return self.known if self.path.suffix.lower() == ".yuv" else None

    def open(self) -> codec.VideoSource:
        """The source. InputError if it cannot be read."""
        if self.raw is None:
            return codec.open_source(self.path)
        size, rate = (self.raw.width, self.raw.height), Fraction(self.raw.fps)
        return codec.open_source(self.path, size=size, frame_rate=rate, pixel_format="yuv420p")

    def note(self) -> str:
        """What is unusual about the length of a raw file; empty if nothing is."""
        if self.raw is None:
            return ""
        frames = self.path.stat().st_size // self.raw.frame_bytes
        return "" if frames == self.raw.frames else f"{frames} of {self.raw.frames} frames"


def _known() -> Iterator[KnownSequence]:
    for name, fps, frames in (
        ("BQTerrace", 60, 600),
        ("BasketballDrive", 50, 500),
        ("Cactus", 50, 500),
        ("Kimono1", 24, 240),
        ("ParkScene", 24, 240),
    ):
        yield KnownSequence("HEVC-B", name, 1920, 1080, fps, frames, ("Kimono",) if name == "Kimono1" else ())
    for name, fps in (("BQMall", 60), ("BasketballDrill", 50), ("PartyScene", 50), ("RaceHorses", 30)):
        yield KnownSequence("HEVC-C", name, 832, 480, fps, 10 * fps, (f"{name}C",) if name == "RaceHorses" else ())
    for name, fps in (("BQSquare", 60), ("BasketballPass", 50), ("BlowingBubbles", 50), ("RaceHorses", 30)):
        yield KnownSequence("HEVC-D", name, 416, 240, fps, 10 * fps, (f"{name}D",) if name == "RaceHorses" else ())
    for name in ("FourPeople", "Johnny", "KristenAndSara"):
        yield KnownSequence("HEVC-E", name, 1280, 720, 60, 600)
    for name in ("Beauty", "Bosphorus", "HoneyBee", "Jockey", "ReadySteadyGo", "ShakeNDry", "YachtRide"):
        aliases = {"ReadySteadyGo": ("ReadySetGo",)}.get(name, ())
        yield KnownSequence("UVG", name, 1920, 1080, 120, 300 if name == "ShakeNDry" else 600, aliases)
    rates = {24: (17, 21, 22, 23, 24, 25, 29), 25: (5, 6, 7, 8, 9, 18, 20)}
    fps_of = {number: fps for fps, numbers in rates.items() for number in numbers}
    for number in range(1, 31):
        fps = fps_of.get(number, 30)
        yield KnownSequence("MCL-JCV", f"videoSRC{number:02}", 1920, 1080, fps, 5 * fps)


KNOWN = tuple(_known())


def find(folder: Path) -> list[Clip]:
    """The videos of a folder and of those in it, or one video, in order of class and name.

    InputError if there are none, if two are called the same, or if the size of a known one's file cannot be right.
    """
    clips = [_clip(path) for path in videos(folder)]
    order = {known: number for number, known in enumerate(KNOWN)}
    clips.sort(key=lambda clip: (order.get(clip.known, len(order)) if clip.known else len(order), clip.group))
    taken: dict[str, Path] = {}
    for clip in clips:
        if clip.title in taken:
            raise codec.InputError(f"{taken[clip.title]} and {clip.path} are both {clip.title}; keep one of them")
        taken[clip.title] = clip.path
    return clips


def videos(folder: Path) -> list[Path]:
    """The video files in a folder and those in it, in order of path. InputError if there are none."""
    found = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if _is_video(p))
    if not found:
        raise codec.InputError(f"{folder}: no videos there ({', '.join(SUFFIXES)}); give a folder that holds some")
    if lost := next((path for path in found if not path.exists()), None):
        raise codec.InputError(f"{lost}: is a link to nowhere; mend it, or take it out")
    return found


def distinct(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths, if no two files have one name. InputError: rows of results tell clips apart by it."""
    taken: dict[str, Path] = {}
    for path in paths:
        if other := taken.get(path.name):
            raise codec.InputError(f"{other} and {path} are both {path.name}; rename one")
        taken[path.name] = path
    return paths


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and (path.is_file() or not path.exists())


def missing(clips: Iterable[Clip]) -> dict[str, list[str]]:
    """By class of the literature of which something was found, what was not."""
    found = {clip.known for clip in clips if clip.known}
    groups = dict.fromkeys(known.group for known in KNOWN if known in found)
    lacking = {group: [k.title for k in KNOWN if k.group == group and k not in found] for group in groups}
    return {group: titles for group, titles in lacking.items() if titles}


def _clip(path: Path) -> Clip:
    known = identify(path)
    if known is None or not _has_its_size(path, known):
        return Clip(path, path.name, path.resolve().parent.name)
    if path.suffix.lower() == ".yuv" and (path.stat().st_size % known.frame_bytes or not path.stat().st_size):
        raise codec.InputError(
            f"{path}: {path.stat().st_size} bytes are no whole number of {known.width}x{known.height} 8-bit frames of "
            f"{known.frame_bytes} bytes; it is cut off or not {known.title}: fetch it again, or rename it"
        )
    return Clip(path, known.title, known.group, known)


def _has_its_size(path: Path, known: KnownSequence) -> bool:
    """Whether a file that may tell its size tells the right one: a scaled copy is another sequence."""
    if path.suffix.lower() == ".yuv":
        return True
    with codec.open_source(path) as source:
        return (source.info.width, source.info.height) == (known.width, known.height)


def identify(path: Path) -> KnownSequence | None:
    """The known sequence that a file is by its name, and by its size where the name leaves a choice; else None.

    InputError if a choice is left.
    """
    named = [known for known in KNOWN if _is_named(path.stem, known)]
    if len(named) < 2:
        return named[0] if named else None
    whole = [known for known in named if path.stat().st_size == known.frames * known.frame_bytes]
    if len(whole) != 1:
        choices = " or ".join(known.title for known in named)
        raise codec.InputError(f"{path}: its name may mean {choices}; rename it so")
    return whole[0]


def _is_named(stem: str, known: KnownSequence) -> bool:
    """BasketballPass, basketballpass_416x240_50, BasketballPass_416x240_50fps_8bit; no other size or depth."""
    rest = None
    for name in (known.name, *known.aliases):
        if match := re.fullmatch(rf"{name}(|[_\-. ].*)", stem, re.IGNORECASE):
            rest = match[1]
    if rest is None or DEPTH.search(rest):
        return False
    size = SIZE.search(rest)
    return size is None or (int(size[1]), int(size[2])) == (known.width, known.height)


def listing(clips: Sequence[Clip]) -> str:
    """A line a video, and a line a class of what is missing."""
    lines = [f"{clip.group:10} {clip.title:32} {clip.path}  {clip.note()}".rstrip() for clip in clips]
    return "\n".join([*lines, *(f"{group}: missing {', '.join(titles)}" for group, titles in missing(clips).items())])
