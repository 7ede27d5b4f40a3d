import numpy as np
from helpers import bunny_pictures, moving

from codec.gop.periods import arranged, every, periods
from codec.video.picture import Frame


def segments(video, *, distance, intra_period):
    return arranged(periods(video, intra_period), every(distance))


def frames(pictures):
    return [Frame(10 * number, picture) for number, picture in enumerate(pictures)]


def test_segments_cover_the_video_and_carry_their_frames():
    video = frames(moving(21))
    found = list(segments(video, distance=2, intra_period=8))
    assert [s.segment.intra for s in found] == [0, 8, 16]
    assert [frame for s in found for frame in s.frames] == video
    assert all(s.at(poc) == video[poc] for s in found for poc in s.segment.pocs)


def test_a_cut_starts_a_segment_and_is_not_bridged():
    video = frames(bunny_pictures(5) + moving(5, 416, 234))
    first, second = segments(video, distance=2, intra_period=32)
    assert first.segment.anchor_pocs == (0, 2, 4) and second.segment.intra == 5 and not second.segment.leading


def test_a_cut_promotes_the_picture_before_it():
    first, second = segments(frames(bunny_pictures(6) + moving(3, 416, 234)), distance=4, intra_period=32)
    assert first.segment.anchor_pocs == (0, 4, 5) and second.segment.anchor_pocs == (6, 8)


def test_neither_fast_motion_nor_a_fade_is_a_cut():
    fast = frames(moving(12, 320, 180, step=12))
    assert len(list(segments(fast, distance=2, intra_period=32))) == 1
    dimmed = []
    for number, picture in enumerate(bunny_pictures(8)):
        y = (picture.y * (1 - number / 10)).astype("uint8")
        dimmed.append(type(picture)(y, picture.u, picture.v))
    assert len(list(segments(frames(dimmed), distance=2, intra_period=32))) == 1


def flashes(pictures, *places):
    """The pictures, some of them with their brightness at the top."""
    return [type(p)(np.full_like(p.y, 250), p.u, p.v) if number in places else p for number, p in enumerate(pictures)]


def test_a_flash_is_no_cut_and_hides_none():
    for places in ((4,), (4, 5), (3, 7), (11,)):
        video = frames(flashes(bunny_pictures(12), *places))
        found = list(segments(video, distance=2, intra_period=32))
        assert [s.segment.intra for s in found] == ([0] if places != (11,) else [0, 11])  # none follows the last
        assert [frame for s in found for frame in s.frames] == video
    scenes = bunny_pictures(6) + moving(6, 416, 234)
    assert [s.segment.intra for s in segments(frames(flashes(scenes, 3)), distance=2, intra_period=32)] == [0, 6]
    long = frames(flashes(bunny_pictures(12), 4, 5, 6))
    assert [s.segment.intra for s in segments(long, distance=2, intra_period=32)] == [0, 4, 7]


def test_only_what_is_needed_is_pulled():
    pulled = []

    def source():
        for frame in frames(moving(30)):
            pulled.append(frame)
            yield frame

    iterator = segments(source(), distance=2, intra_period=8)
    next(iterator)
    assert len(pulled) == 9


def test_tiny_pictures():
    assert len(list(segments(frames(moving(5, 6, 4)), distance=2, intra_period=32))) == 1
