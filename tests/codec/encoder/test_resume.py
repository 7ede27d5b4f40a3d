"""An encode that stopped goes on where it was, and ends in the same stream."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import moving, write

import codec
from codec.bframe.coder import BFrameCoder

FINE = {"model": "small-bframe", "qp": 12, "anchor_preset": "ultrafast", "intra_period": 4, "hashes": True}


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


@pytest.fixture
def src(tmp_path):
    return write(tmp_path / "seq.y4m", moving(14, 66, 50, step=3))


class Stopped(BaseException):
    """As Ctrl-C is."""


def stop_at(frames):
    def progress(done, total):
        if done >= frames:
            raise Stopped

    return progress


def stopped(src, dst, **settings):
    """What an encode leaves that is stopped at its ninth frame."""
    with pytest.raises(Stopped):
        codec.encode(src, dst, resume=True, progress=stop_at(9), **FINE | settings)
    assert not dst.exists()
    return dst.with_name(f"{dst.name}.resume")


@pytest.fixture
def written(monkeypatch):
    """The POCs of the B-frames that are coded, one after another."""
    pocs = []
    write_one = BFrameCoder.write
    monkeypatch.setattr(BFrameCoder, "write", lambda self, wanted: pocs.append(wanted.poc) or write_one(self, wanted))
    return pocs


@pytest.mark.parametrize(("mode", "recon"), [("bitneed", False), ("bitneed", True), ("auto", False)])
def test_the_stream_is_that_of_an_encode_that_never_stopped(tmp_path, src, written, mode, recon):
    whole, cut = tmp_path / "whole.ncm", tmp_path / "cut.ncm"
    pictures = {"recon": tmp_path / "recon.yuv"} if recon else {}
    expected = codec.encode(src, whole, mode=mode, workers=1, **FINE)
    written.clear()
    kept = stopped(src, cut, mode=mode, workers=1)
    before = set(written)
    written.clear()
    assert codec.encode(src, cut, mode=mode, resume=True, workers=1, **pictures, **FINE).csv() == expected.csv()
    assert cut.read_bytes() == whole.read_bytes()
    assert min(before) < 4 and all(poc >= 4 for poc in written)
    assert not kept.exists()
    if recon:
        codec.decode(whole, tmp_path / "dec.yuv")
        assert (tmp_path / "dec.yuv").read_bytes() == pictures["recon"].read_bytes()


def test_filtered_anchors_and_films_go_on_too(tmp_path, src):
    how = {"mode": "bitfree", "model": "small-filtered", "neighbours": "small-neighbour", "postfilter": True}
    whole, cut = tmp_path / "whole.ncm.mkv", tmp_path / "cut.ncm.mkv"
    codec.encode(src, whole, workers=1, **FINE | how)
    stopped(src, cut, workers=1, **how)
    codec.encode(src, cut, workers=1, resume=True, **FINE | how)
    for film in (whole, cut):
        codec.remux(film, film.with_suffix(".ncm"))
    assert cut.with_suffix(".ncm").read_bytes() == whole.with_suffix(".ncm").read_bytes()


WRONG_ROWS = ('"rows"', '"lines"'), ('"poc"', '"picture"')  # names, and others in their place


def test_another_encode_is_refused_and_so_is_damage(tmp_path, src):
    cut = tmp_path / "cut.ncm"
    kept = stopped(src, cut, mode="bitneed", workers=1)
    with pytest.raises(codec.InputError, match=r"cut.ncm.resume: .* \(--mode, .*remove this folder"):
        codec.encode(src, cut, mode="bitfree", resume=True, **FINE)
    with pytest.raises(codec.InputError, match=r"the number of threads"):
        codec.encode(src, cut, mode="bitneed", workers=0, resume=True, **FINE)
    os.utime(src, (1, 1))
    with pytest.raises(codec.InputError, match=r"the source"):
        codec.encode(src, cut, mode="bitneed", resume=True, **FINE)
    kept = stopped(src, tmp_path / "other.ncm", mode="bitneed", workers=1)
    rows = (kept / "rows.jsonl").read_text()
    for name, wrong in (("about.json", "[]"), *(("rows.jsonl", rows.replace(*pair)) for pair in WRONG_ROWS)):
        text = (kept / name).read_text()
        (kept / name).write_text(wrong)
        with pytest.raises(codec.InputError, match=r"other.ncm.resume: is damaged"):
            codec.encode(src, tmp_path / "other.ncm", mode="bitneed", workers=1, resume=True, **FINE)
        (kept / name).write_text(text)
    with (kept / "rows.jsonl").open("a") as rows:
        rows.write('{"stop": 1')  # a line that was being written
    data = bytearray((kept / "segments").read_bytes())
    data[-100] ^= 1
    (kept / "segments").write_bytes(data)
    with pytest.raises(codec.InputError, match=r"other.ncm.resume: is damaged"):
        codec.encode(src, tmp_path / "other.ncm", mode="bitneed", workers=1, resume=True, **FINE)


def test_an_encode_that_fails_at_once_leaves_nothing(tmp_path):
    (tmp_path / "empty.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F25:1 C420\n")
    with pytest.raises(codec.CodecError):
        codec.encode(tmp_path / "empty.y4m", resume=True, **FINE)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.y4m"]


def lines_in(path):
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


@pytest.mark.parametrize(("mode", "workers"), [("bitneed", 1), ("auto", 2)])
def test_a_killed_command_goes_on(tmp_path, mode, workers):
    src = write(tmp_path / "seq.y4m", moving(20, 66, 50, step=3))
    cut, whole = tmp_path / "cut.ncm", tmp_path / "whole.ncm"
    words = ["encode", src, "--mode", mode, "--model", "small-bframe", "--qp", 12, "--intra-period", 4, "--resume"]
    words += ["--workers", workers, "--no-metrics", "-o", cut]
    with subprocess.Popen([sys.executable, "-m", "codec.cli", *map(str, words)]) as command:
        while command.poll() is None and lines_in(tmp_path / "cut.ncm.resume" / "rows.jsonl") < 2:
            time.sleep(0.01)
        command.kill()
    assert command.returncode == -signal.SIGKILL
    settings = {"mode": mode, "model": "small-bframe", "qp": 12, "intra_period": 4, "metrics": False, "workers": 1}
    done = []
    codec.encode(src, cut, resume=True, progress=lambda now, _: done.append(now), **settings)
    codec.encode(src, whole, **settings)
    assert done[0] >= 3 and done[-1] == 20  # what was kept counts at once
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "settings",
    [{"bitrate": 100_000}, {"target_psnr": 30.0}, {"dry_run": True}, {"vmaf": True}],
    ids=lambda given: next(iter(given)),
)
def test_what_cannot_be_resumed(settings):
    with pytest.raises(codec.InputError, match="--resume"):
        codec.EncodeSettings(resume=True, **settings)


def test_pipes_cannot_be_resumed(src):
    with pytest.raises(codec.InputError, match=r"--resume .* pipes"):
        codec.encode(src, "-", resume=True)
