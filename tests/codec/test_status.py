"""One line and the right exit status for whatever goes wrong; status 1 is damage and nothing else."""

import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from helpers import DATA

from codec.cli import main
from codec.errors import DamageError, InputError
from codec.status import run

GOLDEN = str(DATA / "golden.ncm")


def raising(error):
    def command():
        raise error

    return command


ERRORS = {
    "damage": (DamageError("a.ncm: frame 3 is lost"), 1, "a.ncm: frame 3 is lost"),
    "input": (InputError("a.mp4: is empty"), 2, "a.mp4: is empty"),
    "memory": (MemoryError(), 2, "out of memory"),
    "torch's memory": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        2,
        "out of memory",
    ),
    "CUDA's memory": (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "out of memory"),
    "the linker's memory": (ImportError("libtorch.so: failed to map segment", name="torch"), 2, "out of memory"),
    "a missing package": (ModuleNotFoundError("No module named 'av'", name="av"), 2, "reinstall av"),
    "a broken package": (ImportError("undefined symbol", name="compressai._CXX"), 2, "reinstall compressai"),
    "a full disk": (OSError(28, "No space left on device", "/tmp/x"), 2, "/tmp/x: No space left on device"),
    "a bug": (KeyError("depth"), 2, "unexpected KeyError: 'depth'; this is a bug"),
    "a bug without words": (AssertionError(), 2, "unexpected AssertionError; this is a bug"),
    "a bug of many lines": (RuntimeError("one\ntwo\x1b[31m\N{SNOWMAN}"), 2, "one two\\x1b[31m\N{SNOWMAN};"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "interrupted"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_one_line(case, capsys):
    error, status, expected = ERRORS[case]
    assert run(raising(error)) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("codec: ") and err.count("\n") == 1 and expected in err


def test_debug_shows_where(capsys):
    assert run(raising(KeyError("depth")), debug=True) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--debug", "info", "none.ncm"], ["info", "none.ncm", "--debug"]])
def test_every_command_takes_debug(words, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1].startswith("codec: none.ncm: ")


# What the shell does to the standard streams, and what the command does then.
STREAMS = {
    "closed output": (f"info {GOLDEN} >&-", 2, "codec: standard output: "),
    "full output": (f"info {GOLDEN} >/dev/full", 2, "codec: standard output: "),
    "full output of help": ("encode --help >/dev/full", 2, "codec: standard output: "),
    "full output of a version": ("--version >/dev/full", 2, "codec: standard output: "),
    "full output of a video": (f"decode {GOLDEN} -o - >/dev/full", 2, "codec: standard output: "),
    "closed output of a video": (f"decode {GOLDEN} -o - >&-", 2, "codec: standard output: "),
    "full file": (f"decode {GOLDEN} -o /dev/full", 2, "/dev/full"),
    "closed input": ("info - <&-", 2, "standard input: cannot be read"),
    "closed input of a video": ("encode - -o a.ncm --mode bitfree --model tiny <&-", 2, "standard input"),
    "closed errors": (f"info {GOLDEN} 2>&-", 0, ""),
    "closed errors of a failure": ("info none.ncm 2>&-", 2, ""),
}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize("case", STREAMS)
def test_standard_streams(case, tmp_path, monkeypatch, weights):
    words, status, expected = STREAMS[case]
    done = subprocess.run(
        f"{sys.executable} -m codec {words}", shell=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == bool(expected) and expected in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="a directory that is in use stays there")
def test_a_directory_that_has_been_removed(tmp_path):
    words = f"mkdir x && cd x && rmdir ../x && {sys.executable} -m codec decode {GOLDEN} -o {tmp_path / 'a.y4m'}"
    done = subprocess.run(words, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "codec: the current directory has been removed; change to another\n"


STOPPED = (
    "import os, signal, sys; from codec.status import run; sys.exit(run(lambda: os.kill(os.getpid(), signal.{}) or 0))"
)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_is_said_and_nohup_is_heeded(name, ignored):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        done = subprocess.run([sys.executable, "-c", STOPPED.format(name)], capture_output=True, text=True)
    finally:
        signal.signal(number, before)
    assert done.returncode == (0 if ignored else 128 + number)
    assert done.stderr == ("" if ignored else f"codec: stopped by {name}; no output was written\n")


@pytest.mark.parametrize("missing", ["av", "compressai"])
def test_a_broken_installation(missing, tmp_path):
    words = ["encode", "codec/sample/bunny.mp4", "-o", str(tmp_path / "x.ncm"), "--frames", "1"]
    code = f"import sys; sys.modules[{missing!r}] = None; from codec.cli import main; sys.exit(main({words}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"reinstall {missing}" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["info", str(GOLDEN)], ["info", "none.ncm"], ["--version"]])
def test_a_program_that_calls_the_command_keeps_its_handlers(words, capsys):
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        own = [signal.getsignal(number) for number in numbers]
        with suppress(SystemExit):
            main(words)
        assert [signal.getsignal(number) for number in numbers] == own
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_an_interruption_that_another_error_hides_is_still_one(capfd):
    def command() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("what compiled code makes of it") from None
        return 0

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background ignore it
    try:
        assert run(command) == 130
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)
    assert "interrupted" in capfd.readouterr().err


# Sends Ctrl-C when a module is first sought.
EARLY = """
import signal, sys

class Sought:
    def find_spec(self, name, *_):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.{before})
sys.meta_path.insert(0, Sought())
from codec.__main__ import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C is another event")
@pytest.mark.parametrize("module", ["codec.cli", "codec.errors", "numpy"])
@pytest.mark.parametrize("before", ["default_int_handler", "SIG_IGN"])
def test_ctrl_c_while_modules_are_loaded(module, before):
    code = EARLY.format(module=module, before=before)
    done = subprocess.run([sys.executable, "-c", code, "info", GOLDEN], capture_output=True, text=True)
    if before == "SIG_IGN":
        assert done.returncode == 0 and done.stdout
    else:  # a shell calls both of these 130
        assert done.returncode in (130, -signal.SIGINT) and not done.stdout
        assert "Traceback" not in done.stderr and done.stderr.count("\n") <= 1
