"""Imports go one way, from room to room and from file to file; and what each door loads."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = ("ncm", "entropy", "codec", "eval")
THIRD_PARTY = {"ncm": {"torch"}, "entropy": {"torch", "compressai"}}
# From the top floor down: a file imports from its own room, and from rooms on lower floors.
FLOORS = (
    {"eval"},
    {"codec.__main__"},
    {"codec.cli"},
    {"codec.__init__"},
    {"codec.train", "codec.encoder", "codec.apps"},
    {"codec.decoder"},
    {"codec.anchors"},
    {"codec.parallel"},
    {"codec.models"},
    {"codec.bframe"},
    {"codec.learned"},
    {"codec.container"},
    {"codec.bitstream"},
    {"codec.gop"},
    {"codec.video"},
    {"codec.batch"},
    {"codec.status", "codec.terminal"},
    {"codec.compiled", "codec.device", "codec.files", "codec.memory", "codec.progress_bar", "codec.values"},
    {"codec.arguments", "codec.precision"},
    {"codec.errors", "codec.notes", "codec.progress", "codec.version"},
    {"ncm", "entropy"},
)
FLOOR = {room: len(FLOORS) - number for number, rooms in enumerate(FLOORS) for room in rooms}
# The rooms without a codec know nothing of one.
ALONE = {"ncm", "entropy"}


def files():
    return [path for top in TOP for path in sorted((ROOT / top).rglob("*.py"))]


def module_of(path):
    """The dotted name of a file; that of a package is its __init__."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {module_of(path) for path in files()}


def imports(path):
    """The modules of the project, and the top-level names of others, that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            base = ".".join((*package, *([node.module] if node.module else [])))
            yield from (whole if (whole := f"{base}.{alias.name}") in MODULES else base for alias in node.names)


def room_of(name):
    """The room of a module; of the package `codec` itself, its face."""
    parts = name.split(".")
    if parts[0] != "codec":
        return parts[0]
    return "codec.__init__" if len(parts) == 1 else ".".join(parts[:2])


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_direction(path):
    own = room_of(module_of(path))
    assert own in FLOOR, f"{own} has no floor yet: add it to FLOORS"
    if own == "codec.__init__":
        return  # the face names everything, and loads it when it is asked for
    for name in imports(path):
        top = name.split(".")[0]
        if top not in TOP:
            allowed = THIRD_PARTY.get(own)
            assert allowed is None or top in allowed | set(sys.stdlib_module_names), f"{own} must not import {name}"
            continue
        room = room_of(name)
        if own == "eval" and top == "codec":
            assert name == "codec", f"eval sees only codec's public names, not {name}"
        elif own in ALONE:
            assert room == own, f"{module_of(path)} must not import {name}: {own} stands alone"
        elif room != own:
            assert FLOOR[room] < FLOOR[own], f"{module_of(path)} must not import {name}: {room} is not below {own}"


def test_no_circle():
    """Not even one that function-level imports would open."""
    faces = {name for name in MODULES if name.endswith("__init__")}
    graph = {
        module_of(path): {name for name in imports(path) if name in MODULES} - faces
        for path in files()
        if module_of(path) not in faces
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")


def test_the_face_is_what_it_says():
    """Every public name is there, and `__all__` lists them all."""
    import codec

    assert codec.__all__ == sorted(codec._HOMES)
    assert all(getattr(codec, name) is not None for name in codec.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        codec.nothing  # noqa: B018


HEAVY = ("torch", "compressai", "av", "numpy", "scipy", "pandas", "matplotlib", "rich")
DOORS = {
    "import codec": ("import codec", set()),
    "codec --help": ("from codec.cli import main; main(['--help'])", set()),
    "codec encode --help": ("from codec.cli import main; main(['encode', '--help'])", set()),
    "codec train --help": ("from codec.cli import main; main(['train', '--help'])", set()),
    "codec slowmo --help": ("from codec.cli import main; main(['slowmo', '--help'])", set()),
    "codec info": ("from codec.cli import main; main(['info', 'tests/data/golden.ncm'])", {"numpy"}),
    "codec encode --mode bitfree": (
        "from codec.cli import main; main(['encode', 'codec/sample/bunny.mp4', '--mode', 'bitfree', '--frames', '1', "
        "'--dry-run', '--no-metrics', '--anchor-preset', 'ultrafast'])",
        {"torch", "av", "numpy"},
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_loads_no_more_than_it_needs(door):
    script, expected = DOORS[door]
    code = f"""
import sys
try:
    {script}
except SystemExit:
    pass
print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(done.stderr.splitlines()[-1].split()) <= expected


def options_of(parser):
    """All options of a parser and of the commands below it."""
    for action in parser._actions:
        yield from action.option_strings
        for command in getattr(action, "choices", None) or {}:
            if hasattr(action.choices, "values"):
                yield from options_of(action.choices[command])


def texts_of(path):
    """All string constants of a file but its docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_every_option_in_an_error_message_exists():
    from codec.cli import _parser

    known = {*options_of(_parser()), "--force"}  # pip's own
    others = {"play.py", "program_codecs.py", "user_codecs.py"}  # the command lines of other programs
    strange = {
        f"{module_of(path)}: {word}"
        for path in (ROOT / "codec").rglob("*.py")
        if path.name not in others
        for text in texts_of(path)
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
        if word not in known
    }
    assert not strange
