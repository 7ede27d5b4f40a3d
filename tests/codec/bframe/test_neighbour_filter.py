"""Alignment of neighbouring pictures, and the filter that sees them: it starts level, and what ships is better."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers import bunny_pictures

from codec.bframe.alignment import aligned, match
from codec.bframe.neighbour_filter import NeighbourConfig, NeighbourFilter, differences, planes_of, predicted, weighed
from codec.bframe.postfilter import PLANES, PostFilter, PostFilterConfig
from codec.models.neighbour_file import load_neighbour
from codec.models.open import load as load_model
from codec.models.registry import find
from codec.train.decoded import Setting, code, rgb_error
from codec.train.tasks.postfilter import seen
from codec.video.colour import packed
from codec.video.picture import Colour
from ncm import warp

pytestmark = pytest.mark.usefixtures("one_thread")


def pattern(height=96, width=128, *, seed=0):
    """Smooth noise (1,1,H,W) in [0,1], which matches only itself."""
    noise = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(noise, 5, 1, 2, count_include_pad=False)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def picture(*, seed=0):
    """Packed planes (1,6,48,64) of a pattern."""
    y = pattern(seed=seed)
    return packed((y, F.avg_pool2d(y, 2), 1 - F.avg_pool2d(y, 2)))


# --- alignment


@pytest.mark.parametrize("size", [(96, 128), (94, 122), (101, 117)])
@pytest.mark.parametrize("move", [(0, 0), (5, -3), (-14, 8)])
def test_match_finds_whole_moves(move, size):
    right, down = move
    current = pattern(*size)
    found = match(current, torch.roll(current, (down, right), (2, 3)))
    assert found.shape == (1, 2, *size)
    assert (found[..., 32:-32, 32:-32] - torch.tensor(move).view(1, 2, 1, 1)).abs().median() < 0.2


def test_match_finds_fractions():
    current = pattern()
    neighbour = warp(current, torch.full((1, 2, 96, 128), 0.5), mode="bicubic")  # what is at p was at p + 1/2
    found = match(current, neighbour)[..., 16:-16, 16:-16]
    assert (found + 0.5).abs().median() < 0.1


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (5, 7)])  # halves of the picture's
def test_a_picture_is_aligned_with_itself(size):
    planes = picture()[..., : size[0], : size[1]]
    found = aligned(planes, planes)
    assert found.shape == planes.shape
    assert (found - planes).abs().mean() < 0.01  # fractions of blocks are not exactly 0


def test_even_a_tiny_picture_is_aligned():
    planes = picture()[..., :1, :1]
    assert aligned(planes, planes).isfinite().all()


def test_pictures_of_a_batch_are_aligned_each_by_itself():
    one, other = picture(), picture(seed=1)
    both = aligned(torch.cat([one, other]), torch.cat([other, one]))
    assert torch.allclose(both, torch.cat([aligned(one, other), aligned(other, one)]), atol=1e-5)


# --- the filter


def test_reach_must_be_positive():
    assert NeighbourConfig().places == (-1, 1, -2, 2)
    with pytest.raises(ValueError, match="reach"):
        NeighbourConfig(reach=0)


def test_missing_neighbours_differ_by_nothing():
    near = differences(picture(), [None, picture(seed=1)])
    assert not near[0].any()
    assert near[1].any()


def test_neighbours_that_differ_much_are_not_trusted():
    small, large, none = (weighed(torch.full((1, 6, 8, 8), size)).trust for size in (0.5, 20.0, 0.0))
    assert small.min() > 0.9
    assert large.max() < 1e-3
    assert not none.any()  # there is none


@torch.no_grad()
def answered_by(model, near):
    return model(picture(), near, torch.tensor([0.02]))


def test_a_filter_starts_level_with_the_one_that_sees_one_picture():
    codec = load_model("bframe").codec
    model = NeighbourFilter(NeighbourConfig(blocks=5))
    assert not answered_by(model, differences(picture(), [picture(seed=n) for n in range(4)])).any()
    model.start_from(codec.postfilter)
    near = differences(picture(), [picture(seed=n) for n in range(4)])
    with torch.no_grad():
        expected = codec.postfilter(picture(), torch.tensor([0.02]))
    assert expected.any() and torch.allclose(answered_by(model, near), expected, atol=1e-6)
    for wrong in (PostFilterConfig(width=4), PostFilterConfig(blocks=6)):
        with pytest.raises(ValueError, match="does not fit"):
            model.start_from(PostFilter(wrong))


# --- and what a network predicts


@pytest.mark.parametrize("size", [(48, 64), (47, 61), (5, 7)])  # halves of the picture's
@pytest.mark.parametrize("depth", [8, 10])
def test_between_two_alike_a_network_predicts_the_same(size, depth):
    network, planes = load_model("lite").network, picture()[..., : size[0], : size[1]]
    made = predicted(network, planes, planes, torch.tensor([0.01]), 0.5, Colour(), depth)
    assert len(made) == 3  # past and future along its motion, and the frame between
    for each in made:
        assert each.shape == planes.shape
        assert (each - planes).abs().mean() < 0.02


def test_one_that_also_sees_a_prediction_starts_where_one_stands_that_does_not(shipped):
    """But for a share of the frame, where it agrees."""
    model = NeighbourFilter(replace(shipped.config, network="lite"), load_model("lite").network)
    model.start_from(shipped)
    near = differences(picture(), [picture(seed=n) for n in range(4)] + [picture(seed=4), picture(seed=5), picture()])
    near[-1] += 0.01  # half of the noise
    before = answered_by(shipped, near[:4])
    assert not torch.allclose(answered_by(model, near), before, atol=1e-4)
    missing = [*near[:4], *[torch.zeros_like(picture())] * 3]
    assert torch.allclose(answered_by(model, missing), before, atol=1e-6)
    with torch.no_grad():
        model.shares.bias[-2:] = 0
    assert torch.allclose(answered_by(model, near), before, atol=1e-6)
    with pytest.raises(ValueError, match="does not fit"):
        NeighbourFilter(replace(shipped.config, reach=1)).start_from(shipped)


def test_a_filter_without_corrections_starts_from_one_that_has_some(shipped):
    near = differences(picture(), [picture(seed=n) for n in range(4)])
    plain = NeighbourFilter(NeighbourConfig(blocks=5))
    plain.start_from(shipped)
    assert torch.allclose(answered_by(plain, near), answered_by(shipped, near)[:, :PLANES], atol=1e-6)
    again = NeighbourFilter(shipped.config)
    again.start_from(plain)  # and back, with corrections that begin anew
    assert torch.allclose(answered_by(again, near)[:, :PLANES], answered_by(plain, near), atol=1e-6)
    with pytest.raises(ValueError, match="does not fit"):
        NeighbourFilter(replace(shipped.config, chroma_corrections=8)).start_from(shipped)


def test_a_frame_counts_where_it_agrees_with_the_filtered_picture(shipped):
    """However far it is from the picture as it was decoded."""
    model = NeighbourFilter(replace(shipped.config, network="lite"), load_model("lite").network)
    model.start_from(shipped)
    none = [torch.zeros_like(picture())] * 6
    change = answered_by(model, [*none, torch.zeros_like(picture())])[:, :PLANES]
    agreeing, other = (answered_by(model, [*none, change + off])[:, :PLANES] for off in (0.004, 0.2))
    assert ((agreeing - change) > 0).all()
    assert torch.allclose(other, change, atol=1e-6)


@pytest.fixture(scope="module")
def shipped():
    return load_neighbour(find("neighbour"))


def test_a_missing_neighbour_changes_nothing(shipped):
    """Neither its own weights nor what lies in its place count."""
    near = differences(picture(), [picture(), None, None, None])
    before = answered_by(shipped, near)
    changed = NeighbourFilter(shipped.config)
    changed.load_state_dict(shipped.state_dict())
    with torch.no_grad():
        changed.beside.weight[:, 7:] += 1  # of the places -2, 1 and 2
        changed.shares.weight[2:] += 1
    assert torch.allclose(answered_by(changed, near), before, atol=1e-6)
    there = differences(picture(), [picture(), picture(), None, None])
    assert not torch.allclose(answered_by(changed, there), before, atol=1e-3)


def test_a_neighbour_that_shows_something_else_changes_little(shipped):
    alone = answered_by(shipped, differences(picture(), [None] * 4))
    beside_others = answered_by(shipped, differences(picture(), [1 - picture()] * 4))
    assert (alone - beside_others).abs().mean() < 0.1 * alone.abs().mean()


def test_the_filter_answers_the_same_again(shipped):
    near = differences(picture(), [picture(seed=n) for n in range(4)])
    again = differences(picture(), [picture(seed=n) for n in range(4)])
    assert torch.equal(answered_by(shipped, near), answered_by(shipped, again))


@torch.no_grad()
def test_what_ships_betters_pictures_by_more_than_the_filter_of_one(shipped):
    originals = bunny_pictures(9)
    decoded = code(originals, Setting("x265", "medium", 30, 30), 30, 1)
    noise = torch.tensor([rgb_error(originals, decoded)])
    alone = load_model("bframe").codec.postfilter
    rows = [planes_of(one) for one in decoded]
    left = torch.zeros(3)
    for at in (3, 4, 5):
        error = planes_of(originals[at]) - rows[at]
        near = differences(rows[at], [rows[at + place] for place in shipped.config.places])
        parts = (error, error - alone(rows[at], noise), error - shipped(rows[at], near, noise)[:, :PLANES])
        left += torch.stack([seen(part).mean() for part in parts])
    plain, single, neighbours = (-10 * torch.log10(left)).tolist()
    assert single > plain + 0.05
    assert neighbours > single + 0.02
