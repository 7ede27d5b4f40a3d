"""Every eighth of the time: a tiny network beside repetition and blending."""

import pytest
from helpers import moving, write
from PIL import Image

from eval.any_time import Row, main
from eval.tables import read_rows


@pytest.fixture
def clips(tmp_path, monkeypatch, tiny_weights, one_thread):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    folder = tmp_path / "clips"
    folder.mkdir()
    write(folder / "a.y4m", moving(9, 64, 64))
    return folder


def test_a_run_and_its_table(tmp_path, clips, capsys):
    words = ["run", "--root", str(clips), "--models", "tiny", "--stretches", "1", "-o", str(tmp_path / "t.csv")]
    assert main(words) == 0
    rows = read_rows(tmp_path / "t.csv", Row)
    assert len(rows) == 4 * 7 and {row.frames for row in rows} == {1}
    repeated = [row.psnr for row in rows if row.method == "repetition"]
    assert repeated == sorted(repeated, reverse=True)
    by = {(row.method, row.eighths): row.psnr for row in rows}
    assert by["tiny", 4] == pytest.approx(by["tiny, halving", 4]) and by["tiny", 2] != by["tiny, halving", 2]
    before = (tmp_path / "t.csv").read_text()
    assert main(words) == 0 and (tmp_path / "t.csv").read_text() == before
    assert main(["table", str(tmp_path / "t.csv")]) == 0
    assert "| tiny, halving |" in capsys.readouterr().out


def test_too_short(tmp_path, clips, capsys):
    write(clips / "b.y4m", moving(8, 64, 64))
    assert main(["run", "--root", str(clips / "b.y4m"), "--models", "tiny", "-o", str(tmp_path / "t.csv")]) == 2
    assert "it takes 9" in capsys.readouterr().err


def test_rows_by_other_methods_and_clips_of_one_name_are_refused(tmp_path, clips, capsys):
    words = ["run", "--root", str(clips), "--stretches", "1", "-o", str(tmp_path / "t.csv"), "--models"]
    assert main([*words, "tiny"]) == 0
    assert main([*words, "small"]) == 2 and "a.y4m by other options" in capsys.readouterr().err
    for option in ("--frames", "--stretches"):
        assert main([*words, "tiny", option, "9"]) == 2 and "a.y4m by other options" in capsys.readouterr().err
    (clips / "more").mkdir()
    write(clips / "more" / "a.y4m", moving(9, 64, 64))
    assert main([*words, "tiny"]) == 2 and "are both a.y4m" in capsys.readouterr().err
    assert main([*words, "tiny", "-o", str(clips / "nowhere" / "t.csv")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words, "tiny", "--stretches", "0"])
    assert main([*words, "extrapolate", "-o", str(tmp_path / "n.csv")]) == 2
    assert "extrapolate: is made for extrapolation, not for interpolation" in capsys.readouterr().err


def test_a_strip(tmp_path, clips, capsys):
    words = ["strip", str(clips / "a.y4m"), "--models", "tiny", "--size", "40x32", "-o", str(tmp_path / "s.png")]
    assert main(words) == 0
    with Image.open(tmp_path / "s.png") as image:
        assert image.size == (7 * 43 - 3, 3 * (32 + 13 + 3) - 3)
    assert main([*words, "--at", "1"]) == 2
    assert "another --at" in capsys.readouterr().err
    for more in (["--at", "-1"], ["--size", "big"]):
        with pytest.raises(SystemExit, match="2"):
            main([*words, *more])
    assert main([*words, "-o", str(tmp_path / "s.gif")]) == 2 and "unknown suffix" in capsys.readouterr().err
