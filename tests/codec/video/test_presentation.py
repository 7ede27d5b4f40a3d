# SPDX-License-Identifier: MIT
"""What a film says of its pictures comes back as it went in, or the file's sink says what it cannot carry."""

from dataclasses import fields, replace
from fractions import Fraction

import pytest
from helpers import moving

from codec.bitstream.presentation import FIELDS, options_of, presentation_of
from codec.video.picture import Colour, Frame, VideoInfo
from codec.video.presentation import NOTHING_SAID, WORDS, Presentation
from codec.video.raw import y4m_header, y4m_info
from codec.video.reader import open_source
from codec.video.writer import open_sink

QUARTER_TURN = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
MIRRORED = (-(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
BT2020 = Colour("bt2020")
DISPLAY = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450, 10_000_000, 1)
ALL = Presentation(
    sample_aspect_ratio=Fraction(64, 45),
    display_matrix=QUARTER_TURN,
    colour_codes=(9, 16, 2),
    chroma_location="topleft",
    field_order="top",
    mastering_display=DISPLAY,
    content_light=(1000, 400),
    start=Fraction(1, 2),
    language="deu",
    title="Nachtfahrt",
)


def test_every_field_has_words_and_an_option_of_the_header():
    names = [field.name for field in fields(Presentation)]
    assert list(WORDS) == names and FIELDS.keys() == set(names)


def through(path, presentation, *, size=(64, 48), bit_depth=10, colour=BT2020, **options):
    """What is read back of a file, and what its sink said."""
    info = VideoInfo(*size, Fraction(25), Fraction(1, 1000), bit_depth, colour, presentation)
    with open_sink(path, info, **options) as sink:
        for number, picture in enumerate(moving(2, *size, bit_depth)):
            sink.write(Frame(40 * number, picture))
    with open_source(path) as source:
        assert [frame.picture for frame in source] == moving(2, *size, bit_depth) or options
        return source.info.presentation, source.info.colour, " ".join(sink.notes)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_containers_carry_all(tmp_path, suffix):
    wanted = replace(ALL, language="eng") if suffix == ".mov" else ALL
    assert through(tmp_path / f"a{suffix}", wanted) == (wanted, Colour("bt2020"), "")
    assert through(tmp_path / f"b{suffix}", NOTHING_SAID) == (NOTHING_SAID, Colour("bt2020"), "")


@pytest.mark.parametrize(
    "said",
    [
        {"display_matrix": MIRRORED},
        {"field_order": "bottom"},
        {"chroma_location": "center"},
        {"colour_codes": (1, 1, 2)},
        {"start": Fraction(-1, 25)},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_each_alone(tmp_path, suffix, said):
    wanted = replace(NOTHING_SAID, **said)
    if "start" in said:
        wanted = NOTHING_SAID  # a single track that starts before 0 is moved to 0
    found, _, _ = through(tmp_path / f"a{suffix}", replace(NOTHING_SAID, **said), bit_depth=8)
    assert found == wanted


@pytest.mark.parametrize("matrix", [5, 7, 8, 10])
def test_exact_matrices(tmp_path, matrix):
    name = {5: "bt601", 10: "bt2020"}.get(matrix, "unspecified")
    wanted = replace(NOTHING_SAID, colour_codes=(2, 2, matrix))
    assert through(tmp_path / "a.mkv", wanted, colour=Colour(name))[:2] == (wanted, Colour(name))


def test_encoders_that_carry_less_say_so(tmp_path):
    *_, said = through(tmp_path / "a.mkv", ALL, size=(63, 47))
    assert said == "cannot carry the video's sample aspect ratio, mastering display and content light level"
    found, _, said = through(tmp_path / "b.mkv", ALL, video_codec="libx265")
    assert said == "cannot carry the video's field order" and found == replace(ALL, field_order="progressive")


@pytest.mark.parametrize(("suffix", "language"), [(".mp4", "en-US"), (".mov", "deu")])
def test_languages_that_get_lost(tmp_path, suffix, language):
    found, _, said = through(tmp_path / f"a{suffix}", Presentation(language=language))
    assert found.language == "" and said == "cannot carry the video's language"


def test_raw_video_says_what_it_cannot_carry(tmp_path):
    *_, said = through(tmp_path / "a_64x48_25.yuv", NOTHING_SAID, bit_depth=8, colour=Colour())
    assert said == ""
    info = VideoInfo(64, 48, Fraction(25), Fraction(1, 1000), 8, Colour("bt709", full_range=True), ALL)
    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / "b.yuv", info) as sink:
        (note,) = sink.notes
        assert note.startswith("cannot carry the video's colour range, colour matrix, sample aspect ratio, rotation")
        raise KeyboardInterrupt
    found, _, said = through(tmp_path / "a.y4m", ALL, bit_depth=8)
    kept = ("sample_aspect_ratio", "chroma_location", "field_order")
    assert found == replace(NOTHING_SAID, **{name: getattr(ALL, name) for name in kept})
    assert "colour matrix, rotation, colour primaries" in said and "language and title" in said


@pytest.mark.parametrize(
    ("tokens", "presentation"),
    [
        ("Ip A1:1 C420mpeg2", NOTHING_SAID),
        ("It A64:45 C420jpeg", Presentation(Fraction(64, 45), chroma_location="center", field_order="top")),
        ("Ib A0:0 C420paldv", Presentation(chroma_location="topleft", field_order="bottom")),
        ("Im A:: C420", Presentation(field_order="top")),
    ],
)
def test_y4m_headers(tokens, presentation):
    info = y4m_info(f"YUV4MPEG2 W64 H48 F25:1 {tokens}\n".encode(), "a.y4m")
    assert info.presentation == presentation
    assert y4m_info(y4m_header(info), "b.y4m") == info


def test_interlacing_is_said(tmp_path):
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W4 H2 F25:1 Ib\nFRAME\n" + bytes(12))
    with open_source(tmp_path / "a.y4m") as source:
        assert "interlaced, bottom field first" in source.notes[0]


def test_options_of_the_stream():
    assert options_of(NOTHING_SAID) == {}
    assert presentation_of(options_of(ALL)) == ALL
    before = Presentation(start=Fraction(-1, 3))
    assert presentation_of(options_of(before)) == before
    assert presentation_of({"another": {"value": 1}} | options_of(ALL)) == ALL


@pytest.mark.parametrize(("times", "said"), [([0, 40, 80, 120], 0), ([0, 41, 79, 120], 0), ([7, 47, 127, 128], 1)])
def test_a_rate_that_varies_is_said_where_it_gets_lost(tmp_path, caplog, times, said):
    info = VideoInfo(64, 48, Fraction(25), Fraction(1, 1000))
    for name in ("a.y4m", "a.mkv"):
        with open_sink(tmp_path / name, info) as sink:
            for pts, picture in zip(times, moving(4), strict=True):
                sink.write(Frame(pts, picture))
    assert sum("rate varies" in line for line in caplog.messages) == said
