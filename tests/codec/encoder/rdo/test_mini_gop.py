"""The cheapest chain of blocks, what quality is worth, and the search for a rate: laws."""

import itertools
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.encoder.rate_control import Goal, meet
from codec.encoder.rdo.lagrangian import Lagrangian, lagrangian_of
from codec.encoder.rdo.mini_gop import NEVER, BlockCosts, best_gaps, bframe_costs_of, corrected, cost_of
from codec.video.metrics import Quality

costs = st.floats(-100, 100)


def chains(count, linked):
    """All allowed gaps of a short period, the last block before a next I left out."""
    stop = count if linked else count - 1
    for gaps in itertools.chain(*(itertools.product((1, 2, 4), repeat=n) for n in range(stop + 1))):
        starts = list(itertools.accumulate(gaps, initial=0))
        if starts[-1] == stop and all(start % gap == 0 for start, gap in zip(starts, gaps, strict=False)):
            yield gaps


@given(st.data(), st.integers(1, 8), st.booleans())
def test_no_chain_is_cheaper(data, count, linked):
    row = st.lists(costs, min_size=count, max_size=count)
    blocks = {length: BlockCosts(data.draw(row), data.draw(row)) for length in (1, 2, 4)}

    def total(gaps):
        starts = list(itertools.accumulate(gaps, initial=0))
        return sum(blocks[gap].of(start, start + gap) for start, gap in zip(starts, gaps, strict=False))

    found = best_gaps(blocks, count, linked=linked)
    cheapest = min(map(total, chains(count, linked)))
    last = (count - sum(found),) if linked else ()
    assert total(found + last) == pytest.approx(cheapest, abs=1e-9)
    if linked:
        assert cost_of(found, blocks, count) == pytest.approx(cheapest, abs=1e-9)


@given(st.integers(1, 20), st.booleans())
def test_no_picture_stands_alone_but_the_last(count, linked):
    """However cheap that were."""
    blocks = {length: BlockCosts([float(length > 1)] * count, [9.0] * count) for length in (1, 2, 4)}
    gaps = best_gaps(blocks, count, linked=linked, singles=False)
    stop = count if linked else count - 1
    whole = (*gaps, stop - sum(gaps)) if linked and stop else gaps
    assert sum(whole) == stop and 1 not in whole[:-1]
    assert (1 in whole) == (stop % 2 == 1)


def test_what_cannot_be_is_not_chosen():
    blocks = {1: BlockCosts([1.0] * 9, [0.0] * 9), 8: BlockCosts([0.0] * 9, [NEVER] * 9)}
    assert best_gaps(blocks, 9, linked=False) == (1,) * 8


def test_a_last_block_of_any_length_has_a_cost():
    blocks = {length: BlockCosts([length] * 8, [0.5] * 8) for length in (1, 2, 4)}
    assert cost_of((4, 3), blocks, 8) == 4 + 1.5 + 4 + 1.0
    assert cost_of((4,), blocks, 8) == 4 + 1.5 + 1.5


@given(st.data(), st.integers(1, 8), st.booleans())
def test_a_coded_chain_corrects_its_expectation_to_what_it_cost(data, count, linked):
    """And what other lengths cost stays; B-frames do too."""
    row = st.lists(costs, min_size=count, max_size=count)
    blocks = {length: BlockCosts(data.draw(row), data.draw(row)) for length in (1, 2, 4)}
    gaps, anchors = best_gaps(blocks, count, linked=linked), data.draw(row)
    after = corrected(blocks, gaps, anchors)
    paid = sum(anchors[end] for end in itertools.accumulate(gaps))
    assert cost_of(gaps, after, count) == pytest.approx(
        paid + sum(bframe_costs_of(gaps, blocks, count).values()), abs=1e-9
    )
    assert all(after[length] == blocks[length] for length in blocks if length not in gaps)
    assert all(after[length].bframe_costs == blocks[length].bframe_costs for length in blocks)


def quality(psnr, similarity=math.nan):
    return Quality(psnr, psnr, psnr, psnr, similarity)


def point(bits, qualities):
    """What an encoder made of some frames, as far as lambda depends on it."""
    return SimpleNamespace(bits=bits, qualities=dict(enumerate(qualities)))


def test_lambda_is_the_encoders_own_and_its_slope_the_derivative():
    """On an encoder whose bits double every three dB, moving a little along its curve changes no cost."""
    own, coarser = (point(4 * bits, [quality(psnr)] * 4) for bits, psnr in ((4000, 33.0), (2000, 30.0)))
    lagrangian = lagrangian_of(own, coarser, "psnr_rgb", slope=800.0, pixels=96 * 64)
    near = 33.0 + 1e-6
    gained = lagrangian.distortion(quality(33.0)) - lagrangian.distortion(quality(near))
    assert gained == pytest.approx(4000 * 2 ** ((near - 33.0) / 3) - 4000, rel=1e-3)
    assert lagrangian.bits == lagrangian.bits_per_db
    mse, step = 10**-3.3, 1e-7
    dearer = lagrangian.bits * 10 * math.log10((mse + step) / mse)
    assert lagrangian.slope(33.0, 96 * 64) == pytest.approx(dearer / step / (96 * 64), rel=1e-3)


def test_by_structure_too_a_small_move_along_the_curve_changes_no_cost():
    """Bits double where MS-SSIM's distance from 1 halves."""
    own, coarser = (
        point(4 * bits, [quality(psnr, 1 - lost)] * 4) for bits, psnr, lost in ((4000, 33.0, 0.01), (2000, 30.0, 0.02))
    )
    lagrangian = lagrangian_of(own, coarser, "ms_ssim", slope=800.0, pixels=96 * 64)
    near = 0.01 - 1e-8
    gained = lagrangian.distortion(quality(33.0, 0.99)) - lagrangian.distortion(quality(33.0, 1 - near))
    assert gained == pytest.approx(4000 * 0.01 / near - 4000, rel=1e-3)


def test_a_lost_picture_costs_as_its_squared_error_does():
    lagrangian = Lagrangian("psnr_rgb", bits=1000.0, bits_per_db=1000.0, video_psnr=36.0)
    usual, edge, lost, worse = (lagrangian.distortion(quality(psnr)) for psnr in (36.0, 30.0, 10.0, 7.0))
    assert edge - usual == pytest.approx(6000)
    assert lagrangian.distortion(quality(29.999)) - edge == pytest.approx(1.0, rel=1e-2)  # no jump
    assert lost - edge > 100_000 and worse - edge == pytest.approx(2 * (lost - edge), rel=0.02)


@pytest.mark.parametrize("second", [30.0, 29.0])
def test_where_the_curve_says_nothing_the_table_counts(second):
    coarser, own = (point(bits, [quality(psnr, 0.9)]) for bits, psnr in ((2000, 30.0), (2100, second)))
    for measure in ("psnr_rgb", "ms_ssim"):
        lagrangian = lagrangian_of(own, coarser, measure, slope=50.0, pixels=6144)
        assert lagrangian.slope(second, 6144) == pytest.approx(50.0) and 0 < lagrangian.bits < math.inf


@pytest.mark.parametrize("similarity", [1.0, 1.0 + 1e-7])
def test_pictures_without_any_loss_of_structure_have_a_lambda(similarity):
    own, coarser = (point(bits, [quality(psnr, similarity)]) for bits, psnr in ((2100, 90.0), (2000, 80.0)))
    assert 0 < lagrangian_of(own, coarser, "ms_ssim", slope=1e-3, pixels=6144).bits < math.inf


@pytest.mark.parametrize("wanted", [60_000, 250_000, 1_000_000])
def test_a_rate_is_met_in_few_passes(wanted):
    """Rates that rise by a factor an octave, the whole codec's other than the encoder's."""
    passes = []

    def summary(rate):
        return SimpleNamespace(kbits_per_second=rate / 1000)

    def whole(finer):
        passes.append(finer)
        return summary(200_000 * 1.8**finer * (1 + 0.02 * finer))

    met = meet(Goal("bitrate", wanted), lambda finer: summary(260_000 * 1.7**finer), whole)
    assert met.kbits_per_second * 1000 == pytest.approx(wanted, rel=0.03) and len(passes) <= 3


@pytest.mark.parametrize(("wanted", "found"), [(1_000, 25.0), (9_000_000_000, 1600.0)])
def test_a_rate_beyond_the_scale_gives_its_end_and_is_said(wanted, found, caplog):
    def rate(finer):
        return SimpleNamespace(kbits_per_second=200 * 2 ** min(max(finer, -3), 3))

    assert meet(Goal("bitrate", wanted), rate, rate).kbits_per_second == found
    assert caplog.messages == [f"--bitrate: not met; the nearest that was found is {found} kbit/s"]
