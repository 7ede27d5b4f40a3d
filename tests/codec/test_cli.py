"""The command line: bad input in one line with status 2, and no file left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import BUNNY, moving, write

from codec.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "seq.y4m", moving(5))
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mkv").write_text("not a video at all\n" * 100)
    (tmp_path / "bare.yuv").write_bytes(b"\0" * 4608)
    (tmp_path / "odd_64x48_25.yuv").write_bytes(b"\0" * 5000)
    (tmp_path / "folder.ncm").mkdir()


BAD = {
    "missing file": (["nowhere.mp4"], "nowhere.mp4"),
    "empty file": (["empty.mp4"], "empty.mp4"),
    "not a video": (["text.mkv"], "text.mkv"),
    "unknown size": (["bare.yuv"], "--size"),
    "size that does not divide": (["odd_64x48_25.yuv"], "5000"),
    "output is a folder": (["seq.y4m", "-o", "folder.ncm"], "folder.ncm"),
    "output folder missing": (["seq.y4m", "-o", "no/where.ncm"], "no/where.ncm"),
    "output is the input": (["seq.y4m", "-o", "seq.y4m"], "same file"),
    "mode": (["seq.y4m", "--mode", "bitneed"], "only predicts; --mode bitneed needs"),
    "effort": (["seq.y4m", "--effort", "-1"], "--effort -1"),
    "unknown mode": (["seq.y4m", "--mode", "fast"], "bitfree"),
    "gop": (["seq.y4m", "--gop", "fixed:3"], "fixed:4"),
    "anchor": (["seq.y4m", "--anchor", "x256"], "x265"),
    "preset": (["seq.y4m", "--preset", "warp9"], "veryslow"),
    "crf": (["seq.y4m", "--crf", "99"], "51"),
    "both qualities": (["seq.y4m", "--crf", "20", "--qp", "20"], "qp"),
    "long parameters": (["seq.y4m", "--anchor-params", "a=1:" * 99], "256"),
    "parameter": (["seq.y4m", "--anchor-params", "warp=9"], "warp"),
    "model": (["seq.y4m", "--model", "huge"], "base"),
    "model file": (["seq.y4m", "--model", "text.safetensors"], "text.safetensors"),
    "device": (["seq.y4m", "--device", "abacus"], "--device"),
    "recon": (["seq.y4m", "--recon", "x.gif"], ".gif"),
    "csv": (["seq.y4m", "--csv", "no/where.csv"], "no/where.csv"),
    "stdin without a name": (["-"], "-o"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, capfd, tmp_path):
    words, expected = BAD[case]
    before = set(tmp_path.rglob("*"))
    status = main(
        ["encode", "--mode", "bitfree", "--model", "tiny", *words] if "--model" not in words else ["encode", *words]
    )
    out, err = capfd.readouterr()
    assert status == 2 and out == ""
    assert err.startswith("codec: ") and err.count("\n") == 1 and expected in err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [["--size", "64"], ["--fps", "0"], ["--intra-period", "0"], ["--frames", "x"]])
def test_words_that_do_not_parse(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["encode", "seq.y4m", *words])
    assert exit_.value.code == 2 and words[1] in capsys.readouterr().err


def test_decode_refusals_leave_nothing(capfd, tmp_path):
    assert (
        main(["encode", "seq.y4m", "--mode", "bitfree", "--model", "tiny", "--preset", "ultrafast", "--no-metrics"])
        == 0
    )
    for words in (["-o", "x.gif"], ["-o", "no/where.mkv"], ["-o", "x.mkv", "--video-codec", "warp"]):
        before = set(tmp_path.rglob("*"))
        assert main(["decode", "seq.ncm", *words]) == 2
        assert set(tmp_path.rglob("*")) == before


def test_info(capsys):
    main(["encode", "seq.y4m", "--mode", "bitfree", "--model", "tiny", "--preset", "ultrafast", "--no-metrics"])
    assert main(["info", "seq.ncm"]) == 0
    out = capsys.readouterr().out
    assert "5 (1 I, 2 P, 2 B)" in out and "poc" in out and "offset" in out
    assert main(["verify", "seq.ncm"]) == 2
    assert "--hash" in capsys.readouterr().err


def test_devices_and_links_are_written_not_replaced(tmp_path):
    quick = ["--mode", "bitfree", "--model", "tiny", "--preset", "ultrafast", "--no-metrics"]
    assert main(["encode", "seq.y4m", "-o", "/dev/null", *quick]) == 0
    assert not Path("/dev/null").is_file()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.ncm").symlink_to(tmp_path / "elsewhere" / "real.ncm")
    assert main(["encode", "seq.y4m", "-o", "link.ncm", *quick]) == 0
    assert (tmp_path / "link.ncm").is_symlink() and (tmp_path / "elsewhere" / "real.ncm").stat().st_size > 100


def test_interrupted(tmp_path):
    """Ctrl-C in the middle of encoding leaves the folder as it was, and says so in one line."""
    before = set(tmp_path.rglob("*"))
    process = subprocess.Popen(
        [sys.executable, "-m", "codec", "encode", BUNNY, "-o", "b.ncm", "--recon", "b.mkv"],
        stderr=subprocess.PIPE,
        # Shells start jobs in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".b.mkv.*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.count(b"\n") == 1 and b"interrupted" in err, err
    assert set(tmp_path.rglob("*")) == before


def test_a_closed_pipe_is_no_traceback(tmp_path):
    main(["encode", "seq.y4m", "--mode", "bitfree", "--model", "tiny", "--preset", "ultrafast", "--no-metrics"])
    process = subprocess.Popen(
        [sys.executable, "-m", "codec.cli", "info", "seq.ncm"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    err = process.stderr.read()
    process.wait()
    process.stderr.close()
    assert b"Traceback" not in err
