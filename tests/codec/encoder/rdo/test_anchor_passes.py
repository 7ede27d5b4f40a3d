# SPDX-License-Identifier: MIT
"""The anchors of a period, and the ways to code them."""

from dataclasses import replace
from fractions import Fraction
from statistics import fmean

import pytest
from helpers import moving

from codec.anchors.registry import anchor_codec
from codec.bframe.predictor import Predictor
from codec.bframe.records import Choice
from codec.bitstream.units import AnchorPacket, Unit
from codec.encoder.coded_anchors import CodedAnchors
from codec.encoder.distortion import DistortionMeter
from codec.encoder.rdo.anchor_passes import AnchorPasses
from codec.encoder.rdo.candidates import CandidateCoder
from codec.encoder.rdo.gop_decision import GopDecision
from codec.encoder.rdo.lagrangian import Lagrangian
from codec.gop.periods import Period, SourceSegment
from codec.gop.structure import Segment
from codec.models.open import load
from codec.parallel.executor import InProcess
from codec.video.metrics import Quality
from codec.video.picture import Frame, VideoInfo

INFO = VideoInfo(96, 64, Fraction(25), Fraction(1, 25))
GAPS = (2,) * 7
LAGRANGIAN = Lagrangian("psnr_rgb", bits=1500.0, bits_per_db=1500.0, video_psnr=38.0)


def quality(psnr):
    return Quality(psnr, psnr, psnr, psnr, 0.9)


def two_periods():
    frames = [Frame(n, picture) for n, picture in enumerate(moving(32, 96, 64, step=3))]
    return [Period(0, tuple(frames[:16]), linked=True), Period(16, tuple(frames[16:]), linked=False)]


def passes(name, preset, **settings):
    assess = DistortionMeter(INFO.colour, "psnr_rgb", None, InProcess(None))
    return AnchorPasses(INFO, anchor_codec(name, preset=preset, longest_group=8, **settings), 16, assess)


def coder_of(passes, write):
    """What codes candidates, B-frames by a function."""
    bframes = Predictor(load("rife"), INFO)
    bframes.write = write
    return CandidateCoder(passes, bframes, InProcess(bframes))


def data(coded):
    return [packet.data for packet in coded.unit.anchor_packets]


def test_pictures_between_count_as_the_mean_of_their_anchors():
    segment = Segment(4, (1, 3))
    anchors = [AnchorPacket(index, index == 0, bytes(10)) for index in range(3)]
    unit = Unit(segment, 0, (0,) * 5, anchor_packets=anchors)
    filtered, plain = ({4: quality(33 + n), 5: quality(34 + n), 8: quality(36 + n)} for n in (1, 0))
    source = SourceSegment(segment, ())
    coded = CodedAnchors(source=source, unit=unit, anchors={}, qualities=filtered, decoded_qualities=plain)
    assert LAGRANGIAN.expected_cost(coded) == pytest.approx(240 - 1500 * (33 + 34 + 36 + 2 * 35))


@pytest.mark.parametrize(("name", "preset"), [("x265", "veryfast"), ("x264", "veryfast")])
def test_the_cheapest_of_all_that_an_encoder_may_remember(name, preset, monkeypatch):
    """Started anew, or having just coded the same; one that ran on is another way. Each decodes to its own pictures."""
    own = passes(name, preset, crf=24)
    period = two_periods()[1]
    # Each way is coded once: on a busy core x265 started anew sometimes codes small pictures otherwise.
    running = list(own.run(two_periods(), 2))[1]
    gaps = running.source.segment.gaps
    coded = {warm: own.code_anew(period, gaps, warm=warm) for warm in (False, True)}
    monkeypatch.setattr(own, "code_anew", lambda *_, warm=False: coded[warm])
    ways = [running, *coded.values()]
    assert len({b"".join(data(way)) for way in ways}) == 3
    costs = [LAGRANGIAN.expected_cost(way) for way in ways]
    best = own.cheapest(period, gaps, LAGRANGIAN, running)
    assert LAGRANGIAN.expected_cost(best) == min(costs) and best.unit.segment == running.unit.segment
    anew = own.cheapest(period, gaps, LAGRANGIAN)
    assert LAGRANGIAN.expected_cost(anew) == min(costs[1:])
    assert sorted(anew.anchors) == sorted(running.anchors) == [*range(16, 32, 2), 31]


def test_an_encoder_without_memory_is_not_run_again():
    own = passes("svtav1", "12", crf=40)
    period = two_periods()[0]
    running = next(own.run(two_periods(), 2))
    assert own.cheapest(period, GAPS, LAGRANGIAN, running) is running
    assert data(own.cheapest(period, GAPS, LAGRANGIAN)) == data(own.code_anew(period, GAPS))


def test_no_bframe_is_coded_in_an_order_that_they_cannot_make_the_cheapest():
    """What three fifths of all bits of its spare pictures could do is less than what the rival is ahead."""
    own = passes("x265", "veryfast", crf=24)
    coded = next(own.run(two_periods(), 1))
    assert own.disposable(coded)

    def write(_):
        raise AssertionError("it was hopeless")

    coder = coder_of(own, write)
    alone = coder.alone("own", coded, LAGRANGIAN)
    assert coder.own(coded, LAGRANGIAN, [replace(alone, total=alone.total - 1e9)], 0.0, {}) == alone
    with pytest.raises(AssertionError, match="hopeless"):
        coder.own(coded, LAGRANGIAN, [], 0.0, {})
    bits = sum(own.bits_of(coded, poc) for poc in own.disposable(coded))
    assert coder.own(coded, LAGRANGIAN, [replace(alone, total=alone.total - 0.7 * bits)], 0.0, {}) == alone
    with pytest.raises(AssertionError, match="hopeless"):
        coder.own(coded, LAGRANGIAN, [replace(alone, total=alone.total - 0.5 * bits)], 0.0, {})


def test_an_order_half_coded_is_completed_without_coding_anything_twice():
    """What was left out had counted as the rest on average."""
    own = passes("x265", "veryfast", crf=24)
    period = two_periods()[0]
    coded = next(own.run(two_periods(), 2))
    written = []

    def write(wanted):
        written.append(wanted.poc)
        return Choice(wanted.source, None, [], float(wanted.poc), float(wanted.poc))

    coder = coder_of(own, write)
    bframes = [picture.poc for picture in coded.source.segment.bframes()]
    half = coder.candidate("ibpb", period, coded, LAGRANGIAN, step=2)
    assert written == list(half.choices) == bframes[::2]
    whole = coder.candidate("ibpb", period, coded, LAGRANGIAN, known=half.choices)
    assert sorted(written) == sorted(whole.choices) == bframes
    assert set(whole.costs) == set(coded.anchors) | set(bframes)
    anchors = sum(LAGRANGIAN.costs(coded).values())
    for done in (half, whole):
        of_each = [own.pixels * poc for poc in done.choices]
        assert done.total == pytest.approx(anchors + (16 - len(coded.anchors)) * fmean(of_each))


def test_blocks_of_a_picture_are_sought_around_those_of_another_order():
    """Where its references are as far apart, and in the same period."""
    own = passes("x265", "veryfast", crf=24)
    first, second = two_periods()
    running = own.run([first, second], 2)
    started: dict[int, list[str | None]] = {}

    def write(wanted):
        started.setdefault(wanted.poc, []).append(wanted.start)
        return Choice(wanted.source, None, [], 1.0, 1.0, f"blocks of {wanted.poc}")

    coder = coder_of(own, write)
    coded = next(running)
    coder.candidate("ibpb", first, coded, LAGRANGIAN)
    coder.candidate("wide", first, own.code_anew(first, (4, 2, 2, 4)), LAGRANGIAN)
    assert started[1] == [None, "blocks of 1"] and started[5] == [None, "blocks of 5"]
    assert started[2] == [None]  # between references 4 apart, which were 2 apart before: an anchor then
    coder.forget(first)
    coder.candidate("ibpb", first, coded, LAGRANGIAN)
    assert started[5][-1] is None


@pytest.mark.parametrize("distance", [2, None])
def test_no_order_keeps_what_it_found_in_periods_that_are_done(distance):
    """Or a long video would fill the memory."""
    kept = set()

    def write(wanted):
        return Choice(wanted.source, None, [], 1.0, 1.0, f"blocks of {wanted.poc}")

    coder = coder_of(passes("x265", "veryfast", crf=24), write)
    for period in GopDecision(coder, distance).decisions(two_periods()):
        kept |= set(coder._blocks)
        assert period.decisions or distance is None
    assert not kept
