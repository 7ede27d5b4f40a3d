"""Laws of BD-rate, and a run from video to table."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import moving, write

import codec
from eval import bdtable, tables
from eval.bdrate import bd_quality, bd_rate, rate_at
from eval.codecs import CodecName, rates_of
from eval.curves import average, curves
from eval.plots import AVERAGE
from eval.rd_curves import main
from eval.reference import published
from eval.rows import Row, read_frames, read_rows, table_of
from eval.runs import stream_name

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


@pytest.mark.parametrize("method", ["akima", "pchip"])
def test_bd_quality_laws(method):
    """Of a curve with itself 0; of one half a dB better 0.5; there and back again; fewer bits are better quality."""
    assert bd_quality(curve(), curve(), method=method) == pytest.approx(0, abs=1e-9)
    assert bd_quality(curve(), curve(1, 0.5), method=method) == pytest.approx(0.5)
    there, back = bd_quality(curve(), curve(1.3), method=method), bd_quality(curve(1.3), curve(), method=method)
    assert there == pytest.approx(-back) and there < 0


def test_overlap_is_reported():
    result = bd_rate(curve(), curve(1, 4))
    assert (result.low, result.high) == (34, 38) and result.overlap == pytest.approx(4 / 12)
    with pytest.raises(ValueError, match="share no quality"):
        bd_rate(curve(), curve(1, 20))
    with pytest.raises(ValueError, match="four points"):
        bd_rate(curve()[:3], curve())


def row(sequence, codec, crf, bpp, quality, group=""):
    values = (33, 1000, bpp, quality, quality, quality, 0.9, math.nan, 1.0, 1.0, "x", group)
    return Row(sequence, codec, crf, *values)


def results(names=("x265", "ncm-bitfree@x265"), groups=(("a.mkv", ""),), factor=0.9):
    """Every codec needs `factor` of the rate of the one before it."""
    return [
        row(sequence, name, number, factor**n * rate, quality, group)
        for sequence, group in groups
        for n, name in enumerate(names)
        for number, (rate, quality) in enumerate(curve())
    ]


def test_table_of_means():
    rows = table_of(results())
    pairs = bdtable.references(rows.codec, None)
    assert pairs == bdtable.references(rows.codec, "x265") == {"ncm-bitfree@x265": "x265"}
    text = tables.markdown(bdtable.overview(bdtable.compare(rows, pairs, "psnr_rgb"), pairs))
    assert "| a.mkv | -10.0 % |" in text and "| **mean** | -10.0 % |" in text and "| **mean curve** | -10.0 % |" in text
    with pytest.raises(codec.InputError, match="no rows"):
        bdtable.references(["x265"], "hm")


def test_classes_have_their_own_means(tmp_path, capsys):
    rows = results(groups=(("a", "HEVC-B"), ("b", "HEVC-B"), ("c", "HEVC-D")))
    tables.write_rows(tmp_path / "r.csv", rows)
    assert main(["table", str(tmp_path / "r.csv")]) == 0
    text = capsys.readouterr().out
    for line in ("HEVC-B: mean", "HEVC-B: mean curve", "HEVC-D: mean", "mean of all sequences"):
        assert f"| **{line}** | -10.0 % |" in text
    assert text.count("30.00 to 38.00 | 1.00 |") == 5
    savings = rate_at(curve(), 32)
    assert f"| HEVC-B | ncm-bitfree@x265 | x265 | {savings:.4f} -> {0.9 * savings:.4f} bpp (-10.0 %)" in text
    assert main(["table", str(tmp_path / "r.csv"), "-o", str(tmp_path / "bd")]) == 0
    latex = (tmp_path / "bd" / "bd-psnr_rgb.tex").read_text()
    assert r"a & -10.0 \% \\" in latex and r"\textbf{HEVC-D: mean} & -10.0 \% \\" in latex
    found = tables.read_rows(tmp_path / "bd" / "bd-psnr_rgb.csv", bdtable.Comparison)
    assert all(c.bd_rate_akima == pytest.approx(-10) == c.bd_rate_pchip and c.bd_quality_akima > 0 for c in found)
    assert "-10.0 %" in (tmp_path / "bd" / "bd-psnr_rgb.md").read_text()


def test_a_table_of_chosen_codecs(tmp_path, capsys):
    tables.write_rows(tmp_path / "r.csv", results(("x265", "x265:ibpb", "ncm-bitneed@x265")))
    words = ["table", str(tmp_path / "r.csv"), "--codecs", "ncm-bitneed@x265", "x265:ibpb", "--reference"]
    assert main([*words, "x265:ibpb"]) == 0
    text = capsys.readouterr().out
    assert "| sequence | ncm-bitneed@x265 against x265:ibpb |" in text and "-10.0 %" in text
    assert main([*words, "x265"]) == 2 and "no rows of it" in capsys.readouterr().err


def test_a_small_overlap_is_warned_of(tmp_path, capsys):
    rows = results() + [row("a.mkv", "ncm-auto@x265", n, r, q + 5) for n, (r, q) in enumerate(curve())]
    tables.write_rows(tmp_path / "r.csv", rows)
    assert main(["table", str(tmp_path / "r.csv")]) == 0
    out, err = capsys.readouterr()
    assert "ncm-auto@x265 against x265: the curves share 23%" in err and "ncm-bitfree" not in err
    assert "0.23*" in out


def test_rate_at():
    assert rate_at(curve(), 33) == pytest.approx(0.1) and rate_at(curve(), 29) is None and rate_at(curve(), 39) is None
    assert 0.05 < rate_at(curve(), 32) < 0.1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x265", "--anchor x265 --mode bitfree --gop fixed:1"),
        ("x265:ibpb", "--anchor x265 --mode bitfree --gop fixed:1 --anchor-params bframes=1:b-adapt=0:b-pyramid=0"),
        ("hm:ibpb", "--anchor hm --mode bitfree --gop fixed:1 --anchor-preset ibpb"),
        (
            "x265:ibpb:slow",
            "--anchor x265 --mode bitfree --gop fixed:1 --anchor-preset slow "
            "--anchor-params bframes=1:b-adapt=0:b-pyramid=0",
        ),
        ("x265:tune=ssim:me=star", "--anchor x265 --mode bitfree --gop fixed:1 --anchor-params tune=ssim:me=star"),
        ("ncm-auto:ms-ssim@x265:tune=ssim", "--anchor x265 --mode auto --tune ms-ssim --anchor-params tune=ssim"),
        ("ncm-bitfree@x265", "--anchor x265 --mode bitfree --gop ibpb"),
        ("ncm-bitneed:fast:filtered@x265", "--anchor x265 --mode bitneed --gop ibpb --preset fast --postfilter"),
        ("ncm-bitneed:fixed8:filtered@x265", "--anchor x265 --mode bitneed --gop fixed:8 --postfilter"),
        ("ncm-bitneed:4@hm:ra", "--anchor hm --mode bitneed --gop ibpb --effort 4 --anchor-preset ra"),
        ("ncm-auto@x265", "--anchor x265 --mode auto"),
        ("ncm-auto:ms-ssim@x265", "--anchor x265 --mode auto --tune ms-ssim"),
        ("ncm-auto:ms-ssim:plain@x265", "--anchor x265 --mode auto --tune ms-ssim --no-postfilter"),
        ("ncm-bitneed:filtered@hm:ldp", "--anchor hm --mode bitneed --gop ibpb --postfilter --anchor-preset ldp"),
        (
            "svtav1:filtered-ncm:9",
            "--anchor svtav1 --mode bitfree --gop fixed:1 --postfilter --neighbours neighbour-ncm --anchor-preset 9",
        ),
        (
            "ncm-auto:filtered-ncm@x265",
            "--anchor x265 --mode auto --postfilter --neighbours neighbour-ncm",
        ),
        ("svtav1:filtered:9", "--anchor svtav1 --mode bitfree --gop fixed:1 --postfilter --anchor-preset 9"),
        ("ncm-auto:2:ms-ssim@hm:ra", "--anchor hm --mode auto --effort 2 --tune ms-ssim --anchor-preset ra"),
    ],
)
def test_codec_names(name, words):
    parsed = CodecName.parse(name)
    assert parsed.words() == words.split()
    assert parsed.alone == name.rpartition("@")[2]


def test_rates():
    names = [CodecName.parse(name) for name in ("x265", "own", "ncm-auto@svtav1")]
    found = {name.name: rates for name, rates in rates_of(names, ["x265=crf:20,30.5", "own=qp:1,2,3,4"]).items()}
    assert (
        found["x265"] == ("crf", (20, 30.5)) and found["own"].option == "qp" and len(found["ncm-auto@svtav1"][1]) == 4
    )
    for text in ("x265", "x265=cq:1", "x265=crf:", "x265=crf:1,,2", "x265=crf:30,30.0", "x266=crf:30"):
        with pytest.raises(codec.InputError, match="--rates"):
            rates_of(names[:1], [text])


def test_a_run_is_resumed_and_measured_from_files(tmp_path, monkeypatch, tiny_weights, capsys):
    """What was measured before a failure stays; what is left is done in processes; other settings are refused."""
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    folder = tmp_path / "clips"
    folder.mkdir()
    write(folder / "seq.y4m", moving(5, 96, 64))
    out = tmp_path / "results.csv"
    words = ["run", "--sequences", folder, "--preset", "ultrafast", "--model", "tiny", "--rates", "x265=crf:30"]
    words = [*map(str, (*words, "--rgb", "bt601", "--keep", tmp_path / "streams", "-o", out)), "--codecs", "x265"]
    (folder / "tail.y4m").touch()
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "codec encode" in err and "tail.y4m" in err and len(err.splitlines()) == 1
    (folder / "tail.y4m").unlink()
    assert [row.codec for row in read_rows(out)] == ["x265"]
    words += ["ncm-bitfree@x265"]
    assert main([*words, "--jobs", "2"]) == 0
    rows, frames = read_rows(out), read_frames(out)
    assert sorted((r.codec, r.crf) for r in rows) == [("ncm-bitfree@x265", 30), ("x265", 30)]
    for one in rows:
        stream = tmp_path / "streams" / stream_name(*one.key)
        assert one.bytes == stream.stat().st_size and one.bpp * 96 * 64 * 5 == pytest.approx(one.bytes * 8)
        own = [frame for frame in frames if frame.key == one.key]
        bits = sum(frame.bits for frame in own)
        assert [frame.poc for frame in own] == list(range(5)) and bits <= 8 * one.bytes
        by_kind = {kind: [f.bits for f in own if f.kind == kind] for kind in "IPB"}
        for kind, found in by_kind.items():
            value = getattr(one, f"bpp_{kind.lower()}")
            assert math.isnan(value) if not found else value * 96 * 64 * len(found) == pytest.approx(sum(found))
        assert 20 < one.psnr_rgb < 60 and math.isnan(one.psnr_rgb_b) == (one.codec == "x265")
        assert one.psnr_yuv == pytest.approx((6 * one.psnr_y + one.psnr_u + one.psnr_v) / 8)
        assert one.sequence_class == "clips" and one.rgb == "bt601" and one.frames == 5 and one.width == 96
        assert one.encode_seconds > 0 and one.decode_seconds > 0 and min(one.encode_memory, one.decode_memory) > 50
        assert one.command.startswith("codec encode seq.y4m --anchor x265") and str(tmp_path) not in one.command
        assert "torch" in one.versions and "x265 libavcodec" in one.versions and "threads" in one.machine
    text = out.read_text()
    assert main(words) == 0 and out.read_text() == text
    assert main([*words, "--frames", "3"]) == 2 and out.read_text() == text


def test_the_results_in_the_repository_can_be_read():
    folder = Path(__file__).parents[2] / "docs" / "results"
    for name in ("val", "same-order", "four-clips", "auto", "whole", "filter", "frontier"):
        rows = read_rows(folder / f"{name}.csv")
        assert rows and all(row.frames > 0 for row in rows)


def test_refusals(tmp_path, capsys):
    assert main(["run", "--sequences", str(tmp_path), "--codecs", "x265", "-o", str(tmp_path / "r.csv")]) == 2
    (tmp_path / "a.y4m").touch()
    assert main(["run", "--sequences", str(tmp_path), "--codecs", "h264", "-o", str(tmp_path / "r.csv")]) == 2
    assert "no videos there" in (err := capsys.readouterr().err) and "'h264'" in err
    assert main(["run", "--sequences", str(tmp_path), "--codecs", "ncm-@x", "-o", str(tmp_path / "r.csv")]) == 2


def test_what_cannot_work_is_said_before_anything_is_measured(tmp_path, capsys):
    write(tmp_path / "a.y4m", moving(2))
    (tmp_path / "file").touch()
    words = ["run", "--sequences", str(tmp_path), "-o", str(tmp_path / "r.csv"), "--codecs", "x265"]
    cases = {
        "'foo' is not a mode": ["ncm-foo@x265"],
        "'x265:nonsense': x265 has no preset": ["x265:nonsense"],
        "two presets": ["x265:fast:slow"],
        "x265 has no crf 99": ["--rates", "x265=crf:20,99"],
        "whole number": ["--rates", "x265=qp:20.5"],
        "has no preset 'no'": ["--preset", "no"],
        "'own' is unknown": ["own", "--rates", "own=qp:1"],
        "no folder for output": ["--keep", str(tmp_path / "file" / "keep")],
        "there is no folder": ["-o", str(tmp_path / "nowhere" / "r.csv")],
        "is a directory": ["-o", str(tmp_path)],
    }
    for text, more in cases.items():
        assert main([*words, *more]) == 2
        err = capsys.readouterr().err
        assert text in err and len(err.splitlines()) == 1
    for option in ("--frames", "--intra-period", "--jobs"):
        with pytest.raises(SystemExit, match="2"):
            main([*words, option, "0"])
    assert not list(tmp_path.glob("*.csv"))


def test_it_runs_as_a_script():
    script = Path(__file__).parents[2] / "eval" / "rd_curves.py"
    result = subprocess.run([sys.executable, script, "--help"], capture_output=True, cwd="/")
    assert result.returncode == 0 and b"rd_curves.py" in result.stdout


def test_plot(tmp_path, capsys):
    """Curves rise with the rate, the average is of sequences that all codecs have, files are pictures."""
    rows = [
        row(f"{s}.mkv", name, n, f * rate, q, group)
        for s, names, group in (("a", "xy", "HEVC-B"), ("b", "xy", "HEVC-D"), ("c", "x", "HEVC-D"))
        for name, f in zip(names, (1, 0.9), strict=False)
        for n, (rate, q) in reversed(list(enumerate(curve())))
    ]
    assert [point.bpp for point in curves(table_of(rows), "a.mkv", "psnr_rgb")["x"]] == list(RATES)
    assert average(table_of(rows), "psnr_rgb")["y"][0] == pytest.approx((0.9 * RATES[0], QUALITIES[0]))
    tables.write_rows(tmp_path / "r.csv", rows)
    words = ["plot", str(tmp_path / "r.csv"), "-o", str(tmp_path / "figures")]
    assert main(words) == 0
    names = {f"{title}.{suffix}" for title in ("HEVC-B", "HEVC-D", AVERAGE) for suffix in ("png", "pdf")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert (tmp_path / "figures" / "HEVC-D.png").read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == 6
    tables.write_rows(tmp_path / "one.csv", [r for r in rows if r.sequence == "c.mkv"])
    assert main(["plot", str(tmp_path / "one.csv"), "--each", "-o", str(tmp_path / "one")]) == 0
    assert {path.stem for path in (tmp_path / "one").iterdir()} == {"HEVC-D", "c"}
    assert main(["plot", str(tmp_path / "r.csv"), "--codecs", "z", "-o", str(tmp_path)]) == 2
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert main(["plot", str(tmp_path / "bad.csv"), "-o", str(tmp_path)]) == 2


def test_published_points_belong_to_whole_classes():
    hevc = {f"HEVC-{letter}" for letter in "BCDE"}
    assert {entry.codec for entry in published(hevc, "ms_ssim")} == {"TCM", "bit-free on TCM"}
    assert [entry.codec for entry in published({"UVG"}, "psnr_rgb")] == ["LHBDC"]
    assert not published({"HEVC-B"}, "psnr_rgb") and not published({"UVG"}, "ms_ssim")


def test_files_of_results(tmp_path, capsys):
    """Columns that lack take defaults, unknown ones are skipped, numbers stay exact; errors are a line."""
    rows = [replace(r, crf=float(r.crf), bpp=r.bpp / 3, settings='a, "b"', rgb="NA", frames=7) for r in results()]
    tables.write_rows(tmp_path / "r.csv", rows)
    assert repr(read_rows(tmp_path / "r.csv")) == repr(rows)
    lines = (tmp_path / "r.csv").read_text().splitlines()
    head, *old = (",".join(["more", *line.replace('"a, ""b"""', "a").split(",")[:14]]) for line in lines)
    (tmp_path / "old.csv").write_text("\n".join([head, *old]))
    assert repr(read_rows(tmp_path / "old.csv")) == repr([replace(r, settings="a", rgb="") for r in rows])
    (tmp_path / "other.csv").write_text("\n".join(lines).replace(",7,", ",8,"))
    words = ["table", str(tmp_path / "r.csv"), str(tmp_path / "r.csv")]
    assert main(words) == 0 and main([*words, str(tmp_path / "other.csv")]) == 2
    assert "two different rows of x265 at 0 of a.mkv" in capsys.readouterr().err
    lacking = f"{head.replace('bpp', 'b')}\n{old[0]}"
    for text in ("", "a,b\n1,2\n", lacking, f"{head}\n{old[0].replace(',7,', ',x,')}", f'{head}\n"'):
        (tmp_path / "bad.csv").write_text(text)
        assert main(["table", str(tmp_path / "bad.csv")]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and "bad.csv: no results file" in err
    (tmp_path / "bad.csv").write_text("clip,method,psnr\na,b,1\n")
    assert main(["table", str(tmp_path / "bad.csv")]) == 2 and "lacks the columns sequence" in capsys.readouterr().err
    (tmp_path / "bad.csv").write_text(lines[0])
    for command in (["table"], ["frontier"], ["plot", "-o", str(tmp_path)], ["report", "-o", str(tmp_path / "r.html")]):
        assert main([command[0], str(tmp_path / "bad.csv"), *command[1:]]) == 2
        assert "no rows in it" in capsys.readouterr().err
