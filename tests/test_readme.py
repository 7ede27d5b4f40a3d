"""What README.md says can be done, is done; and it stays short."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import BUNNY

from codec.cli import _parser, main

README = (Path(__file__).parents[1] / "README.md").read_text()
FEW = ["--frames", "5"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    """All commands `codec ...` of the shell blocks, as words, without the program's name."""
    for line in "\n".join(blocks("sh")).splitlines():
        for part in re.split(r"&&|\|", line.partition(" #")[0]):
            words = shlex.split(part)
            if words and words[0].removeprefix(".venv/bin/") == "codec":
                yield words[1:]


def test_it_is_short():
    assert len(README.split()) <= 900


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_can_be_given(words):
    _parser().parse_args(words)


def test_the_first_command_makes_what_it_says(tmp_path, monkeypatch):
    """Of a few frames."""
    monkeypatch.chdir(tmp_path)
    first = [words for words in commands() if any("bunny" in word for word in words)]
    assert [words[0] for words in first] == ["sample", "encode", "decode"]
    for words in first:
        assert main([*words, *(FEW if words[0] == "encode" else [])]) == 0
    assert (tmp_path / "bunny.mp4").read_bytes() == BUNNY.read_bytes()
    assert (tmp_path / "bunny.mkv").stat().st_size > (tmp_path / "bunny.ncm").stat().st_size


def test_the_python_block(tmp_path):
    (block,) = blocks("python")
    (tmp_path / "bunny.mp4").write_bytes(BUNNY.read_bytes())
    script = block.replace("frames=9", "frames=3")
    assert script != block
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "(234, 416)" in done.stdout


def test_its_files_exist():
    root = Path(__file__).parents[1]
    named = re.findall(r"\]\(([\w./-]+)\)|`((?:docs|eval|configs|ncm|entropy|codec)/[\w./-]*)`", README)
    assert all((root / (a or b)).exists() for a, b in named) and len(named) > 10
