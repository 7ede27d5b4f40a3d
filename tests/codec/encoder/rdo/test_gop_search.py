"""Plans are judged by what their anchors cost once they are coded, not by what they were thought to cost."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from codec.bframe.records import Anchor
from codec.bframe.tasks import Made
from codec.encoder.rdo.anchor_passes import PeriodPasses
from codec.encoder.rdo.early_stop import Race
from codec.encoder.rdo.gop_decision import CLEAR, _race
from codec.encoder.rdo.gop_search import GopSearch, PeriodStatistics
from codec.gop.periods import Period
from codec.parallel.executor import Known

COUNT, ANCHOR, BFRAME = 33, 100.0, 40.0
AT_ANCHORS, OF_PREDICTION = 5.0, 10.0  # what the distortion alone costs


class Coded:
    """Anchors that cost what they are said to."""

    def __init__(self, pocs, costs):
        self.anchors = {poc: Anchor(None, None) for poc in pocs}
        self.known = dict(zip(pocs, costs, strict=True))
        self.qualities = dict.fromkeys(pocs, AT_ANCHORS)
        self.unit = SimpleNamespace(anchor_quality_qdb=0)


class AnchorPasses:
    """Codes anchors at a cost for each gap before them."""

    def __init__(self, cost, *, remembers=True, regular=False):
        self.cost, self.coded, self.pixels = cost, [], 1
        self.anchor_codec = SimpleNamespace(remembers=remembers, regular=regular)
        self.meter = SimpleNamespace(filtered=lambda coded: coded, quality=lambda *_: OF_PREDICTION)

    def code_anew(self, period, gaps):
        self.coded.append(gaps)
        pocs = [period.intra + sum(gaps[:n]) for n in range(len(gaps) + 1)]
        return Coded(pocs, [ANCHOR, *(self.cost(gap) for gap in gaps)])

    def cheapest(self, period, gaps, _price):
        return self.code_anew(period, gaps)


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
    runs = {step: Coded(range(0, count, step), [ANCHOR] * len(range(0, count, step))) for step in (1, 2, 4, 8)}
    lagrangian = SimpleNamespace(distortion=lambda cost: cost, costs=lambda coded: coded.known)
    alone = SimpleNamespace(costs=dict.fromkeys(range(count), own))
    passes = PeriodPasses(period=Period(0, frames, False), lagrangian=lagrangian, runs=runs)
    return PeriodStatistics(passes=passes, alone=alone, regular=regular, filter_gain=0.0)


def search(passes):
    return GopSearch(passes, SimpleNamespace(submit=lambda _: Known(Made(None))))


def gaps_of(plan):
    anchors, _ = plan
    pocs = sorted(anchors.anchors)
    return {high - low for low, high in pairwise(pocs)}


def test_wide_blocks_are_chosen_where_they_are_cheap():
    assert gaps_of(search(AnchorPasses(lambda gap: ANCHOR)).best(seen())) == {8}


@pytest.mark.parametrize("remembers", [True, False])
def test_a_plan_that_turns_out_dear_is_not_followed(remembers):
    passes = AnchorPasses(lambda gap: ANCHOR if gap <= 2 else 10 * ANCHOR, remembers=remembers)
    assert search(passes).best(seen()) is None and passes.coded


def test_pictures_of_the_own_order_are_left_out_if_they_cost_more_in_another():
    """Thought to be cheap, they are in the first plan; coded among others, they are not in what comes of it."""
    passes = AnchorPasses(lambda gap: 5 * ANCHOR if gap == 1 else ANCHOR)
    found = search(passes).best(seen(own=ANCHOR / 8))
    assert 1 in passes.coded[0] and gaps_of(found) == {8}


def test_an_encoder_that_needs_even_gaps_gets_them():
    passes = AnchorPasses(lambda gap: ANCHOR, regular=True)
    assert gaps_of(search(passes).best(seen())) == {8} and len(passes.coded) == 1
    assert search(passes).best(seen(own=ANCHOR / 8)) is None and len(passes.coded) == 1


def test_nothing_is_planned_where_no_bframe_was_seen():
    nothing = seen()
    nothing.regular.choices.clear()
    passes = AnchorPasses(lambda gap: ANCHOR)
    assert search(passes).best(nothing) is None and not passes.coded


@pytest.mark.parametrize("count", [2, 3, 10, 16, 32])
def test_a_period_of_any_length_that_nothing_follows_has_plans(count):
    """Its last picture is an anchor, alone if need be."""
    passes = AnchorPasses(lambda gap: ANCHOR)
    search(passes).best(seen(count=count, total=1e9))
    assert passes.coded and all(sum(gaps) == count - 1 for gaps in passes.coded)


def test_a_plan_races_for_what_it_promised_and_a_little_more():
    known = seen()
    _, race = search(AnchorPasses(lambda gap: ANCHOR)).best(known)
    costs = 5 * ANCHOR + 4 * (3 * OF_PREDICTION + 4 * BFRAME)
    assert race.lead == pytest.approx(known.regular.total - costs + 0.03 * known.regular.bits)


def test_a_race_is_lost_once_enough_is_seen_to_cost_too_much():
    race = Race(dict.fromkeys(range(10), 5.0), lead=20.0)
    for poc in range(3):
        race.add(poc, 50.0)
        assert not race.lost  # three of ten tell nothing yet
    race.add(3, 5.0)
    assert race.lost  # 45 too much for three, and nothing for one: 337 for all ten
    close = Race(dict.fromkeys(range(10), 5.0), lead=20.0)
    for poc in range(10):
        close.add(poc, 6.9)
        assert not close.lost


def test_a_race_that_starts_behind_is_lost_by_what_is_as_expected():
    race = Race({0: 5.0, 1: 5.0}, lead=-1.0)
    assert not race.lost
    race.add(0, 5.0)
    assert race.lost


def test_the_regular_order_is_not_judged_by_pictures_that_are_cheap_in_the_encoders_own():
    """There every fourth picture is a dear one. Half of the B-frames, the first to be coded, replace none of these."""
    own = {poc: 100.0 if poc % 4 == 3 else 10.0 for poc in range(32)}
    alone = SimpleNamespace(costs=own, total=sum(own.values()), bits=100.0)
    anchors = dict.fromkeys(range(0, 32, 2), 20.0)
    race = _race(alone, "coded", SimpleNamespace(costs=lambda coded: anchors))
    assert sorted(race.expected) == list(range(1, 32, 2))  # one leads the next I
    for poc in range(1, 30, 4):
        race.add(poc, 30.0)
        assert not race.lost  # the others would cost 30, and not 100
    whole = sum(anchors.values()) + 16 * 30.0
    excess = sum(30.0 - cost for cost in race.expected.values())
    assert race.lead - excess == pytest.approx(alone.total - whole + CLEAR * alone.bits)
    dear = _race(alone, "coded", SimpleNamespace(costs=lambda coded: anchors))
    for poc in range(1, 30, 4):
        dear.add(poc, 60.0)
    assert dear.lost
