"""Imports go one way: ncm -> torch; entropy -> torch, compressai; codec -> ncm, entropy; eval -> codec."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("ncm", "entropy", "codec", "eval")
ALLOWED = {"ncm": {"ncm"}, "entropy": {"entropy"}, "codec": {"codec", "ncm", "entropy"}, "eval": {"eval", "codec"}}
THIRD_PARTY = {"ncm": {"torch"}, "entropy": {"torch", "compressai"}}


def imports(path):
    """Top-level names that a file imports, and the modules within the project in full."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                yield ".".join((*package, node.module or ""))
            else:
                yield node.module


def files():
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_direction(path):
    import sys

    room = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top in ROOMS:
            assert top in ALLOWED[room], f"{room} must not import {name}"
        elif room in THIRD_PARTY and top not in sys.stdlib_module_names:
            assert top in THIRD_PARTY[room], f"{room} must not import {name}"
        assert path.name in ("__main__.py", "cli.py") or name != "codec.cli", "nothing imports the command line"
        if room == "eval" and top == "codec":
            assert name == "codec", f"eval sees only codec's public names, not {name}"
