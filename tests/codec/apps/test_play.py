"""`codec play`: what a player is given, and how the command ends when the player does."""

import json
import os
import shutil
import sys

import pytest
from films import make_film
from helpers import DATA, read

import codec
from codec.cli import main

GOLDEN = DATA / "golden.ncm"
FAST = {"mode": "bitfree", "model": "tiny", "anchor_preset": "ultrafast", "intra_period": 8, "metrics": False}
PLAYER = """#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
(folder / "got.json").write_text(json.dumps(sys.argv[1:]))
(folder / "got.y4m").write_bytes(sys.stdin.buffer.read({limit}))
sys.exit({status})
"""


@pytest.fixture
def player(tmp_path, monkeypatch, weights):
    """Puts a player that writes what it gets on a PATH that has no other."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def install(name, limit=-1, status=0):
        path = tmp_path / "bin" / name
        path.write_text(PLAYER.format(python=sys.executable, folder=str(tmp_path), limit=limit, status=status))
        path.chmod(0o755)
        return tmp_path

    return install


@pytest.fixture
def film(tmp_path, weights):
    codec.encode(make_film(tmp_path / "in.mkv", 20), tmp_path / "out.mkv", **FAST)
    return tmp_path / "out.mkv"


def test_a_stream(player):
    folder = player("mpv")
    assert main(["play", str(GOLDEN)]) == 0
    assert read(folder / "got.y4m") == read(GOLDEN.with_suffix(".y4m"))
    assert json.loads((folder / "got.json").read_text()) == [f"--force-media-title={GOLDEN}", "--cache=yes", "-"]


def test_a_film_from_a_place(player, film):
    """Its sound and subtitles begin as much earlier."""
    folder = player("mpv")
    assert main(["play", str(film), "--from", "5f", "--workers", "1"]) == 0
    given = json.loads((folder / "got.json").read_text())
    for kind in ("audio", "sub"):
        assert f"--{kind}-file={film}" in given and f"--{kind}-delay=-0.200000" in given
    codec.decode(film, folder / "part.y4m", start="5f")
    assert [frame.picture for frame in read(folder / "got.y4m")] == [f.picture for f in read(folder / "part.y4m")]


def test_ffplay_shows_pictures_only(player, film, capfd):
    folder = player("ffplay")
    assert main(["play", str(film)]) == 0
    assert "sound, subtitles left out: ffplay gets pictures only; install mpv" in capfd.readouterr().err
    assert len(list(read(folder / "got.y4m"))) == 20


def test_closing_the_player_is_no_error(player, film, capfd):
    player("mpv", limit=1)
    assert main(["play", str(film)]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("limit", [0, -1])
def test_a_player_that_fails(player, capfd, limit):
    player("mpv", limit=limit, status=2)
    assert main(["play", str(GOLDEN)]) == 2
    assert "mpv: failed with status 2" in capfd.readouterr().err


def test_no_player(player, capfd):
    assert main(["play", str(GOLDEN)]) == 2
    assert capfd.readouterr().err == (
        "codec: no player is found; install mpv or ffplay, or write a video with codec decode\n"
    )


@pytest.mark.skipif(shutil.which("mpv") is None, reason="mpv is not installed")
def test_mpv(tmp_path, monkeypatch, film, capfd):
    (tmp_path / "mpv.conf").write_text("vo=null\nao=null\nuntimed=yes\n")
    monkeypatch.setitem(os.environ, "MPV_HOME", str(tmp_path))
    assert main(["play", str(film), "--from", "5f"]) == 0
    shown = capfd.readouterr()
    assert "End of file" in shown.out + shown.err and "AO: [null]" in shown.out + shown.err
