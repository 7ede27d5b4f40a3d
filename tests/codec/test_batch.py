"""Folders and lists of files: the tree is kept, what is done is skipped, what fails does not stop the rest."""

import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from films import make_film
from helpers import moving, write

from codec.batch import Job, Outcome, run_jobs, table
from codec.cli import main
from codec.progress import quiet
from codec.progress_bar import progress_bar

FAST = ["--mode", "bitfree", "--model", "tiny", "--anchor-preset", "ultrafast", "--no-metrics"]


@pytest.fixture(autouse=True)
def weights(monkeypatch, tiny_weights):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))


@pytest.fixture
def tree(tmp_path):
    """A folder with two videos, one of them deeper, a broken one, and files that are none."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    write(folder / "a.y4m", moving(3))
    write(folder / "deep" / "b.y4m", moving(2))
    (folder / "bad.y4m").write_bytes(b"no video")
    (folder / "notes.txt").touch()
    (folder / ".a.y4m.part").touch()
    return folder


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_to_and_fro(tree, tmp_path, capsys):
    out, back = tmp_path / "out", tmp_path / "back"
    assert main(["encode", str(tree), "--output-dir", str(out), *FAST]) == 2
    *lines, sums = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["done", "failed", "done"]
    assert "bad.y4m" in lines[1] and "3 frames" in lines[0] and sums == "2 done, 1 failed"
    assert files_of(out) == ["a.ncm", "deep/b.ncm"]
    written = (out / "a.ncm").stat().st_mtime_ns
    (tree / "bad.y4m").unlink()
    later = (out / "deep" / "b.ncm").stat().st_mtime + 10
    os.utime(tree / "deep" / "b.y4m", (later, later))  # newer than its stream, whatever the clock's steps
    assert main(["encode", str(tree), "--output-dir", str(out), *FAST]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 skipped, 1 done"
    assert (out / "a.ncm").stat().st_mtime_ns == written
    data = bytearray((out / "a.ncm").read_bytes())
    data[-3] ^= 1  # of the index
    (out / "a.ncm").write_bytes(data)
    assert main(["decode", str(out), "--output-dir", str(back)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 damaged, 1 done"
    assert files_of(back) == ["a.mkv", "deep/b.mkv"]


def test_lists_of_files(tree, tmp_path, capsys):
    clips = [str(tree / "a.y4m"), str(write(tmp_path / "a.y4m", moving(2))), str(write(tmp_path / "c.y4m", moving(1)))]
    out = tmp_path / "out"
    assert main(["encode", *clips[1:], "--output-dir", str(out), *FAST]) == 0
    assert files_of(out) == ["a.ncm", "c.ncm"]
    assert main(["encode", *clips, "--output-dir", str(out), *FAST]) == 2
    assert "two inputs would be written there" in capsys.readouterr().err


def test_links_to_nowhere_fail_and_do_not_vanish(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.mkv", "b.ncm", "notes.txt"):
        (folder / name).symlink_to("nowhere")
    for command, *options in (["encode", *FAST], ["decode"]):
        assert main([command, str(folder), "--output-dir", str(out), *options]) == 2
        *lines, sums = capsys.readouterr().out.splitlines()
        assert sums.endswith("failed") and all("failed" in line for line in lines)
    assert len(lines) == 2 and files_of(out) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_may_not_be_read_is_said(tree, tmp_path, capsys):
    (tree / "bad.y4m").unlink()
    (tree / "deep").chmod(0)
    try:
        assert main(["encode", str(tree), "--output-dir", str(tmp_path / "out"), *FAST]) == 0
    finally:
        (tree / "deep").chmod(0o700)
    assert "deep: cannot be read (Permission denied); what is in it is left out" in capsys.readouterr().err


def test_a_link_to_a_folder_is_said_and_not_followed(tree, tmp_path, capsys):
    out = tmp_path / "out"
    (tree / "bad.y4m").unlink()
    (tree / "deep" / "back").symlink_to(tree)
    assert main(["encode", str(tree), "--output-dir", str(out), *FAST]) == 0
    assert "back: is a link to a folder; it is left out, so give it by name" in capsys.readouterr().err
    assert files_of(out) == ["a.ncm", "deep/b.ncm"]


@pytest.mark.parametrize("words", [[], ["-o", "x.ncm", "--output-dir", "y"], ["--output-dir", "y", "--dry-run"]])
def test_what_is_refused(tree, words, capsys):
    assert main(["encode", str(tree), *words, *FAST]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_of_images_says_how_to_give_them(tmp_path, capsys):
    (tmp_path / "a001.png").touch()
    assert main(["encode", str(tmp_path), "--output-dir", str(tmp_path / "out"), *FAST]) == 2
    assert "numbered images are one video, given as shot_%04d.png" in capsys.readouterr().err


def test_two_kinds_of_one_name(tmp_path, tree):
    (tree / "deep" / "b.y4m").rename(tree / "a.mkv.y4m")
    (tree / "a.yuv").write_bytes(b"")
    from codec.batch import jobs_of
    from codec.encoder.command import videos

    names = [job.dst.name for job in jobs_of([tree], "out", videos("x265"))]
    assert names == ["a.mkv.ncm", "a.y4m.ncm", "a.yuv.ncm", "bad.ncm"]


def test_films_become_films(tmp_path, capsys):
    """A film of ours among the sources is not coded again, and is decoded whatever it is called."""
    folder, out, back = tmp_path / "in", tmp_path / "out", tmp_path / "back"
    folder.mkdir()
    make_film(folder / "a.mp4", 3)
    make_film(folder / "b.mkv", 3)
    words = ["encode", str(folder), "--output-dir", str(out), *FAST]
    assert main(words) == 0
    assert files_of(out) == ["a.ncm.mp4", "b.ncm.mkv"]
    shutil.copy(out / "a.ncm.mp4", folder / "c.mp4")
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 skipped"
    shutil.copy(out / "a.ncm.mp4", out / "c.mp4")
    make_film(out / "d.mp4", 3)
    assert main(["decode", str(out), "--output-dir", str(back)]) == 0
    assert files_of(back) == ["a.mkv", "b.mkv", "c.mkv"]
    assert main(["decode", str(out), "--output-dir", str(out)]) == 2
    assert "may be its source" in capsys.readouterr().err


def test_json_of_a_folder(tree, tmp_path, capsys):
    words = ["encode", str(tree), "--output-dir", str(tmp_path / "out"), "--json", *FAST]
    assert main(words) == 2
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [(item["event"], item["source"]) for item in found if item["event"] != "progress"]
    assert events == [
        ("summary", str(tree / "a.y4m")),
        ("failed", str(tree / "bad.y4m")),
        ("summary", str(tree / "deep" / "b.y4m")),
    ]
    assert "bad.y4m" in next(item["error"] for item in found if item["event"] == "failed")
    (tree / "bad.y4m").unlink()
    assert main(words) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["event"] for item in found] == ["skipped", "skipped"]


def test_an_output_that_is_the_source_or_a_folder_is_not_done(tmp_path, capsys):
    film, other = tmp_path / "film.mkv", write(tmp_path / "b.y4m", moving(1))
    film.write_bytes(b"no film")
    (tmp_path / "out" / "b.mkv").mkdir(parents=True)
    jobs = [Job(film, film), Job(other, tmp_path / "out" / "b.mkv")]
    outcomes = list(run_jobs(jobs, lambda *_: "worked on", lambda _: nullcontext(quiet)))
    assert [(outcome.what, outcome.note) for outcome in outcomes] == [("done", "worked on")] * 2


def test_a_fault_of_ours_in_one_file_does_not_stop_the_rest(tmp_path):
    def work(job, progress):
        if job.src.name == "a":
            raise KeyError("depth")
        return ""

    jobs = [Job(tmp_path / name, tmp_path / f"{name}.o") for name in "ab"]
    outcomes = list(run_jobs(jobs, work, lambda _: nullcontext(quiet)))
    assert [outcome.what for outcome in outcomes] == ["failed", "done"] and "this is a bug" in outcomes[0].note


def test_no_name_steers_the_terminal_or_breaks_the_table(tmp_path):
    names = ["\x1b[31m\nx", os.fsdecode(b"b\xff"), "[/x] {0}{b}"]
    outcomes = [Outcome(Job(Path(name), Path("o")), "failed", f"{name}: is none") for name in names]
    lines = table(outcomes).splitlines()
    assert len(lines) == 4 and "".join(lines).isprintable() and "".join(lines).encode()
    with progress_bar(names[2]) as progress:
        progress(1, 2)
