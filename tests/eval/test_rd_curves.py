"""Laws of BD-rate, and a run from video to table."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import moving, write

from eval import tables
from eval.bdrate import bd_rate
from eval.plots import AVERAGE, average, curves
from eval.rd_curves import Row, bd_table, main, read_rows

RATES, QUALITIES = (0.05, 0.1, 0.2, 0.4), (30.0, 33.0, 35.5, 38.0)


def curve(factor=1.0, shift=0.0):
    return [(rate * factor, quality + shift) for rate, quality in zip(RATES, QUALITIES, strict=True)]


@pytest.mark.parametrize("method", ["akima", "pchip"])
def test_bd_rate_laws(method):
    """Of a curve with itself 0; of 1.1 x the rate +10 %; there and back again; better quality is fewer bits."""
    assert bd_rate(curve(), curve(), method=method).percent == pytest.approx(0, abs=1e-9)
    assert bd_rate(curve(), curve(1.1), method=method).percent == pytest.approx(10)
    there, back = (bd_rate(a, b, method=method).percent for a, b in ((curve(), curve(1.3)), (curve(1.3), curve())))
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1)
    assert bd_rate(curve(), curve(1, 0.5), method=method).percent < 0
    assert bd_rate(list(reversed(curve())), curve(1.1), method=method).percent == pytest.approx(10)


def test_overlap_is_reported():
    result = bd_rate(curve(), curve(1, 4))
    assert (result.low, result.high) == (34, 38) and result.overlap == pytest.approx(4 / 12)
    with pytest.raises(ValueError, match="share no quality"):
        bd_rate(curve(), curve(1, 20))
    with pytest.raises(ValueError, match="four points"):
        bd_rate(curve()[:3], curve())


def row(sequence, codec, crf, bpp, quality):
    return Row(sequence, codec, crf, 33, 1000, bpp, quality, quality, quality, 0.9, math.nan, 1.0, 1.0, "x")


def test_table():
    rows = [row("a.mkv", "x265", n, rate, quality) for n, (rate, quality) in enumerate(curve())]
    rows += [row("a.mkv", "ncm-bitfree@x265", n, rate, quality) for n, (rate, quality) in enumerate(curve(0.9))]
    text = bd_table(rows, "x265", "psnr_rgb")
    assert "| a.mkv | -10.0 % |" in text and "| **mean** | -10.0 % |" in text
    assert bd_table(rows, None, "psnr_rgb") == text


def test_a_run_is_resumed_and_measured_from_files(tmp_path, monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    folder = tmp_path / "clips"
    folder.mkdir()
    write(folder / "seq.y4m", moving(5, 96, 64))
    out = tmp_path / "results.csv"
    words = ["run", "--sequences", folder, "--codecs", "ncm-bitfree@x265", "x265", "--preset", "ultrafast", "-o", out]
    words = [str(word) for word in (*words, "--model", "tiny")]
    assert main(words) == 0
    rows = read_rows(out)
    assert [(r.codec, r.crf) for r in rows] == [(c, q) for c in ("ncm-bitfree@x265", "x265") for q in (18, 23, 28, 33)]
    for one in rows:
        assert one.bpp * 96 * 64 * 5 == pytest.approx(one.bytes * 8) and one.frames == 5
        assert 20 < one.psnr_rgb < 60 and math.isnan(one.psnr_rgb_b) == (one.codec == "x265")
    text = out.read_text()
    assert main(words) == 0 and out.read_text() == text
    assert main(["table", str(out), "--reference", "x265"]) == 0


def test_refusals(tmp_path, capsys):
    assert main(["run", "--sequences", str(tmp_path), "--codecs", "x265", "-o", str(tmp_path / "r.csv")]) == 2
    (tmp_path / "a.y4m").touch()
    assert main(["run", "--sequences", str(tmp_path), "--codecs", "h264", "-o", str(tmp_path / "r.csv")]) == 2
    assert "no videos there" in (err := capsys.readouterr().err) and "'h264'" in err


def test_it_runs_as_a_script():
    script = Path(__file__).parents[2] / "eval" / "rd_curves.py"
    result = subprocess.run([sys.executable, script, "--help"], capture_output=True, cwd="/")
    assert result.returncode == 0 and b"rd_curves.py" in result.stdout


def test_plot(tmp_path, capsys):
    """Curves rise with the rate, the average is of sequences that all codecs have, files are pictures."""
    rows = [
        row(f"{s}.mkv", name, n, f * rate, q)
        for s, names in (("a", "xy"), ("b", "xy"), ("c", "x"))
        for name, f in zip(names, (1, 0.9), strict=False)
        for n, (rate, q) in reversed(list(enumerate(curve())))
    ]
    assert [point.bpp for point in curves(rows, "a.mkv", "psnr_rgb")["x"]] == list(RATES)
    assert average(rows, "psnr_rgb")["y"][0] == pytest.approx((0.9 * RATES[0], QUALITIES[0]))
    tables.write_rows(tmp_path / "r.csv", rows)
    assert main(["plot", str(tmp_path / "r.csv"), "-o", str(tmp_path / "figures")]) == 0
    names = {f"{title}.{suffix}" for title in ("a", "b", "c", AVERAGE) for suffix in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert (tmp_path / "figures" / "a.png").read_bytes().startswith(b"\x89PNG") and len(capsys.readouterr().out) > 0
    assert main(["plot", str(tmp_path / "r.csv"), "--codecs", "z", "-o", str(tmp_path)]) == 2
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert main(["plot", str(tmp_path / "bad.csv"), "-o", str(tmp_path)]) == 2
