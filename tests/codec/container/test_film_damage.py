"""Films that are damaged or cut: what is left is shown, what was lost is concealed and reported."""

import random

import pytest
from helpers import read

import codec

FRAMES = 20


@pytest.fixture(params=["mp4", "mkv"])
def film(request, plain, tmp_path):
    path = tmp_path / f"film.{request.param}"
    codec.remux(plain / "x264.ncm", path)
    return path


def decode(path):
    """(exit status, message, pictures) of decoding a file."""
    out = path.with_suffix(".y4m")
    status, message = 0, ""
    try:
        codec.decode(path, out)
    except codec.CodecError as error:
        status, message = error.exit_status, str(error)
    return status, message, [frame.picture for frame in read(out)]


def outcome(path, good):
    """What `info` finds in a file: all as it was, damage that is reported, or a line that refuses it."""
    try:
        found = codec.info(path)
    except codec.StreamError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return "refused"
    if found == good:
        return "good"
    assert found.damage and len(found.frames) <= FRAMES
    return "damaged"


def test_bit_flips(film, tmp_path):
    """Some are harmless, as in a title or in an index that is not needed; all others are found."""
    good, data, bad = codec.info(film), film.read_bytes(), tmp_path / "bad"
    outcomes = set()
    for number in range(60):
        flipped = bytearray(data)
        flipped[random.Random(number).randrange(len(data))] ^= 1 << number % 8
        bad.write_bytes(flipped)
        outcomes.add(outcome(bad, good))
    assert outcomes == {"good", "damaged", "refused"}


def test_truncations(film, tmp_path):
    good, data, bad = codec.info(film), film.read_bytes(), tmp_path / "bad"
    outcomes = set()
    for length in range(1, len(data), 151):
        bad.write_bytes(data[:length])
        outcomes.add(outcome(bad, good))
    assert outcomes >= {"damaged", "refused"}


def test_what_is_left_is_shown(film, plain, tmp_path, weights):
    """The anchors of the second segment are damaged: the first and the third are shown as they were."""
    with codec.open(film) as video:
        pictures = [frame.picture for frame in video]
    data = bytearray(film.read_bytes())
    second = [frame for frame in codec.info(plain / "x264.ncm").frames if frame.kind == "I"][1]
    anchor = (plain / "x264.ncm").read_bytes()[second.offset + 200 : second.offset + 220]
    data[data.index(anchor)] ^= 1
    film.write_bytes(data)
    status, message, shown = decode(film)
    assert status == 1 and "anchors are missing" in message and len(shown) == FRAMES
    assert shown[:7] == pictures[:7] and shown[16:] == pictures[16:] and shown[8] != pictures[8]


def test_a_damaged_stream_stays_so(plain, tmp_path, weights):
    """What is good of it is carried, and the rest is said."""
    data = bytearray((plain / "x265.ncm").read_bytes())
    frames = codec.info(plain / "x265.ncm").frames
    data[[frame for frame in frames if frame.kind == "I"][1].offset + 30] ^= 1
    (tmp_path / "bad.ncm").write_bytes(data)
    with pytest.raises(codec.DamageError, match="1 parts of it are damaged"):
        codec.remux(tmp_path / "bad.ncm", tmp_path / "bad.mp4")
    _, _, plain_shown = decode(tmp_path / "bad.ncm")
    status, message, shown = decode(tmp_path / "bad.mp4")
    assert shown == plain_shown and status == 1 and "anchors are missing" in message
