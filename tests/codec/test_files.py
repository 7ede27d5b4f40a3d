"""Files appear whole or not at all, whoever else writes beside them."""

import signal
import subprocess
import sys
import time

import pytest
from helpers import moving, write

from codec.errors import OutputError
from codec.files import replacing


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
    words = ["encode", str(src), "-o", str(tmp_path / "out.ncm"), "--preset", "ultrafast"]

    def heed() -> None:
        """Or what a shell starts in the background would not hear SIGINT."""
        signal.signal(signal.SIGINT, signal.default_int_handler)

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
