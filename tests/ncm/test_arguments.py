"""Wrong arguments are errors that name the argument."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import ncm
from ncm.arguments import times

HUGE = 10**400
A = np.zeros((40, 48, 3), np.uint8)


@pytest.fixture(scope="module")
def tiny(tiny_weights):
    return ncm.load(tiny_weights / "tiny.safetensors")


@pytest.mark.parametrize("t", ["x", None, 1j, math.nan, -1, 0, 1, HUGE, True, torch.ones(2) / 2, [[0.5]]])
def test_times(tiny, t):
    with pytest.raises((TypeError, ValueError), match=r"^t ") as error:
        ncm.interpolate(A, A, t, network=tiny)
    assert len(str(error.value)) < 200


def test_times_that_are_good():
    one = [0.25, np.float32(0.25), Fraction(1, 4), torch.tensor(0.25), [0.25], np.array([0.25])]
    assert all(times(t, 1).flatten().tolist() == [0.25] for t in one)
    assert times(torch.tensor([0.25, 0.75]), 2).tolist() == [0.25, 0.75]


@pytest.mark.parametrize("factor", ["2", None, 1j, True, math.nan, math.inf, 0, -1, 1e-300])
def test_factor(tiny, factor):
    with pytest.raises((TypeError, ValueError), match="factor"):
        next(ncm.slow_motion([A, A], factor, network=tiny))


@pytest.mark.parametrize("samples", ["3", None, 1.5, 0, -1, math.nan])
def test_samples(tiny, samples):
    with pytest.raises((TypeError, ValueError), match="samples"):
        ncm.motion_blur(A, A, samples=samples, network=tiny)


@pytest.mark.parametrize("shutter", ["3", None, True, math.nan, math.inf, 0, -1, 361])
def test_shutter(tiny, shutter):
    with pytest.raises((TypeError, ValueError), match="shutter"):
        ncm.motion_blur(A, A, samples=1, shutter=shutter, network=tiny)


@pytest.mark.parametrize("network", [3, "base", torch.nn.Identity()])
def test_network(network):
    with pytest.raises(TypeError, match="network"):
        ncm.interpolate(A, A, network=network)


@pytest.mark.parametrize("model", ["bframe", "fast", "tcm-lite"])
def test_models_that_are_more_than_a_network(model):
    with pytest.raises(ValueError, match="not a frame-synthesis network"):
        ncm.load(model)


@pytest.mark.parametrize("pyramid", [(1,), (16, 32, 48), (16, 32, 48, 64, 80)])
def test_pyramid(pyramid):
    with pytest.raises(ValueError, match="pyramid"):
        ncm.NcmConfig(pyramid=pyramid)
