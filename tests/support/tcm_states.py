"""Checkpoints as TCM's authors published them: their names and shapes, with random weights."""

import csv
import math
import re
from pathlib import Path

import torch

SCALES = ("h_s.8.bias", "mv_prior_decoder.4.bias", "contextual_entropy_parameter.4.bias")  # and means
TABLE = Path(__file__).parents[1] / "data" / "tcm_state_dict.csv"


def shapes(model):
    """What the official checkpoint of `intra` or `inter` holds: name -> shape."""
    with TABLE.open() as file:
        return {
            row["name"]: tuple(map(int, filter(None, row["shape"].split("x")))) if row["shape"] != "0" else (0,)
            for row in csv.DictReader(file)
            if row["model"] == model
        }


def random_state(model, width=None):
    """A checkpoint with these names; weights such that pictures survive. `width` makes the I-frame codec slim."""
    state = {}
    for name, shape in shapes(model).items():
        if width:
            shape = tuple(
                {192: width, 768: 4 * width, 288: width * 3 // 2, 1152: width * 6, 384: 2 * width}.get(n, n)
                for n in shape
            )
        fan = math.prod(shape[1:]) if len(shape) > 1 else 1
        value = torch.randn(shape) / math.sqrt(fan)
        if re.search(r"gdn\d?\.(beta)|\.[1-9]\d?\.beta$|gdn.beta", name):
            value = torch.ones(shape)
        elif name.endswith("gamma"):
            value = 0.3 * torch.eye(*shape)
        elif name.endswith("quantiles"):
            value = torch.tensor([-10.0, 0.3, 10.0]).expand(shape)
        elif name.endswith("bias"):
            value = 0.1 * torch.randn(shape)
        if name in SCALES:
            value[: len(value) // 2] += 3  # scales around the size of what they are for
        state[name] = value
    return state
