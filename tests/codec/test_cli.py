"""The command line: bad input in one line with status 2, and no file left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import BUNNY, DATA, moving, write

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
    (tmp_path / "rate.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F99999999999:1\nFRAME\n" + b"\0" * 4608)
    (tmp_path / "folder.ncm").mkdir()
    for name in ("locked", "locked.y4m"):
        (tmp_path / name).touch(0o444)
    for name in ("link.y4m", "alias.ncm"):
        (tmp_path / name).symlink_to("seq.y4m")
    (tmp_path / "twin.y4m").hardlink_to("seq.y4m")


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
    "preset": (["seq.y4m", "--anchor-preset", "warp9"], "veryslow"),
    "preset by the old option": (["seq.y4m", "--preset", "warp9"], "veryslow"),
    "two presets": (["seq.y4m", "--preset", "slow", "--anchor-preset", "slow"], "medium"),
    "crf": (["seq.y4m", "--crf", "99"], "51"),
    "crf that is none": (["seq.y4m", "--crf", "nan"], "--crf nan"),
    "crf without end": (["seq.y4m", "--crf", "1e400"], "--crf inf"),
    "huge qp": (["seq.y4m", "--qp", "9" * 400], "--qp 999"),
    "huge effort": (["seq.y4m", "--effort", "9" * 20], "--effort 999"),
    "offset without end": (["seq.y4m", "--b-offset", "inf"], "--b-offset inf"),
    "PSNR that is none": (["seq.y4m", "--target-psnr", "nan"], "--target-psnr nan"),
    "huge number of frames": (["seq.y4m", "--frames", "9" * 18], "--frames 999"),
    "huge rate": (["seq.y4m", "--maxrate", "9" * 12 + "M"], "--maxrate 999"),
    "rate of a damaged header": (["rate.y4m"], "frame rate"),
    "both qualities": (["seq.y4m", "--crf", "20", "--qp", "20"], "qp"),
    "long parameters": (["seq.y4m", "--anchor-params", "a=1:" * 99], "256"),
    "parameter": (["seq.y4m", "--anchor-params", "warp=9"], "warp"),
    "model": (["seq.y4m", "--model", "huge"], "base"),
    "model file": (["seq.y4m", "--model", "text.safetensors"], "text.safetensors"),
    "device": (["seq.y4m", "--device", "abacus"], "--device"),
    "recon": (["seq.y4m", "--recon", "x.gif"], ".gif"),
    "recon is the input": (["seq.y4m", "--recon", "link.y4m"], "same file"),
    "csv is the input": (["seq.y4m", "--csv", "./twin.y4m"], "same file"),
    "csv is the output": (["seq.y4m", "-o", "a", "--csv", "a"], "same file"),
    "recon is the csv": (["seq.y4m", "--recon", "a.mkv", "--csv", "./a.mkv"], "same file"),
    "the source is called as its output": (["alias.ncm"], "same file"),
    "read-only output": (["seq.y4m", "-o", "locked"], "--force"),
    "read-only table": (["seq.y4m", "--csv", "locked"], "--force"),
    "csv": (["seq.y4m", "--csv", "no/where.csv"], "no/where.csv"),
    "stdin without a name": (["-"], "-o"),
    "empty name": ([""], "a name is empty"),
    "empty name of the output": (["seq.y4m", "-o", ""], "a name is empty"),
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


ODD = {
    "--size": ["64", "0x48", "64x48x2", "9" * 9 + "x48"],
    "--fps": ["0", "-25", "nan", "inf", "1e400", "1e999999999", "1/0", "9" * 5000],
    "--intra-period": ["0", "-1", "1.5"],
    "--frames": ["x", "0", "-3", "9" * 5000],
    "--bitrate": ["0", "-1k", "nan", "9" * 400 + "M"],
    "--crf": ["x", ""],
}


@pytest.mark.parametrize("words", [[option, text] for option, texts in ODD.items() for text in texts])
def test_words_that_do_not_parse(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["encode", "seq.y4m", *words])
    (line,) = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2 and words[0] in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "codec: the following arguments are required: COMMAND; see codec --help"),
        (["recode"], "codec: argument COMMAND: invalid choice: 'recode'"),
        (["decode", "a.ncm", "--mode", "auto"], "codec: unrecognized arguments: --mode auto; see codec decode --help"),
        (["train", "bframe"], "required: --data; see codec train bframe --help"),
        (["info", "a.ncm", "two\nlines"], "codec: unrecognized arguments: two lines; see codec info --help"),
    ],
)
def test_wrong_words_are_one_line(words, expected, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(words)
    (line,) = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2 and line.startswith("codec: ") and expected in line


def test_decode_refusals_leave_nothing(capfd, tmp_path):
    assert (
        main(
            [
                "encode",
                "seq.y4m",
                "--mode",
                "bitfree",
                "--model",
                "tiny",
                "--anchor-preset",
                "ultrafast",
                "--no-metrics",
            ]
        )
        == 0
    )
    for words in (
        ["-o", "x.gif"],
        ["-o", "no/where.mkv"],
        ["-o", "x.mkv", "--video-codec", "warp"],
        ["-o", "seq.ncm"],
        ["-o", "locked.y4m"],
    ):
        before = set(tmp_path.rglob("*"))
        assert main(["decode", "seq.ncm", *words]) == 2
        assert set(tmp_path.rglob("*")) == before


def test_info(capsys):
    main(["encode", "seq.y4m", "--mode", "bitfree", "--model", "tiny", "--anchor-preset", "ultrafast", "--no-metrics"])
    assert main(["info", "seq.ncm"]) == 0
    out = capsys.readouterr().out
    assert "5 (1 I, 2 P, 2 B)" in out and "poc" in out and "offset" in out
    assert main(["verify", "seq.ncm"]) == 2
    assert "--hash" in capsys.readouterr().err


def test_devices_and_links_are_written_not_replaced(tmp_path):
    quick = ["--mode", "bitfree", "--model", "tiny", "--anchor-preset", "ultrafast", "--no-metrics"]
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


GOLDEN = str(DATA / "golden.ncm")
TO_A_PIPE = {
    "info": [GOLDEN],
    "decode": [GOLDEN, "-o", "-"],
    "slowmo": ["seq.y4m", "-o", "-", "--factor", "2", "--model", "tiny"],
    "encode": ["seq.y4m", "-o", "-", "--model", "tiny", "--mode", "bitfree", "--no-metrics"],
}


@pytest.mark.parametrize("name", TO_A_PIPE)
def test_a_reader_that_has_seen_enough(name, weights):
    words = [sys.executable, "-m", "codec", name, *TO_A_PIPE[name]]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert not process.stderr.read()
    assert process.returncode == 141


def test_json_has_progress_and_summary(capsys):
    words = ["encode", "seq.y4m", "--mode", "bitfree", "--model", "tiny", "--anchor-preset", "ultrafast", "--json"]
    assert main(words) == 0
    *progress, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert progress[-1] == {"event": "progress", "source": "seq.y4m", "done": 5, "total": 5}
    assert summary["event"] == "summary" and summary["output"] == "seq.ncm" and summary["frames"] == 5
    assert summary["bytes"] == Path("seq.ncm").stat().st_size and summary["frames_by_kind"] == {"I": 1, "P": 2, "B": 2}
    assert summary["psnr_rgb"] > 20 and summary["vmaf"] is None and summary["plan"] == ["IbPbP"]
    assert main([*words, "-o", "-"]) == 2
    assert "--json writes to standard output" in capsys.readouterr().err
    assert main(["encode", "nowhere.y4m", "--json"]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.count("\n") == 1
