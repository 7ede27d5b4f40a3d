"""Plans are judged by what their anchors cost once they are coded, not by what they were thought to cost."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from codec.encoder.rdo.gop_search import GopSearch, PeriodStatistics
from codec.gop.periods import Period

COUNT, ANCHOR, BFRAME = 33, 100.0, 40.0
AT_ANCHORS, OF_PREDICTION = 5.0, 10.0  # what the distortion alone costs


class Coded:
    """Anchors that cost what they are said to."""

    def __init__(self, pocs, costs):
        self.anchors = {poc: SimpleNamespace(shown=None) for poc in pocs}
        self.known = dict(zip(pocs, costs, strict=True))
        self.qualities = dict.fromkeys(pocs, AT_ANCHORS)
        self.unit = SimpleNamespace(noise=0)

    def costs(self, _price):
        return self.known


class AnchorPasses:
    """Codes anchors at a cost for each gap before them."""

    def __init__(self, cost, *, remembers=True, regular=False):
        self.cost, self.coded, self.pixels = cost, [], 1
        self.anchors = SimpleNamespace(remembers=remembers, regular=regular)

    def code_anew(self, period, gaps):
        self.coded.append(gaps)
        pocs = [period.intra + sum(gaps[:n]) for n in range(len(gaps) + 1)]
        return Coded(pocs, [ANCHOR, *(self.cost(gap) for gap in gaps)])

    def cheapest(self, period, gaps, _price):
        return self.code_anew(period, gaps)

    def shown(self, coded):
        return coded

    def quality(self, *_):
        return OF_PREDICTION


def seen(own=ANCHOR, total=None, count=COUNT):
    """So many pictures; B-frames between anchors 2 apart cost 40, in the middle of longer blocks less."""
    frames = tuple(SimpleNamespace(pts=n, picture=None) for n in range(count))
    choice = SimpleNamespace(free=BFRAME, cost=BFRAME)
    regular = SimpleNamespace(
        choices=dict.fromkeys(range(1, count, 4), choice),
        costs=dict.fromkeys(range(1, count, 4), BFRAME),
        bits=100,
        total=17 * ANCHOR + 16 * BFRAME if total is None else total,
    )
    spaced = {step: Coded(range(0, count, step), [ANCHOR] * len(range(0, count, step))) for step in (2, 4, 8)}
    price = SimpleNamespace(of=lambda cost: cost)
    alone = SimpleNamespace(costs=dict.fromkeys(range(count), own))
    return PeriodStatistics(Period(0, frames, False), price, alone, regular, spaced, 0.0)


def planner(tracks):
    return GopSearch(tracks, SimpleNamespace(reference=lambda picture: picture, predict=lambda *_: None))


def gaps_of(plan):
    pocs = sorted(plan.anchors.anchors)
    return {high - low for low, high in pairwise(pocs)}


def test_wide_blocks_are_chosen_where_they_are_cheap():
    assert gaps_of(planner(AnchorPasses(lambda gap: ANCHOR)).best(seen())) == {8}


@pytest.mark.parametrize("remembers", [True, False])
def test_a_plan_that_turns_out_dear_is_not_followed(remembers):
    tracks = AnchorPasses(lambda gap: ANCHOR if gap <= 2 else 10 * ANCHOR, remembers=remembers)
    assert planner(tracks).best(seen()) is None and tracks.coded


def test_pictures_of_the_own_order_are_left_out_if_they_cost_more_in_another():
    """Thought to be cheap, they are in the first plan; coded among others, they are not in what comes of it."""
    tracks = AnchorPasses(lambda gap: 5 * ANCHOR if gap == 1 else ANCHOR)
    found = planner(tracks).best(seen(own=ANCHOR / 8))
    assert 1 in tracks.coded[0] and gaps_of(found) == {8}


def test_an_encoder_that_needs_even_gaps_gets_them():
    tracks = AnchorPasses(lambda gap: ANCHOR, regular=True)
    assert gaps_of(planner(tracks).best(seen())) == {8} and len(tracks.coded) == 1
    assert planner(tracks).best(seen(own=ANCHOR / 8)) is None and len(tracks.coded) == 1


def test_nothing_is_planned_where_no_bframe_was_seen():
    nothing = seen()
    nothing.regular.choices.clear()
    tracks = AnchorPasses(lambda gap: ANCHOR)
    assert planner(tracks).best(nothing) is None and not tracks.coded


@pytest.mark.parametrize("count", [2, 3, 10, 16, 32])
def test_a_period_of_any_length_that_nothing_follows_has_plans(count):
    """Its last picture is an anchor, alone if need be."""
    tracks = AnchorPasses(lambda gap: ANCHOR)
    planner(tracks).best(seen(count=count, total=1e9))
    assert tracks.coded and all(sum(gaps) == count - 1 for gaps in tracks.coded)


def test_a_plan_is_given_up_when_it_lost_more_than_it_promised():
    known = seen()
    plan = planner(AnchorPasses(lambda gap: ANCHOR)).best(known)
    costs = 5 * ANCHOR + 4 * (3 * OF_PREDICTION + 4 * BFRAME)
    left = known.regular.total - costs + 0.03 * known.regular.bits
    assert plan.budget.left == pytest.approx(left)
    assert not plan.budget.spent(4, OF_PREDICTION) and plan.budget.left == pytest.approx(left)
    assert not plan.budget.spent(1, BFRAME + left - 1) and plan.budget.spent(3, BFRAME + 2)
