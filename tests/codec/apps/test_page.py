"""What docs/applications.md says can be given, can be given; its pictures and programs are there."""

import re
import shlex
from pathlib import Path

import pytest

import codec
import ncm
from codec.cli import _parser

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "applications.md").read_text()


def commands():
    for line in re.findall(r"^    (.*)$", PAGE, re.MULTILINE):
        for part in re.split(r"&&|\|", line.partition(" #")[0]):
            if part.strip().startswith("codec "):
                yield shlex.split(part)[1:]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_can_be_given(words):
    _parser().parse_args(words)


def test_files_exist():
    named = re.findall(r"\]\(([\w./-]+)\)", PAGE)
    assert named and all((ROOT / "docs" / name).exists() for name in named)
    programs = set(re.findall(r"python (eval/\w+\.py)", PAGE))
    assert len(programs) >= 6 and all((ROOT / program).exists() for program in programs)


def test_names_exist():
    for package, module in (("ncm", ncm), ("codec", codec)):
        names = set(re.findall(rf"\b{package}\.([a-z_]+)\b(?!\.)", PAGE)) - {"md", "py"}
        assert names and all(hasattr(module, name) for name in names)
