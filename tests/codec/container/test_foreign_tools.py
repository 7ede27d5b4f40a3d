"""A film with sound, subtitles and chapters through tools that know nothing of us.

NCM_FILM_SECONDS=30 python -m pytest tests/codec/container/test_foreign_tools.py -s takes a film of that length, and
prints what it measured.
"""

import os
import shutil
import subprocess
from itertools import pairwise

import pytest
from films import RATE, described, make_film, packets_of

import codec

SECONDS = int(os.environ.get("NCM_FILM_SECONDS", "3"))
SIZE = (64, 48) if SECONDS == 3 else (128, 96)
FAST = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "metrics": False}
TOOLS = {
    "ffmpeg": ("ffmpeg", "-loglevel", "error", "-i", "SRC", "-c:v", "copy", "-c:a", "copy", "-c:s", "TEXT", "DST"),
    "mkvmerge": ("mkvmerge", "-q", "-o", "DST", "SRC"),
    "MP4Box": ("MP4Box", "-quiet", "-add", "SRC", "-new", "DST"),
}
WAYS = {
    ".mp4": ("ffmpeg:a.mkv", "mkvmerge:b.mkv", "ffmpeg:c.mp4", "ffmpeg:d.mkv"),
    ".mkv": ("mkvmerge:a.mkv", "ffmpeg:b.mp4", "ffmpeg:c.mkv", "mkvmerge:d.mkv"),  # which takes no text of an .mp4
}
if shutil.which("MP4Box"):
    WAYS |= {".m4v": ("MP4Box:a.mp4", "ffmpeg:b.mkv")}


def through(tool, src, dst):
    """Have a tool copy a film."""
    names = {"SRC": str(src), "DST": str(dst), "TEXT": "mov_text" if dst.suffix == ".mp4" else "srt"}
    subprocess.run([names.get(word, word) for word in TOOLS[tool]], check=True)


@pytest.mark.parametrize("suffix", WAYS)
def test_pictures_and_sound_are_the_same(tmp_path, weights, suffix):
    missing = {step.split(":")[0] for step in WAYS[suffix] if shutil.which(step.split(":")[0]) is None}
    if missing:
        pytest.skip(f"{', '.join(sorted(missing))} not installed")
    src = make_film(tmp_path / "src.mkv", SECONDS * RATE, *SIZE, layout="stereo")
    films = [tmp_path / f"coded{suffix}", *(tmp_path / step.split(":")[1] for step in WAYS[suffix])]
    codec.encode(src, films[0], **FAST)
    for step, (before, after) in zip(WAYS[suffix], pairwise(films), strict=True):
        through(step.split(":")[0], before, after)
    for path in films:
        codec.remux(path, path.with_suffix(".ncm"))
        assert path.with_suffix(".ncm").read_bytes() == films[0].with_suffix(".ncm").read_bytes()
    frames = codec.decode(films[-1], tmp_path / "full.mkv")
    codec.decode(films[0].with_suffix(".ncm"), tmp_path / "plain.mkv")
    pictures = packets_of(tmp_path / "full.mkv", "video")
    assert frames == SECONDS * RATE == len(pictures) and pictures == packets_of(tmp_path / "plain.mkv", "video")
    sound, late = packets_of(src, "audio"), {}
    for path in (*films, tmp_path / "full.mkv"):
        found = packets_of(path, "audio")
        assert [data for _, data in found] == [data for _, data in sound]
        late[path.name] = max(abs(time - (number - 1) * 1024 / 48) for number, (time, _) in enumerate(found))
        assert [time for time, _ in packets_of(path, "subtitle")] == [100, 400]
        assert [title for _, _, title in described(path)[1]] == ["one", "two"]
    print(f"{suffix}: {frames} frames and {len(sound)} packets of sound are equal; out of step, in ms:", late)
    # Each mkvmerge sets times of its own, up to 2 ms off; we add no more than a tick of Matroska to what we are given.
    assert late[films[0].name] <= 1 and late["full.mkv"] <= late[films[-1].name] + 1 and max(late.values()) < 4
