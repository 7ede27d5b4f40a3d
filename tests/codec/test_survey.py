"""What is said of an order before all of it is coded."""

import pytest

from codec.gop import Segment
from codec.packets import Unit
from codec.survey import LITTLE, SEEN, Candidate, _Contest, _cost_in_block


def rival(costs, total_bits=8000):
    """An order of anchors alone with these costs by POC."""

    class Measured(Candidate):
        bits = total_bits  # type: ignore[assignment]

    unit = Unit(Segment(0, (1,) * (len(costs) - 1)), 0, (), [])
    return Measured("own", unit, dict(enumerate(costs)), {}, float(sum(costs)))


def test_frames_that_lead_the_next_intra_count_in_a_contest():
    """No B-frame is cheaper than its rival, but three more that take the place of dear anchors will be."""
    others = rival([300.0, 100.0, 100.0, 100.0, 100.0, 300.0, 300.0, 300.0, 300.0])
    anchors, between = {0: 300.0, 5: 300.0}, (1, 2, 3, 4)
    with_tail = _Contest(anchors, others, 4, range(6, 9), -LITTLE)
    assert not any(with_tail.lost(poc, 100.0) for poc in between)
    without = _Contest(anchors, others, 4, (), -LITTLE)
    assert [without.lost(poc, 100.0) for poc in between] == [False, True, True, True]


@pytest.mark.parametrize(("cost", "lost"), [(280.0, False), (300.0, True), (310.0, True)])
def test_an_order_that_saves_nothing_is_given_up_after_a_part_of_it(cost, lost):
    contest = _Contest({0: 300.0}, rival([300.0] * 11), 10, (), -LITTLE)
    said = [contest.lost(poc, cost) for poc in range(1, 11)]
    assert not any(said[: int(10 * SEEN) - 1]) and said[-1] is lost


def test_a_clear_loss_is_needed_where_little_may_be_lost():
    assert not _Contest({0: 300.0}, rival([300.0] * 11), 10, (), 0.15).lost(1, 310.0)
    contest = _Contest({0: 300.0}, rival([300.0] * 11), 10, (), 0.15)
    assert [contest.lost(poc, 500.0) for poc in range(1, 6)][-1]


def test_a_block_costs_what_blocks_as_long_cost():
    segment = Segment(0, (4, 2, 1, 2))
    costs = dict.fromkeys((1, 2, 3), 30.0) | {5: 6.0, 8: 12.0}
    assert _cost_in_block(2, segment, costs) == pytest.approx((90 + 18) / 5)
    assert _cost_in_block(4, segment, costs) == _cost_in_block(8, segment, costs) == 30
    assert _cost_in_block(3, Segment(0, (1, 1)), {0: 5.0, 1: 7.0}) == 6  # no B-frame at all
