"""`rife` and `rife5` answer what the original networks answer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from codec.models.open import load as load_model
from ncm.network import blend_of

DATA = Path(__file__).parents[1] / "data"
TOLERANCE = 1e-4  # of samples and masks
STEEP = 2e-4  # of flows in pixels and mask logits: on one processor they differ by 1.04e-4


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def golden(name):
    file = np.load(DATA / f"{name}_golden.npz")
    past, future = (torch.from_numpy(file[key]).float()[None] / 255 for key in ("past", "future"))
    return file, past, future


def close(actual, expected, tolerance=TOLERANCE):
    assert np.abs(actual[0].numpy() - expected).max() < tolerance


@torch.inference_mode()
def test_rife_equals_the_original():
    file, past, future = golden("rife40")
    network = load_model("rife").network
    half = network(past, future, 0.5)
    close(half.steps[0].flow, file["flow_block0_half"], STEEP)
    close(half.motion.flow, file["flow_half"], STEEP)
    close(torch.sigmoid(half.motion.mask), file["mask_half"])
    close(half.frame.clamp(0, 1), file["frame_half"])
    close(network(past, future, 0.25).frame.clamp(0, 1), file["frame_quarter"])


@torch.inference_mode()
def test_rife5_equals_the_original():
    file, past, future = golden("rife5")
    network = load_model("rife5").network
    half = network(past, future, 0.5)
    close(half.steps[0].flow, file["flow_block0_half"], STEEP)
    close(half.motion.flow, file["flow_half"], STEEP)
    close(half.motion.mask, file["mask_logit_half"], STEEP)
    close(blend_of(past, future, half.motion), file["blend_half"])
    close(half.frame.clamp(0, 1), file["frame_half"])
    close(blend_of(past, future, network(past, future, 0.25).motion), file["blend_quarter"])
