import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import InputError
from codec.gop.structure import Segment, anchor_distance, dyadic, needed, schedule


def test_ibpb_as_drawn_in_the_docstring():
    first = Segment(0, schedule(8, 2, linked=True))
    assert first.anchor_pocs == (0, 2, 4, 6) and first.stop == 7
    assert [p.poc for p in first.bframes()] == [1, 3, 5]
    second = Segment(8, schedule(3, 2, linked=False), leading=1)
    assert second.anchor_pocs == (8, 10) and second.first == 7
    assert [(p.poc, p.refs) for p in second.bframes()] == [(7, (6, 8)), (9, (8, 10))]


def test_dyadic_order_refers_to_the_nearest_coded():
    assert [(p.poc, p.refs) for p in dyadic(0, 4)] == [(2, (0, 4)), (1, (0, 2)), (3, (2, 4))]


def test_the_last_picture_without_a_future_is_an_anchor():
    assert schedule(6, 2, linked=False) == (2, 2, 1)
    assert schedule(1, 8, linked=False) == ()


@given(st.data())
def test_laws(data):
    """Over any chain of segments each picture comes once, after its references, and gaps are at most the distance."""
    distance = data.draw(st.sampled_from([1, 2, 4, 8]))
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    linked = [*data.draw(st.lists(st.booleans(), min_size=len(lengths) - 1, max_size=len(lengths) - 1)), False]
    coded, shown, intra, leading = set(), [], 0, 0
    for length, link in zip(lengths, linked, strict=True):
        segment = Segment(intra, schedule(length, distance, linked=link), leading)
        assert max(segment.gaps, default=1) <= distance
        for picture in segment.pictures():
            assert picture.poc not in coded
            assert set(picture.refs) <= coded
            coded.add(picture.poc)
        shown += segment.pocs
        intra, leading = intra + length, intra + length - segment.stop
        assert link or leading == 0
    assert shown == list(range(sum(lengths)))
    assert coded == set(shown)


def test_names():
    assert [anchor_distance(name) for name in ("ibpb", "fixed:1", "fixed:8")] == [2, 1, 8]
    with pytest.raises(InputError, match=r"fixed:3.*choose from ibpb"):
        anchor_distance("fixed:3")


def test_the_bframes_that_some_pictures_need():
    segment = Segment(8, (8,), leading=3)  # 5 6 7 | 8 ... 16
    assert needed(segment, range(8, 9)) == []
    assert needed(segment, [12]) == [12] and needed(segment, [9]) == [12, 10, 9] and needed(segment, [6]) == [6]
    assert needed(segment, segment.pocs) == [picture.poc for picture in segment.bframes()]
