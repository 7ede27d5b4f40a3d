"""The frontier of BD-rate and time: means over sequences that all codecs share, and who is beaten by nobody."""

import math
from dataclasses import replace

import pytest

from eval import tables
from eval.frontier import frontier, text_table
from eval.rd_curves import main
from eval.rows import Row, table_of

TIMES = {"x265": (33.0, 3.3), "slow": (66.0, 3.3), "ncm-auto@x265": (330.0, 33.0), "wasteful": (660.0, 0.33)}

BITS = {"x265": 1.0, "slow": 0.9, "ncm-auto@x265": 0.81, "wasteful": 1.2}


def timed():
    """Rows of 33 frames, four rates of two sequences; each codec takes so many times the bits of x265."""
    points = [(0.05, 30.0), (0.1, 33.0), (0.2, 35.5), (0.4, 38.0)]
    return [
        Row(sequence, name, crf, 33, 1000, BITS[name] * bpp, psnr, psnr, psnr, 0.9, psnr, *TIMES[name], "x")
        for sequence in ("a", "b")
        for name in BITS
        for crf, (bpp, psnr) in enumerate(points)
    ]


def test_codecs_by_rate_and_time():
    points = frontier(table_of(timed()), "x265", "psnr_rgb").set_index("codec")
    assert points.bd_rate.to_dict() == pytest.approx({"x265": 0, "slow": -10, "ncm-auto@x265": -19, "wasteful": 20})
    assert points.encode.to_dict() == pytest.approx({name: times[0] / 33 for name, times in TIMES.items()})
    assert points.decode.to_dict() == pytest.approx({name: times[1] / 33 for name, times in TIMES.items()})
    assert set(points.index[points.encode_best]) == {"x265", "slow", "ncm-auto@x265"}
    assert set(points.index[points.decode_best]) == {"slow", "ncm-auto@x265", "wasteful"}


def test_only_sequences_that_all_codecs_have_count():
    rows = [row for row in timed() if (row.sequence, row.codec) != ("b", "slow")]
    rows = [replace(row, encode_seconds=9e9) if row.sequence == "b" else row for row in rows]
    assert frontier(table_of(rows), "x265", "psnr_rgb").encode.max() == pytest.approx(20)


def test_times_that_are_not_known_are_no_best(tmp_path, capsys):
    rows = [replace(row, decode_seconds=math.nan) if row.codec == "slow" else row for row in timed()]
    tables.write_rows(tmp_path / "r.csv", rows)
    assert main(["frontier", str(tmp_path / "r.csv")]) == 0
    assert "| slow | -10.0 % | **2.000** | - |" in capsys.readouterr().out


def test_table_and_figure(tmp_path, capsys):
    tables.write_rows(tmp_path / "r.csv", timed())
    assert main(["frontier", str(tmp_path / "r.csv"), "-o", str(tmp_path / "figures")]) == 0
    text = capsys.readouterr().out
    assert "| x265 | +0.0 % | **1.000** | 0.100 |" in text and "| ncm-auto@x265 | -19.0 % | **10.000** |" in text
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "frontier-psnr_rgb.pdf",
        "frontier-psnr_rgb.png",
    ]
    points = frontier(table_of(timed()), "x265", "psnr_rgb")
    assert list(text_table(points, "x265", "psnr_rgb").codec) == ["x265", "slow", "ncm-auto@x265", "wasteful"]


def test_nothing_to_compare(tmp_path, capsys):
    tables.write_rows(tmp_path / "r.csv", timed())
    assert main(["frontier", str(tmp_path / "r.csv"), "--measure", "vmaf"]) == 2
    assert "no sequence where every codec can be compared with 'x265'" in capsys.readouterr().err
