"""Weights files of filters that see neighbours: written, read again, and told from other kinds."""

import pytest
import torch
from helpers import BUNNY

from codec.bframe.neighbour_filter import NeighbourConfig, NeighbourFilter
from codec.cli import main
from codec.errors import ModelError
from codec.models import store
from codec.models.neighbour_file import load_neighbour, save_neighbour
from codec.models.network_file import load_network
from codec.models.open import load_file
from codec.models.registry import find, fingerprint_of, weights_files


@pytest.fixture
def written(tmp_path):
    torch.manual_seed(0)
    model = NeighbourFilter(NeighbourConfig(width=4, blocks=1, reach=1))
    torch.nn.init.normal_(model.last.weight)
    path = tmp_path / "mine.safetensors"
    save_neighbour(model, path, steps="7")
    return model, path


def test_what_is_written_is_read_again(written):
    model, path = written
    again = load_neighbour(path)
    assert again.config == model.config and store.read_notes(path)["steps"] == "7"
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name].half().float())
        assert not value.requires_grad
    assert store.holds(path, store.NEIGHBOUR) and not store.holds(path, store.NETWORK)


def test_its_network_is_named_by_fingerprint(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_neighbour(NeighbourFilter(NeighbourConfig(width=4, network="lite"), load_network(find("lite"))), path)
    assert store.read_notes(path)["base"] == fingerprint_of(find("lite")).hex()
    again = load_neighbour(path)
    assert again.config.network == "lite" and again.network.config == load_network(find("lite")).config
    model = NeighbourFilter(NeighbourConfig(width=4))
    store.write_half(path, model, store.NEIGHBOUR, NeighbourConfig(width=4, network="lite"), {"base": "00" * 8})
    with pytest.raises(ModelError, match="fingerprint 0000000000000000, is needed and not installed"):
        load_neighbour(path)


def test_other_kinds_are_refused(written):
    _, path = written
    with pytest.raises(ModelError, match="not the weights of a filter that sees neighbouring pictures"):
        load_neighbour(find("base"))
    with pytest.raises(ModelError, match="not the weights of a frame-synthesis network"):
        load_network(path)
    with pytest.raises(ModelError, match="filters decoded pictures and predicts no B-frames"):
        load_file(path)


def test_sizes_that_do_not_fit_are_an_error(written, tmp_path):
    model, _ = written
    path = tmp_path / "wrong.safetensors"
    store.write(path, model.state_dict(), store.NEIGHBOUR, NeighbourConfig(width=8), {})
    with pytest.raises(ModelError, match="do not fit"):
        load_neighbour(path)
    store.write(path, model.state_dict(), store.NEIGHBOUR, NeighbourConfig(), {"neighbour": '{"reach": 0}'})
    with pytest.raises(ModelError, match="reach 0"):
        load_neighbour(path)


SHIPPED = {
    "neighbour": NeighbourConfig(blocks=5, luma_corrections=4, chroma_corrections=16),
    "neighbour-av1": NeighbourConfig(blocks=5, chroma_corrections=16),
    "neighbour-ncm": NeighbourConfig(blocks=5, network="base", luma_corrections=4, chroma_corrections=16),
    "neighbour-ncm-av1": NeighbourConfig(blocks=5, network="base", chroma_corrections=16),
}


def test_those_that_ship_are_no_models(capfd):
    for name, config in SHIPPED.items():
        assert load_neighbour(weights_files()[name]).config == config
    words = ["encode", str(BUNNY), "--mode", "bitfree", "--model", "neighbour", "--dry-run"]
    assert main(words) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "predicts no B-frames" in err
