# SPDX-License-Identifier: MIT
"""Stand-ins for lost pictures: in order, in time, and no more of them than is fit."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from streams import HEADER

from codec.decoder.concealment import FREE_STAND_INS, Concealer, guess_times
from codec.decoder.under_way import Shown
from codec.video.picture import Frame, blank


def shown(poc, *, concealed=False):
    picture = blank(HEADER.info)
    return Shown(poc, "P", Frame(40 * poc, picture), concealed, picture)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5000), st.booleans())
def test_guessed_times_increase(first, count, room, know_before):
    before = 100 if know_before else None
    after = 100 + count + 1 + room
    times = guess_times(HEADER, range(first, first + count), before=before, after=after)
    known = [*([100] if know_before else []), *times, after]
    assert len(times) == count and known == sorted(set(known))


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(0, 20))
def test_pictures_and_times_increase_and_all_is_accounted_for(real, concealed, more):
    source = [shown(poc, concealed=poc not in real) for poc in sorted(real | concealed)]
    concealer = Concealer(HEADER, 0)
    given = list(concealer.completed(source))
    stop = max(real | concealed, default=-1) + 1 + more
    concealer.finish(stop)
    assert len(given) + concealer.missing == stop
    assert [s.poc for s in given] == list(range(len(given)))  # short holes are filled
    times = [s.frame.pts for s in given]
    assert times == sorted(set(times))
    assert {s.poc for s in given if not s.concealed} == real
    assert not given or not given[-1].concealed, "nothing is invented after the last real picture"


def test_a_stand_in_is_a_copy_of_the_picture_before_or_else_of_the_one_after():
    a, b = shown(1), shown(4)
    copies = {s.poc: s.frame.picture for s in Concealer(HEADER, 0).completed([a, b])}
    assert copies[0] is a.frame.picture and copies[2] is copies[3] is a.frame.picture


def test_a_long_hole_is_left_out():
    concealer = Concealer(HEADER, 0)
    far = FREE_STAND_INS + 2
    assert [s.poc for s in concealer.completed([shown(0), shown(far + 1)])] == [0, far + 1]
    assert concealer.missing == far


def test_no_more_pictures_are_invented_than_came_before():
    concealer = Concealer(HEADER, 0)
    real = [shown(poc) for poc in range(0, 10 * FREE_STAND_INS, 3)]
    given = list(concealer.completed(real))
    invented = sum(s.concealed for s in given)
    assert len(real) - 2 <= invented <= len(real) + FREE_STAND_INS
    assert invented + concealer.missing == real[-1].poc + 1 - len(real)


def test_large_pictures_have_few_stand_ins():
    concealer = Concealer(replace(HEADER, width=8192, height=8192), 0)
    assert [s.poc for s in concealer.completed([shown(0), shown(9)])] == [0, 9]
