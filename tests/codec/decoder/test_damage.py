"""Damaged streams: what is left is shown, what was lost is concealed and reported, nothing else is ever raised."""

import random
import re

import pytest
from helpers import command, moving, write

import codec
from codec.video.reader import open_source

FRAMES = 20


@pytest.fixture
def stream(tmp_path, monkeypatch, tiny_weights):
    """A stream of three segments, with hashes, and the pictures it shows."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    src = write(tmp_path / "seq.y4m", moving(FRAMES))
    codec.encode(src, mode="bitfree", model="tiny", preset="ultrafast", intra_period=8, metrics=False, hashes=True)
    path = tmp_path / "seq.ncm"
    with codec.open(path) as video:
        return path, [frame.picture for frame in video]


def decode(path):
    """(exit status, message, pictures by number) of decoding a file."""
    out = path.with_suffix(".y4m")
    out.unlink(missing_ok=True)
    status, message = 0, ""
    try:
        codec.decode(path, out)
    except codec.CodecError as err:
        status, message = err.exit_status, str(err)
    if not out.exists():
        return status, message, []
    with open_source(out) as source:
        return status, message, [frame.picture for frame in source]


def test_bit_flips(stream, tmp_path):
    """Any flipped bit: refused at once (header), or all pictures with those of other segments intact and a report."""
    path, pictures = stream
    data = path.read_bytes()
    bad = tmp_path / "bad.ncm"
    for _ in range(60):
        position, bit = random.Random(_).randrange(len(data)), _ % 8
        flipped = bytearray(data)
        flipped[position] ^= 1 << bit
        bad.write_bytes(flipped)
        status, message, shown = decode(bad)
        assert status in (1, 2) and message.startswith(str(bad)) and "\n" not in message, position
        if status == 1:
            missing = re.search(r"(\d+) frames are missing", message)  # at the end, where nothing is invented
            assert len(shown) + int(missing[1] if missing else 0) == FRAMES, position
            assert sum(a == b for a, b in zip(shown, pictures, strict=False)) >= 4, position
        else:
            assert not shown and not list(tmp_path.glob(".*.part"))


def test_truncations(stream, tmp_path):
    path, _ = stream
    data = path.read_bytes()
    bad = tmp_path / "bad.ncm"
    for length in range(0, len(data), 97):
        bad.write_bytes(data[:length])
        status, message, shown = decode(bad)
        assert status in (1, 2) and message.startswith(str(bad)), length
        assert len(shown) <= FRAMES
        if status == 1:
            assert "cut short" in message or shown


def test_a_lost_anchor_conceals_up_to_the_next_segment(stream, tmp_path):
    path, pictures = stream
    info = codec.info(path)
    second = [frame for frame in info.frames if frame.kind == "I"][1]
    data = bytearray(path.read_bytes())
    data[second.offset + 20] ^= 255
    bad = tmp_path / "bad.ncm"
    bad.write_bytes(data)
    status, message, shown = decode(bad)
    assert status == 1 and "frame " in message
    intact = [number for number, (a, b) in enumerate(zip(shown, pictures, strict=True)) if a == b]
    assert set(range(7)) <= set(intact) and set(range(16, FRAMES)) <= set(intact) and 8 not in intact


def with_wrong_hash(path, poc):
    """The stream with a hash that the picture of this POC cannot have."""
    import io

    from codec.bitstream.reader import StreamReader
    from codec.bitstream.writer import StreamWriter

    reader = StreamReader(io.BytesIO(path.read_bytes()))
    bad = path.with_name("bad.ncm")
    with bad.open("wb") as file:
        writer = StreamWriter(file, reader.header)
        for unit in reader.units():
            hashes = zip(unit.segment.pocs, unit.hashes, strict=True)
            unit.hashes = tuple(b"x" * 8 if number == poc else own for number, own in hashes)
            writer.write(unit)
        writer.finish()
    return bad


def test_wrong_anchors_are_found_by_their_hashes(stream):
    """A decoder that shows other anchors than the encoder saw is caught, with the frame's number."""
    path, _ = stream
    assert codec.verify(path) == FRAMES
    with pytest.raises(codec.DamageError, match="frame 10: differs"):
        codec.verify(with_wrong_hash(path, 10))


def test_a_bframe_from_right_bytes_and_anchors_is_no_damage(stream, caplog):
    """Networks round differently on another machine: no hash can tell one level from more, but the bytes are good."""
    path, _ = stream
    bad = with_wrong_hash(path, 9)
    assert codec.verify(bad) == FRAMES and "1 of 20 frames" in caplog.text and "no damage" in caplog.text
    result = command("verify", bad)
    assert result.returncode == 0 and b"rounding" in result.stderr and result.stderr.count(b"\n") == 1
    assert decode(bad)[0] == 0


def test_exit_statuses_and_one_line(stream, tmp_path):
    path, _ = stream
    data = path.read_bytes()
    bad = tmp_path / "bad.ncm"
    for content, status, words in (
        (b"", 2, b"empty"),
        (b"hello, world", 2, b"not an .ncm stream"),
        (data[:4] + b"\x63" + data[5:], 2, b"version 99"),
        (data[: len(data) // 2], 1, b"cut short"),
    ):
        bad.write_bytes(content)
        for name in ("decode", "verify"):
            result = command(name, bad)
            assert result.returncode == status and words in result.stderr, result.stderr
            assert result.stderr.count(b"\n") == 1 and result.stderr.startswith(b"codec: " + str(bad).encode())


def test_a_model_that_is_not_here(stream, monkeypatch):
    path, _ = stream
    monkeypatch.delenv("NCM_WEIGHTS")
    with pytest.raises(codec.ModelError, match=r"'tiny', fingerprint [0-9a-f]{16}, is needed and not.*NCM_WEIGHTS"):
        codec.decode(path)
    assert not path.with_suffix(".dec.yuv").exists()
