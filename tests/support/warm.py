"""A network that starts from another model's weights."""

import torch

from codec.models.network_file import load_network
from codec.models.registry import find
from ncm import build


def warm_start(config, name="rife5"):
    """A network of this config whose shared parts carry another model's weights; its additions change nothing yet."""
    torch.manual_seed(0)  # the additions' inner layers start at random, behind zero-initialised ones
    network = build(config)
    assert not network.load_state_dict(load_network(find(name)).state_dict(), strict=False).unexpected_keys
    return network
