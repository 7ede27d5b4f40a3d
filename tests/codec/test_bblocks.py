"""Blocks that copy the references: what is written is read, what they show, and that the search finds what there is."""

import pytest
import torch
import torch.nn.functional as F

from codec.bblocks import BOTH, FUTURE, NETWORK, PAST, SPLIT, Blocks, code_blocks, compensated, copied, copy_along
from codec.bsearch import find_blocks
from entropy import EntropyError, Estimate, Read, Write

SIZE = (64, 96)
SLOPE = torch.tensor([500.0])


def texture(seed, size=SIZE):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, size[0] // 4, size[1] // 4), generator=generator)
    return F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)


def some_blocks(seed=0, reach=40):
    generator = torch.Generator().manual_seed(seed)

    def numbers(low, high, *shape):
        return torch.randint(low, high, shape, generator=generator)

    height, width = SIZE[0] // 16, SIZE[1] // 16
    return Blocks(
        numbers(NETWORK, SPLIT + 1, 1, 1, height, width),
        numbers(-reach, reach, 1, 4, height, width),
        numbers(NETWORK, BOTH + 1, 1, 1, 2 * height, 2 * width),
        numbers(-reach, reach, 1, 4, 2 * height, 2 * width),
    )


def same(a, b):
    """Whether two copy the same."""
    (kinds, vectors), (others, other_vectors) = a.fine, b.fine
    where = copied(kinds)
    return torch.equal(kinds, others) and torch.equal(vectors[where], other_vectors[where])


@pytest.mark.parametrize("reach", [1, 40, 3000])
def test_what_is_written_is_read_and_costs_what_was_estimated(reach):
    blocks, flow = some_blocks(reach=reach), 3 * torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(1))
    tape, estimate = Write(), Estimate("round")
    assert same(code_blocks(tape, flow, blocks), blocks) and same(code_blocks(estimate, flow, blocks), blocks)
    data = tape.finish()
    reader = Read(data)
    found = code_blocks(reader, flow, None)
    reader.finish()
    assert same(found, blocks)
    if reach <= 40:
        assert float(estimate.total("blocks").sum()) == pytest.approx(8 * len(data), abs=64)


def test_another_machines_rounding_errors_leave_the_symbols_as_they_are():
    """A vector may be a quarter of a pixel off where the flow stands between two; which are read does not change."""
    blocks, flow = some_blocks(), 3 * torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(1))
    tape = Write()
    code_blocks(tape, flow, blocks)
    reader = Read(tape.finish())
    found = code_blocks(reader, flow + 1e-5 * torch.randn(flow.shape), None)
    reader.finish()
    kinds, vectors = blocks.fine
    where = copied(kinds)
    off = (found.fine[1] - vectors)[where].abs()
    assert torch.equal(found.fine[0], kinds) and off.max() <= 1 and off.float().mean() < 0.02


def test_no_string_harms_the_reader():
    """Whatever it holds: an error, or blocks that can be shown."""
    past, future = texture(0), texture(1)
    generator = torch.Generator().manual_seed(2)
    shown = 0
    for length in (8, 40, 400, 4000):
        for _ in range(5):
            data = bytes(torch.randint(0, 256, (length,), generator=generator).tolist())
            try:
                blocks = code_blocks(Read(data), torch.zeros(1, 4, *SIZE), None)
            except EntropyError:
                continue
            picture, _ = compensated(past, future, blocks)
            assert picture.isfinite().all()
            shown += 1
    assert shown


def test_whole_vectors_copy_samples_and_quarters_filter_as_hevc_does():
    picture = texture(3)
    vectors = torch.tensor([8, -4]).view(1, 2, 1, 1).expand(1, 2, SIZE[0] // 8, SIZE[1] // 8)
    moved = copy_along(picture, vectors, 8)
    assert torch.equal(moved[..., 1:, :-2], picture[..., :-1, 2:])
    assert torch.equal(moved[..., 0, :-2], picture[..., 0, 2:])  # the edge repeated
    half = copy_along(picture, torch.full_like(vectors, 0) + torch.tensor([2, 0]).view(1, 2, 1, 1), 8)
    taps = torch.tensor([-1, 4, -11, 40, 40, -11, 4, -1]) / 64
    expected = (picture[0, 1, 20, 7:15] * taps).sum()
    assert half[0, 1, 20, 10] == pytest.approx(float(expected), abs=1e-6)
    quarter = copy_along(picture, torch.tensor([0, 3]).view(1, 2, 1, 1).expand_as(vectors), 8)
    taps = torch.tensor([0, 1, -5, 17, 58, -10, 4, -1]) / 64
    expected = (picture[0, 2, 17:25, 30] * taps).sum()
    assert quarter[0, 2, 20, 30] == pytest.approx(float(expected), abs=1e-6)


def test_kinds_say_what_is_copied_and_split_blocks_are_four():
    past, future = texture(4), texture(5)
    kinds = torch.zeros(1, 1, SIZE[0] // 16, SIZE[1] // 16, dtype=torch.long)
    kinds[0, 0, 0, :4] = torch.tensor([PAST, FUTURE, BOTH, SPLIT])
    parts = torch.zeros(1, 1, SIZE[0] // 8, SIZE[1] // 8, dtype=torch.long)
    parts[0, 0, 1, 7] = FUTURE
    zeros = [torch.zeros(1, 4, *kind.shape[2:], dtype=torch.long) for kind in (kinds, parts)]
    picture, where = compensated(past, future, Blocks(kinds, zeros[0], parts, zeros[1]))
    rows = slice(0, 16)
    assert torch.equal(picture[..., rows, :16], past[..., rows, :16])
    assert torch.equal(picture[..., rows, 16:32], future[..., rows, 16:32])
    assert torch.equal(picture[..., rows, 32:48], (past + future)[..., rows, 32:48] / 2)
    assert torch.equal(picture[..., 8:16, 56:64], future[..., 8:16, 56:64])
    assert where.sum() == 3 * 16 * 16 + 8 * 8


def test_the_search_finds_a_motion_that_the_network_missed():
    past, future = texture(6, (96, 128)), texture(7, (96, 128))
    target = past.roll((5, -21), (2, 3))  # of the whole picture, 5 down and 21 to the left
    predicted, flow = (past + future) / 2, torch.zeros(1, 4, 96, 128)
    blocks = find_blocks(past, future, target, flow=flow, predicted=predicted, slope=SLOPE, seen=torch.ones(1, 1, 1, 1))
    kinds, vectors = blocks.fine
    inner = (slice(None), slice(None), slice(2, -2), slice(4, -4))
    assert (kinds[inner] == PAST).all()
    assert (vectors[:, 0:1][inner] == 4 * 21).all() and (vectors[:, 1:2][inner] == -4 * 5).all()
    picture, where = compensated(past, future, blocks)
    assert (picture - target)[..., 16:-16, 32:-32].abs().max() < 1e-6 and where[..., 16:-16, 32:-32].all()


def test_where_the_prediction_is_good_nothing_is_copied():
    past, future, target = texture(8), texture(8), texture(8)
    flow, seen = torch.zeros(1, 4, *SIZE), torch.ones(1, 1, 1, 1)
    assert find_blocks(past, future, target, flow=flow, predicted=target, slope=SLOPE, seen=seen) is None
    none = {"flow": flow, "predicted": texture(9), "slope": SLOPE}
    assert find_blocks(past, future, target, seen=torch.zeros(1, 1, 1, 1), **none) is None
    assert find_blocks(past, future, target, seen=seen, **none) is not None


def test_pictures_together_find_what_each_finds_alone():
    pictures = [[texture(seed) for seed in range(3 * n, 3 * n + 3)] for n in range(2)]
    flows = [torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    slopes = torch.tensor([300.0, 40.0])

    def found(pictures, flow, slope):
        past, future, target = pictures
        seen = torch.ones(1, 1, 1, 1)
        return find_blocks(past, future, target, flow=flow, predicted=past.flip(1), slope=slope, seen=seen)

    alone = [found(*given) for given in zip(pictures, flows, slopes.split(1), strict=True)]
    both = found([torch.cat(x) for x in zip(*pictures, strict=True)], torch.cat(flows), slopes)
    for kinds, parts in ((both.kinds, "kinds"), (both.vectors, "vectors"), (both.parts, "parts")):
        assert torch.equal(kinds, torch.cat([getattr(blocks, parts) for blocks in alone]))
    past, future, _ = (torch.cat(x) for x in zip(*pictures, strict=True))
    shown, where = compensated(past, future, both)
    for n, blocks in enumerate(alone):
        one, there = compensated(*pictures[n][:2], blocks)
        assert torch.equal(shown[n : n + 1], one) and torch.equal(where[n : n + 1], there)
    tape = Estimate("round")
    assert same(code_blocks(tape, torch.cat(flows), both), both) and tape.total("blocks").shape == (2,)
