"""What is read of Matroska beside FFmpeg: cropping."""

import shutil
import subprocess

import pytest
from films import make_film

import codec
from codec.video.matroska import CROPPING, EBML, SEGMENT, TRACK, TRACKS, VIDEO, cropping

SIDES = {side: number for number, side in CROPPING.items()}


def element(number, content, size=None):
    """Bytes of an element, its size in eight bytes."""
    size = len(content) if size is None else size
    return number.to_bytes((number.bit_length() + 7) // 8) + (size | 1 << 56).to_bytes(8) + content


def track(**sides):
    return element(TRACK, element(VIDEO, b"".join(element(SIDES[side], bytes([n])) for side, n in sides.items())))


def film(*tracks, size=None):
    return element(EBML, b"") + element(SEGMENT, element(0xEC, bytes(9)) + element(TRACKS, b"".join(tracks)), size)


UNKNOWN = (1 << 56) - 1


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (film(track()), {}),
        (film(track(top=8, left=2)), {"top": 8, "left": 2}),
        (film(track(top=0), track(bottom=4, right=0), size=UNKNOWN), {"bottom": 4}),
        (film(track(top=8))[:-3], {}),
        (b"", {}),
        (b"\0" * 50, {}),
    ],
)
def test_cropping(tmp_path, data, found):
    (tmp_path / "a.mkv").write_bytes(data)
    assert cropping(tmp_path / "a.mkv") == found


@pytest.mark.skipif(not shutil.which("mkvmerge"), reason="needs mkvmerge")
def test_cropping_of_a_film_is_said(tmp_path):
    src = make_film(tmp_path / "whole.mp4", 3)
    subprocess.run(["mkvmerge", "-q", "-o", tmp_path / "a.mkv", "--cropping", "0:2,8,0,4", src], check=True)
    with codec.open_source(tmp_path / "a.mkv") as source:
        assert any("cropping (" in note and "8 at the top" in note and "2 at the left" in note for note in source.notes)
