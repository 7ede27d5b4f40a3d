"""Recordings put one after the other, each with a clock of its own."""

import logging
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import av
import pytest
from films import make_film, packets_of

import codec
from codec.cli import main
from codec.video.companions import companions_of
from codec.video.joints import Joints

VIDEO, SOUND, WORDS = (
    SimpleNamespace(index=index, type=kind) for index, kind in enumerate(("video", "audio", "subtitle"))
)
COUNT, TICKS = 24, 90_000


def mended(packets):
    """Times, in tenths of a second, of packets of a tenth each that are given as (track, time)."""
    joints, times, found = Joints(), [], []
    for track, time in packets:
        packet = SimpleNamespace(stream=track, pts=time, dts=time, duration=1, time_base=Fraction(1, 10))
        joint = joints.mend(packet)
        times.append(packet.dts)
        found += [] if joint is None else [joint * 10]
    return times, found


CLOCKS = {
    "one clock": ([0, 1, 2, 5, 3, 90], [0, 1, 2, 5, 5, 90], []),
    "back": ([50, 51, 52, 50, 51], [50, 51, 52, 53, 54], [3]),
    "ahead": ([0, 1, 900, 901], [0, 1, 2, 3], [2]),
    "twice": ([0, 1, 900, 901, 0, 1], [0, 1, 2, 3, 4, 5], [2, 4]),
}


@pytest.mark.parametrize("kind", [VIDEO, SOUND])
@pytest.mark.parametrize("case", ["back", "ahead", "twice"])
def test_one_track(case, kind):
    given, times, joints = CLOCKS[case]
    assert mended([(kind, time) for time in given]) == (times, joints)


def test_what_is_no_joint():
    """A small step back, a pause of one track only, and subtitles that come now and then."""
    steps = [(VIDEO, 0), (SOUND, 0), (VIDEO, 2), (VIDEO, 1), (WORDS, 500), (WORDS, 3)]
    steps += [(VIDEO, time) for time in range(3, 300, 90)] + [(SOUND, 280)]
    assert mended(steps) == ([time for _, time in steps], [])


def test_tracks_change_one_by_one_and_stay_in_step():
    """The last picture of the first recording comes late, the second's sound begins first."""
    steps = [(VIDEO, 0), (SOUND, 1), (SOUND, 2), (SOUND, 900), (VIDEO, 1), (VIDEO, 901), (SOUND, 901), (WORDS, 902)]
    times, joints = mended(steps)
    assert times == [0, 1, 2, 3, 1, 4, 4, 5] and joints == [3]


def test_sound_never_goes_back():
    """The second recording's sound begins before its pictures; the first's ends with them."""
    times, _ = mended([(VIDEO, 99), (SOUND, 99), (VIDEO, 50), (SOUND, 48), (SOUND, 49), (SOUND, 50)])
    assert times == [99, 99, 100, 100, 101, 102]


def recording(path, offset):
    """A transport stream of 24 pictures and their sound, from so many seconds on; the bytes."""
    with av.open(str(make_film(path.with_suffix(".mp4"), COUNT))) as film, av.open(str(path), "w") as made:
        tracks = film.streams.video[0], film.streams.audio[0]
        copies = {track.index: made.add_stream_from_template(track) for track in tracks}
        for packet in film.demux(*tracks):
            if packet.dts is not None:
                ticks = round(offset / packet.time_base)
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = copies[packet.stream.index]
                made.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize("clocks", [(0, 0), (0, 40_000), (5_000, 0), (3, 9_000, 3)])
def test_the_film_goes_on_in_step_with_its_sound(tmp_path, clocks, caplog):
    src, dst = tmp_path / "src.ts", tmp_path / "film.mkv"
    src.write_bytes(b"".join(recording(tmp_path / f"{clock}.ts", clock) for clock in clocks))
    shown = []
    with (
        caplog.at_level(logging.WARNING),
        codec.open_source(src) as source,
        companions_of(src, dst, origin=source.first_time) as companions,
        codec.open_sink(dst, source.info, companions=companions) as sink,
    ):
        for frame in source:
            sink.write(frame)
            shown.append(round(frame.pts * source.info.time_base * 1000))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(clocks) - 1 and all("its clock is set anew at" in line for line in lines), lines
    assert len(shown) == COUNT * len(clocks)
    assert all(0 < later - before <= 120 for before, later in pairwise(shown)), shown
    one = len(packets_of(tmp_path / f"{clocks[0]}.ts", "audio"))
    sound = [time for time, _ in packets_of(dst, "audio")]
    assert len(sound) == one * len(clocks)
    for part in range(1, len(clocks)):
        assert abs(sound[part * one] - sound[0] - shown[part * COUNT] + shown[0]) <= 2


def test_sound_that_is_kept_goes_on(tmp_path, weights):
    """Slow motion of two recordings: the second's sound follows the first's, as if there had been one clock."""
    (tmp_path / "src.ts").write_bytes(b"".join(recording(tmp_path / f"{clock}.ts", clock) for clock in (0, 5_000)))
    words = ["slowmo", tmp_path / "src.ts", "-o", tmp_path / "slow.mkv", "--factor", "2", "--sound", "keep"]
    assert main([*map(str, words), "--model", "tiny"]) == 0
    sound = [time for time, _ in packets_of(tmp_path / "slow.mkv", "audio")]
    assert len(sound) == 2 * len(packets_of(tmp_path / "0.ts", "audio"))
    steps = [later - before for before, later in pairwise(sound)]
    assert max(steps) <= 120 and min(steps) > 0, steps


def test_a_packet_that_seems_damaged_is_said_but_not_one_at_a_joint(tmp_path, capfd):
    data = recording(tmp_path / "a.ts", 0) + recording(tmp_path / "b.ts", 5_000)
    (tmp_path / "joined.ts").write_bytes(data)
    with codec.open_source(tmp_path / "joined.ts") as source:
        assert len(list(source))
    assert "seems damaged" not in capfd.readouterr().err
    whole = recording(tmp_path / "a.ts", 0)
    middle = len(whole) // 2 // 188 * 188
    (tmp_path / "gap.ts").write_bytes(whole[:middle] + whole[middle + 3 * 188 :])  # lost packets of a transmission
    with codec.open_source(tmp_path / "gap.ts") as source:
        list(source)
    assert source.problems or "seems damaged" in capfd.readouterr().err
