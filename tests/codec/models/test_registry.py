"""Weights are found by what they are, whatever else lies beside them; nothing hangs and nothing is built in vain."""

import json
import os
import shutil

import pytest
import torch
from helpers import DATA
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from codec.errors import ModelError
from codec.models import store
from codec.models.network_file import load_network
from codec.models.registry import EARLIER, all_weights, find, find_fingerprint, fingerprint_of, weights_files

TINY = DATA / "weights" / "tiny.safetensors"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of weights, and one that goes before it."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    monkeypatch.setenv("NCM_WEIGHTS", f"{first}:{second}")
    return first


def test_the_right_file_whatever_has_its_name(folder):
    """Another `tiny` in a folder that goes first, and the right one under two names."""
    for name in ("tiny", "base"):
        (folder / f"{name}.safetensors").write_bytes(b"another")
    right = folder.parent / "second" / "tiny.safetensors"
    shutil.copy(TINY, right)
    assert find_fingerprint(fingerprint_of(TINY), "tiny") == right
    assert find("tiny") == folder / "tiny.safetensors"
    right.rename(right.with_stem("renamed"))
    assert find_fingerprint(fingerprint_of(TINY), "tiny").stem == "renamed"


def test_what_cannot_be_weights_is_passed_over_and_said(folder, caplog):
    (folder / "folder.safetensors").mkdir()
    (folder / "nowhere.safetensors").symlink_to("none")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    os.mkfifo(folder / "pipe.safetensors")
    with (folder / "huge.safetensors").open("wb") as file:
        file.truncate(1 << 40)
    shutil.copy(TINY, folder)
    assert find_fingerprint(fingerprint_of(TINY), "pipe") == folder / "tiny.safetensors"
    assert [path for path in all_weights() if path.parent == folder] == [folder / "tiny.safetensors"]
    for name in ("folder", "nowhere", "loop", "pipe", "huge"):
        assert any(f"{name}.safetensors: " in line and "passed over" in line for line in caplog.messages)
        with pytest.raises(ModelError, match=rf"{name}\.safetensors: "):
            find(str(folder / f"{name}.safetensors"))
        with pytest.raises(ModelError, match=f"model '{name}' is not installed"):
            find(name)


def test_folders_that_are_none(tmp_path, monkeypatch, caplog):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("NCM_WEIGHTS", f"{tmp_path / 'none'}:{tmp_path / 'pipe'}:{'x' * 300}:{TINY}:{TINY.parent}")
    assert weights_files()["tiny"] == TINY
    assert sum("no folder of weights" in line for line in caplog.messages) == 4


def changed(path, *, sizes=None, tensors=None):
    """The tiny network with other sizes in its metadata, or other tensors."""
    with safe_open(TINY, "pt") as file:
        notes = file.metadata()
    config = json.loads(notes[store.NETWORK]) | (sizes or {})
    save_file(load_file(TINY) | (tensors or {}), path, metadata=notes | {store.NETWORK: json.dumps(config)})
    return path


@pytest.mark.parametrize(
    "sizes",
    [
        {"context_width": 10**6},
        {"widths": [8, 8, 8, 8, 10**9]},
        {"matching_scales": 10**9},
        {"context_width": -1},
        {"coarse_ratio": 1e308},
        {"teacher_width": 10**400},
    ],
)
def test_absurd_sizes(tmp_path, sizes):
    with pytest.raises(ModelError, match=r"absurd\.safetensors: .*no tensor"):
        load_network(changed(tmp_path / "absurd.safetensors", sizes=sizes))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(tmp_path, value):
    name, tensor = next(iter(load_file(TINY).items()))
    path = changed(tmp_path / "nan.safetensors", tensors={name: torch.full_like(tensor, value)})
    with pytest.raises(ModelError, match=r"nan\.safetensors: .* no finite numbers"):
        load_network(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 100, b"\0" * 100, TINY.read_bytes()[:-1], TINY.read_bytes()[:1000]])
def test_damaged_files(tmp_path, data):
    (tmp_path / "damaged.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match=r"damaged\.safetensors"):
        load_network(tmp_path / "damaged.safetensors")


GIVEN_UP = {"neighbour-corrected"}  # names that no weights took over


def test_weights_that_shipped_before_are_found_by_fingerprint_alone():
    earlier = [path for path in all_weights() if path.parents[1].name == EARLIER]
    assert earlier
    for path in earlier:
        fingerprint = fingerprint_of(path)
        assert find_fingerprint(fingerprint, path.stem) == path
        if path.stem in GIVEN_UP:
            assert find(path.stem) == path
        else:
            assert find(path.stem).parent == path.parents[2] and fingerprint_of(find(path.stem)) != fingerprint
