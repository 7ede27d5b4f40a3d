"""Files appear whole or not at all, whoever else writes beside them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import moving, write

from codec.errors import InputError, OutputError
from codec.files import Place, check_outputs, replacing, target_of


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_writers_of_one_name_do_not_mix(tmp_path):
    """The one that ends last has its file there."""
    target = tmp_path / "out"
    with replacing(target) as first:
        first.write(b"first" * 1000)
        with replacing(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first" * 1000 and names(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["x" * 255, "\N{SNOWMAN}" * 85, "x" * 243 + ".ncm"])
def test_names_as_long_as_they_may_be(tmp_path, name):
    with replacing(tmp_path / name) as file:
        file.write(b"data")
    assert names(tmp_path) == [name]


def test_a_link_in_place_of_the_partial_file_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("codec.files.token_hex", lambda _: "0000")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".out.0000.part").symlink_to(victim)
    with pytest.raises(OutputError, match="out: cannot be written"), replacing(tmp_path / "out"):
        pass
    assert victim.read_bytes() == b"precious" and not (tmp_path / "out").exists()


def test_the_partial_file_of_another_run_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("codec.files.token_hex", lambda _: "0000")
    with replacing(tmp_path / "out") as first:
        first.write(b"first")
        second = Place(tmp_path / "out")
        with pytest.raises(FileExistsError):
            second.reserve()
        second.abandon()
    assert (tmp_path / "out").read_bytes() == b"first"


def test_what_a_second_signal_interrupts_is_removed_at_the_end(tmp_path):
    code = "import sys; from codec.files import Place; Place(sys.argv[1]).open().write(b'x')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=True, stderr=subprocess.DEVNULL)
    assert names(tmp_path) == []


def test_permissions_stay(tmp_path):
    target = tmp_path / "out"
    target.touch(0o600)
    with replacing(target) as file:
        file.write(b"new")
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_read_only_file_is_replaced_only_by_force(tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    target.chmod(0o444)
    with pytest.raises(OutputError, match="out: is read-only"), replacing(target):
        pass
    with pytest.raises(OutputError, match=r"out: is read-only.*--force"):
        check_outputs({}, {"-o": target}, force=False)
    with pytest.raises(OutputError, match="or make it writable"):
        check_outputs({}, {"-o": target})
    check_outputs({}, {"-o": target}, force=True)
    assert target.read_bytes() == b"old" and names(tmp_path) == ["out"]
    with replacing(target, force=True) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["x" * 256, "loop", "a/file", "nul\0", "folder"])
def test_places_that_cannot_be(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").touch()
    (tmp_path / "folder").mkdir()
    before = names(tmp_path)
    with pytest.raises(OutputError, match=name[:4]), replacing(tmp_path / name):
        pass
    assert names(tmp_path) == before


ALIASES = {
    "the same name": ("a", "a"),
    "another spelling": ("a", "./folder/../a"),
    "a link": ("a", "link"),
    "a hard link": ("a", "twin"),
    "a link to what is not there yet": ("new", "dangling"),
    "a file that is not there yet": ("new", "folder/../new"),
    "a pipe": ("fifo", "fifo"),
    "standard output": ("-", "-"),
}


@pytest.mark.parametrize("case", ALIASES)
def test_no_file_is_written_twice(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "twin").hardlink_to("a")
    (tmp_path / "dangling").symlink_to("new")
    os.mkfifo("fifo")
    first, second = ALIASES[case]
    with pytest.raises(InputError, match="-o and --csv are the same file"):
        check_outputs({}, {"-o": first, "--csv": second})
    if first != "-":
        with pytest.raises(InputError, match="the source and --csv are the same file"):
            check_outputs({"the source": first}, {"-o": "b", "--csv": second})


def test_what_may_be_named_twice(tmp_path):
    check_outputs({"the source": "/dev/null", "--model": None}, {"-o": "/dev/null", "--csv": "/dev/null"})
    check_outputs({"the source": "x", "--anchor": "x"}, {"-o": "-", "--csv": None})


def test_standard_input_may_be_a_file(tmp_path):
    """`codec encode - -o film < film` would lose the film."""
    film = tmp_path / "film"
    film.write_bytes(b"film")
    code = "import sys; from codec.files import check_outputs as c; c({'the source': '-'}, {'-o': sys.argv[1]})"
    with film.open("rb") as stdin:
        words = [sys.executable, "-c", code]
        assert subprocess.run([*words, str(film)], stdin=stdin, stderr=subprocess.DEVNULL).returncode == 1
        assert subprocess.run([*words, str(tmp_path / "other")], stdin=stdin).returncode == 0


def test_names_of_outputs():
    assert target_of("a/film.mp4", None, ".ncm") == "a/film.ncm" and target_of("-", "x", ".ncm") == "x"
    for src in ("-", "", "."):
        with pytest.raises(InputError):
            target_of(src, None, ".ncm")


def test_an_exception_leaves_the_old_file(tmp_path):
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(target) as file:
        file.write(b"new")
        raise RuntimeError
    assert target.read_bytes() == b"old" and names(tmp_path) == ["out"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_leaves_nothing(tmp_path, name):
    src = write(tmp_path / "seq.y4m", moving(200, 320, 240))
    words = ["encode", str(src), "-o", str(tmp_path / "out.ncm"), "--anchor-preset", "ultrafast"]

    def heed() -> None:
        """Or what a shell starts in the background would not hear SIGINT, and what nohup starts not SIGHUP."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    process = subprocess.Popen([sys.executable, "-m", "codec", *words], stderr=subprocess.PIPE, preexec_fn=heed)
    for _ in range(600):
        if len(names(tmp_path)) > 1:
            break
        time.sleep(0.1)
    assert len(names(tmp_path)) > 1, "the partial file never appeared"
    process.send_signal(getattr(signal, name))
    try:
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode not in (0, 1, 2) and names(tmp_path) == ["seq.y4m"]


@pytest.mark.parametrize("stem", ["v" * 251, "v" * 240, "映" * 83])
def test_a_default_name_is_not_too_long(stem):
    name = Path(target_of(f"in/{stem}.mp4", None, ".ncm.mp4")).name
    assert len(os.fsencode(name)) <= 255 and name.removesuffix(".ncm.mp4") in stem and len(name) > 80
