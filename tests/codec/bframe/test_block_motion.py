"""Blocks that copy the references: what is written is read, what they show, and that the search finds what there is."""

import numba
import numpy as np
import pytest
import scipy.fft
import torch
import torch.nn.functional as F

from codec.bframe.block_costs import BITS, unit_bits
from codec.bframe.block_motion import BOTH, FUTURE, NETWORK, PAST, SPLIT, Blocks, code_blocks, components_used
from codec.bframe.motion_search import BlockSearch
from codec.bframe.obmc import EDGE, compensated
from codec.bframe.subpel import Samples, picture_of
from codec.compiled import compiled
from entropy import EntropyError, Estimate, Read, ReadMany, Write, WriteMany

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


def find_blocks(past, future, target, *, slope, weight, **given):
    return BlockSearch(past, future, target, slope=slope, weight=weight).find(**given)


def same(a, b):
    """Whether two copy the same."""
    (kinds, vectors), (others, other_vectors) = a.fine, b.fine
    where = components_used(kinds)
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


def test_samples_without_blocks_have_nothing_on_their_tapes():
    some, flow = some_blocks(), 3 * torch.randn(3, 4, *SIZE, generator=torch.Generator().manual_seed(1))
    blocks = Blocks.together([some] * 3).only(torch.tensor([True, False, True]).view(-1, 1, 1, 1))
    tapes = [Write() for _ in range(3)]
    assert same(code_blocks(WriteMany(tapes), flow, blocks, blocks.used), blocks)
    strings = [tape.finish() for tape in tapes]
    alone = Write()
    code_blocks(alone, flow[2:], some)
    assert not strings[1] and strings[2] == alone.finish()
    assert same(code_blocks(ReadMany([Read(string) for string in strings]), flow, None, blocks.used), blocks)
    first, second, third = blocks.each()
    assert first is not None and second is None and third is not None and same(third, some)


def test_another_machines_rounding_errors_leave_the_symbols_as_they_are():
    """A vector may be a quarter of a pixel off where the flow stands between two; which are read does not change."""
    blocks, flow = some_blocks(), 3 * torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(1))
    tape = Write()
    code_blocks(tape, flow, blocks)
    reader = Read(tape.finish())
    found = code_blocks(reader, flow + 1e-5 * torch.randn(flow.shape), None)
    reader.finish()
    kinds, vectors = blocks.fine
    where = components_used(kinds)
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
            assert compensated(past, future, past, blocks, noise=torch.ones(1)).isfinite().all()
            shown += 1
    assert shown


def copy_along(picture, vectors):
    """The whole picture, motion-compensated by vectors (1,2,h,w)."""
    places = torch.arange(vectors[0, 0].numel())
    return picture_of(Samples(picture).along(places, vectors[0].flatten(1).T), picture.shape)


def test_whole_vectors_copy_samples_and_quarters_filter_as_hevc_does():
    picture = texture(3)
    vectors = torch.tensor([8, -4]).view(1, 2, 1, 1).expand(1, 2, SIZE[0] // 8, SIZE[1] // 8)
    moved = copy_along(picture, vectors)
    assert torch.equal(moved[..., 1:, :-2], picture[..., :-1, 2:])
    assert torch.equal(moved[..., 0, :-2], picture[..., 0, 2:])  # the edge repeated
    half = copy_along(picture, torch.full_like(vectors, 0) + torch.tensor([2, 0]).view(1, 2, 1, 1))
    taps = torch.tensor([-1, 4, -11, 40, 40, -11, 4, -1]) / 64
    expected = (picture[0, 1, 20, 7:15] * taps).sum()
    assert half[0, 1, 20, 10] == pytest.approx(float(expected), abs=1e-6)
    quarter = copy_along(picture, torch.tensor([0, 3]).view(1, 2, 1, 1).expand_as(vectors))
    taps = torch.tensor([0, 1, -5, 17, 58, -10, 4, -1]) / 64
    expected = (picture[0, 2, 17:25, 30] * taps).sum()
    assert quarter[0, 2, 20, 30] == pytest.approx(float(expected), abs=1e-6)


def test_kinds_say_what_is_compensated_and_split_blocks_are_four():
    past, future = texture(4), texture(5)
    kinds = torch.zeros(1, 1, SIZE[0] // 16, SIZE[1] // 16, dtype=torch.long)
    kinds[0, 0, 0, :4] = torch.tensor([PAST, FUTURE, BOTH, SPLIT])
    parts = torch.zeros(1, 1, SIZE[0] // 8, SIZE[1] // 8, dtype=torch.long)
    parts[0, 0, 1, 7] = FUTURE
    zeros = [torch.zeros(1, 4, *kind.shape[2:], dtype=torch.long) for kind in (kinds, parts)]
    network = texture(11)
    picture = compensated(past, future, network, Blocks(kinds, zeros[0], parts, zeros[1]), noise=torch.zeros(1))
    expected = network.clone()
    expected[..., :16, :16] = past[..., :16, :16]
    expected[..., :16, 16:32] = future[..., :16, 16:32]
    expected[..., :16, 32:48] = (past + future)[..., :16, 32:48] / 2
    expected[..., 8:16, 56:64] = future[..., 8:16, 56:64]
    assert (picture - expected).abs().max() < 0.004  # edges are blended where both sides all but agree
    assert torch.equal(picture[..., 24:, :], network[..., 24:, :])


def test_edges_are_blended_as_far_as_both_sides_agree_within_noise():
    flat = torch.full((1, 3, *SIZE), 0.5)
    kinds = torch.zeros(1, 1, SIZE[0] // 16, SIZE[1] // 16, dtype=torch.long)
    kinds[..., 2] = PAST
    vectors = torch.zeros(1, 4, *kinds.shape[2:], dtype=torch.long)
    parts = kinds.new_zeros(1, 1, SIZE[0] // 8, SIZE[1] // 8)
    blocks = Blocks(kinds, vectors, parts, vectors.new_zeros(1, 4, *parts.shape[2:]))

    def shown(step, noise):
        return compensated(flat + step, flat, flat, blocks, noise=torch.tensor([noise]))[0, 0, 20] - 0.5

    near = shown(0.01, 1.0)  # far within noise: plain weighted means, mirrored at the edge
    ramp = [EDGE * 2 ** (-n / 2) for n in range(8)]
    around = ramp[4] + ramp[3]  # row 20 is the fifth of its 8x8
    for n in range(4):
        share = ramp[n] / (1 + around + ramp[n] + ramp[7 - n])
        assert near[32 + n] == pytest.approx(0.01 * (1 - share), rel=1e-3)
        assert near[31 - n] == pytest.approx(0.01 * share, rel=1e-3)
    assert not near[:24].any()
    far = shown(0.4, 0.005)  # an edge that noise does not explain
    assert far[31] < 0.004 and far[32] > 0.396


def test_neighbours_that_copy_alike_are_as_one_block():
    kinds = torch.full((1, 1, SIZE[0] // 16, SIZE[1] // 16), FUTURE)
    vectors = torch.zeros(1, 4, *kinds.shape[2:], dtype=torch.long)
    parts = torch.zeros(1, 1, SIZE[0] // 8, SIZE[1] // 8, dtype=torch.long)
    blocks = Blocks(kinds, vectors, parts, vectors.new_zeros(1, 4, *parts.shape[2:]))
    assert torch.equal(compensated(texture(1), texture(3), texture(2), blocks, noise=torch.ones(1)), texture(3))


def test_the_search_finds_a_motion_that_the_network_missed():
    past, future = texture(6, (96, 128)), texture(7, (96, 128))
    target = past.roll((5, -21), (2, 3))  # of the whole picture, 5 down and 21 to the left
    predicted, flow = (past + future) / 2, torch.zeros(1, 4, 96, 128)
    blocks = find_blocks(
        past, future, target, flow=flow, predicted=predicted, slope=SLOPE, weight=torch.ones(1, 1, 1, 1)
    )
    kinds, vectors = blocks.fine
    inner = (slice(None), slice(None), slice(2, -2), slice(4, -4))
    assert (kinds[inner] == PAST).all()
    assert (vectors[:, 0:1][inner] == 4 * 21).all() and (vectors[:, 1:2][inner] == -4 * 5).all()
    picture = compensated(past, future, predicted, blocks, noise=torch.ones(1))
    assert (picture - target)[..., 24:-24, 40:-40].abs().max() < 1e-6


def test_blocks_take_up_the_motion_of_those_beside_them():
    past, future = texture(6, (96, 128)), texture(7, (96, 128))
    target = past.roll(-32, 3)
    flow, weight = torch.zeros(1, 4, 96, 128), torch.ones(1, 1, 1, 1)
    start = Blocks(*(torch.zeros(1, channels, 6 * n, 8 * n, dtype=torch.long) for n in (1, 2) for channels in (1, 4)))
    start.vectors[:, 0, :, ::2] = 4 * 32  # known in every other column
    given = {"flow": flow, "predicted": (past + future) / 2, "slope": SLOPE, "weight": weight}
    blocks = find_blocks(past, future, target, **given, start=start)
    kinds, vectors = (x[..., 4:-4, 4:-4] for x in blocks.fine)
    assert (kinds == PAST).all() and (vectors[:, 0] == 4 * 32).all() and (vectors[:, 1] == 0).all()


def test_where_the_prediction_is_good_no_block_is_compensated():
    past, future, target = texture(8), texture(8), texture(8)
    flow, weight = torch.zeros(1, 4, *SIZE), torch.ones(1, 1, 1, 1)
    assert find_blocks(past, future, target, flow=flow, predicted=target, slope=SLOPE, weight=weight) is None
    none = {"flow": flow, "predicted": texture(9), "slope": SLOPE}
    assert find_blocks(past, future, target, weight=torch.zeros(1, 1, 1, 1), **none) is None
    assert find_blocks(past, future, target, weight=weight, **none) is not None


def test_blocks_that_are_passed_over_could_not_have_won(monkeypatch):
    past, future, target = (texture(seed) for seed in (20, 21, 22))
    predicted = target.clone()
    predicted[..., :32, 40:] = past[..., :32, 40:]
    flow = torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(3))
    given = {"flow": flow, "predicted": predicted, "slope": SLOPE, "weight": torch.ones(1, 1, 1, 1)}
    found = find_blocks(past, future, target, **given)
    for limit in ("LEAST_ONE", "LEAST_BOTH"):
        monkeypatch.setattr(f"codec.bframe.motion_search.{limit}", -1.0)
    assert same(find_blocks(past, future, target, **given), found)


def test_pictures_together_find_what_each_finds_alone():
    pictures = [[texture(seed) for seed in range(3 * n, 3 * n + 3)] for n in range(2)]
    flows = [torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    slopes = torch.tensor([300.0, 40.0])

    def found(pictures, flow, slope):
        past, future, target = pictures
        weight = torch.ones(1, 1, 1, 1)
        return find_blocks(past, future, target, flow=flow, predicted=past.flip(1), slope=slope, weight=weight)

    alone = [found(*given) for given in zip(pictures, flows, slopes.split(1), strict=True)]
    both = found([torch.cat(x) for x in zip(*pictures, strict=True)], torch.cat(flows), slopes)
    for kinds, parts in ((both.kinds, "kinds"), (both.vectors, "vectors"), (both.parts, "parts")):
        assert torch.equal(kinds, torch.cat([getattr(blocks, parts) for blocks in alone]))
    past, future, _ = (torch.cat(x) for x in zip(*pictures, strict=True))
    noise = torch.tensor([0.02, 0.2])
    shown = compensated(past, future, past.flip(1), both, noise=noise)
    for n, blocks in enumerate(alone):
        alone_shown = compensated(*pictures[n][:2], pictures[n][0].flip(1), blocks, noise=noise[n : n + 1])
        assert torch.equal(shown[n : n + 1], alone_shown)
    tape = Estimate("round")
    assert same(code_blocks(tape, torch.cat(flows), both), both) and tape.total("blocks").shape == (2,)


def test_threads_that_share_the_rows_find_the_same():
    past, future, target = (texture(seed) for seed in (20, 21, 22))
    flow = torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(3))
    given = {"flow": flow, "predicted": past.flip(1), "slope": SLOPE, "weight": torch.ones(1, 1, 1, 1)}
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 100):  # more than there are rows
            torch.set_num_threads(threads)
            found.append(find_blocks(past, future, target, **given))
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1]) and same(found[0], found[2])


def test_where_nothing_can_be_kept_on_disk_functions_are_compiled_all_the_same(monkeypatch):
    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba_njit(**options)

    numba_njit = numba.njit
    monkeypatch.setattr(numba, "njit", njit)
    assert compiled(lambda number: number + 1)(1) == 2


def test_costs_of_blocks_are_those_of_their_dct_coefficients():
    generator = torch.Generator().manual_seed(5)
    for scale in (0.1, 1.0, 30.0, 3000.0):
        error = scale * torch.randn(8, 8, generator=generator)
        powers = np.square(scipy.fft.dctn(error.double().numpy(), norm="ortho"))
        expected = BITS * (np.minimum(powers, 1) + np.log(np.maximum(powers, 1))).sum()
        assert unit_bits(error.flatten().numpy().copy()) == pytest.approx(expected, rel=1e-4)
