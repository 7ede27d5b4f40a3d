"""Alignment: its compiled loops cost and choose what tensor operations do."""

import pytest
import torch
import torch.nn.functional as F

from codec.bframe.alignment import AROUND, STAGES, costs_by_tensors, match
from codec.bframe.block_errors import block_errors


def pictures(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return ((16 * torch.rand(2, *shape, generator=generator)).round() / 16).unbind()  # coarse: many places are as good


def expected(current, neighbour, stage):
    height, width = current.shape[2:]
    padded = F.pad(neighbour, (stage.radius,) * 4, mode="replicate")
    reach = range(2 * stage.radius + 1)
    moved = [padded[..., y : y + height, x : x + width] for y in reach for x in reach]
    blocks = [F.avg_pool2d((other - current).abs(), stage.block, ceil_mode=True) for other in moved]
    costs = F.avg_pool2d(torch.cat(blocks, 1), AROUND, 1, AROUND // 2, count_include_pad=False)
    return costs, costs.argmin(1, keepdim=True)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"1/{stage.shrink}")
@pytest.mark.parametrize("shape", [(1, 1, 40, 64), (2, 1, 41, 63), (1, 1, 5, 7), (1, 1, 1, 1)])
def test_costs_and_best_places_are_those_of_tensor_operations_to_the_bit(stage, shape):
    current, neighbour = pictures(1, *shape)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            costs, best = block_errors(current, neighbour, radius=stage.radius, block=stage.block, around=AROUND // 2)
            wanted, place = expected(current, neighbour, stage)
            assert torch.equal(costs, wanted) and torch.equal(best, place)
        costs, best = costs_by_tensors(current, neighbour, stage)  # as on other devices
        assert torch.equal(costs, wanted) and torch.equal(best, place)
    finally:
        torch.set_num_threads(before)


def test_a_picture_that_moved_is_found():
    texture = F.interpolate(pictures(2, 1, 1, 24, 32)[0], scale_factor=4, mode="bicubic")
    flow = match(texture, texture.roll((8, -4), (2, 3)))[..., 24:-24, 24:-24]
    assert (flow[:, 0] + 4).abs().max() < 0.1 and (flow[:, 1] - 8).abs().max() < 0.1
