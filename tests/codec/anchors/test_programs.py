"""Anchor codecs that are programs: a fake HM (and HM itself, where $NCM_HM has it), and those that users define."""

import os
import re
import stat
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import moving, read, write

import codec
from codec.anchors.listing import listings
from codec.anchors.protocol import AnchorFrame
from codec.anchors.registry import anchor_codec
from codec.anchors.user_codecs import load_row
from codec.cli import main
from codec.errors import AnchorError, InputError
from codec.video.metrics import psnr
from codec.video.picture import VideoInfo

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).parent / "fake_hm.py"
REAL = os.environ.get("NCM_HM")
KEYS = (0, 1, 6)

# An encoder that stores what it reads on standard input behind a word, and its decoder.
STORE = """#!{python} -SE
import sys
data = sys.stdin.buffer.read()
assert data.startswith(b"YUV4MPEG2 W66 H50") or data.startswith(b"STORE")
sys.stdout.buffer.write(b"STORE" + data if sys.argv[1] == "in" else data.removeprefix(b"STORE"))
"""
OWN = """
name = "store"
encoder = "{folder}/store in {params} --quality={crf}"
decoder = "{folder}/store out"
video = "y4m"
quality = "crf"
quality_range = [0, 9]
default = 5
presets = ["plain", "fancy"]
preset = "plain"
"""


def script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A folder with a fake HM, where $NCM_HM points."""
    folder = tmp_path / "programs here"
    folder.mkdir()
    for name in ("encoder", "decoder"):
        words = f'exec "{sys.executable}" -E "{FAKE}" {name} "$@"\n'
        script(folder / f"TApp{name.capitalize()}Static", "#!/bin/sh\n" + words)
    monkeypatch.setenv("NCM_HM", str(folder))
    return folder


@pytest.fixture
def own(tmp_path):
    """A definition of a codec that stores pictures as they are."""
    script(tmp_path / "store", STORE.format(python=sys.executable))
    path = tmp_path / "store.toml"
    path.write_text(OWN)
    return path


def info_of(pictures):
    first = pictures[0]
    return VideoInfo(first.width, first.height, Fraction(25), Fraction(1, 25), first.bit_depth)


def anchors(pictures, keys=(0,)):
    return [AnchorFrame(picture, n in keys) for n, picture in enumerate(pictures)]


def groups_of(packets):
    starts = [n for n, packet in enumerate(packets) if packet.key]
    return [packets[a:b] for a, b in pairwise([*starts, len(packets)])]


def coded(pictures, keys=KEYS, **settings):
    hm = anchor_codec("hm", **settings)
    return hm, list(hm.encode(anchors(pictures, keys), info_of(pictures)))


def error_of(**settings):
    with pytest.raises(AnchorError) as caught:
        coded(moving(3, 32, 32), (0,), **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("size", "depth"), [((35, 19), 8), ((64, 48), 10)])
def test_groups_come_back_alone(fake, size, depth):
    pictures = moving(11, *size, depth)
    hm, packets = coded(pictures, preset="ra", qp=12)
    groups = groups_of(packets)
    assert [sorted(p.index for p in group) for group in groups] == [[0], [1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert [p.index for p in groups[2]] != [6, 7, 8, 9, 10], "no B-frames: the test shows nothing"
    for group in reversed(groups):
        shown = hm.decode(group, info_of(pictures))
        assert sorted(shown) == sorted(p.index for p in group)
        assert all(shown[index] == pictures[index] for index in shown)


def test_missing_packets(fake):
    pictures = moving(8)
    hm, packets = coded(pictures, (0,), preset="ldb")
    whole = hm.decode(packets, info_of(pictures))
    for gone in (1, 3, 7):
        shown = hm.decode(packets[:gone] + packets[gone + 1 :], info_of(pictures))
        assert list(shown) == list(range(gone))
        assert all(shown[index] == whole[index] for index in range(gone))
    for bad in ([], packets[1:], [packets[0]._replace(data=b"")], [packets[0]._replace(data=bytes(range(256)))]):
        assert hm.decode(bad, info_of(pictures)) == {}


def test_frames_are_pulled_a_group_at_a_time(fake):
    pulled = []

    def frames():
        for frame in anchors(moving(12, 32, 32), (0, 3, 6, 9)):
            pulled.append(frame)
            yield frame

    packets = anchor_codec("hm").encode(frames(), info_of(moving(1, 32, 32)))
    assert next(packets).key and len(pulled) == 4
    packets.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash", "TAppEncoderStatic failed: Error: the moon is too bright (exit status 3)"),
        ("killed", "(signal 9)"),
        ("silent", "wrote no stream"),
        ("noise", "cannot be read"),
        ("fewer", "3 pictures went in and 2 came out"),
        ("other", "its decoder shows anchor 0 unlike its encoder; take encoder and decoder of the same version"),
    ],
)
def test_what_goes_wrong_is_said(fake, fault, words):
    assert words in error_of(params=f"Fault={fault}")


def test_parameters(fake):
    assert coded(moving(1, 32, 32), params="SearchRange=8")[0].describe() == "hm preset=ra qp=32 SearchRange=8"
    assert "does not know parameter 'Wibble'" in error_of(params="Wibble=3")
    assert error_of(params="TemporalFilter=0:Wobble=1").endswith("'Wobble'")  # old versions do not know the filter


def test_programs_are_found_and_missed(fake, monkeypatch, tmp_path):
    text = script(tmp_path / "text", "not a program\n")
    assert "nowhere: no program" in error_of(encoder="nowhere")
    assert "text: cannot be run" in error_of(encoder=text)
    (fake / "TAppDecoderStatic").rename(tmp_path / "other")
    assert coded(moving(1, 32, 32), (0,), decoder=tmp_path / "other")[1]
    monkeypatch.setenv("NCM_HM", str(tmp_path))
    (tmp_path / "other").rename(tmp_path / "TAppDecoder")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    message = error_of()
    assert message.startswith("hm needs the program TAppEncoderStatic, which is not there; put its folder into $NCM_HM")
    assert message.endswith("give its path with --anchor-encoder")
    monkeypatch.setenv("PATH", str(fake) + os.pathsep + os.defpath)
    assert coded(moving(1, 32, 32), (0,))[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "slow"}, "choose from ra, ldb, ldp, ipp, ibpb"),
        ({"crf": 20}, "hm has no crf; give qp"),
        ({"qp": 52}, "choose 0 to 51"),
        ({"params": "QP=3"}, "'QP' cannot be given"),
        ({"params": "-c=x"}, "'-c' cannot be given"),
    ],
)
def test_bad_settings(arguments, words):
    with pytest.raises(InputError, match=re.escape(words)):
        anchor_codec("hm", **arguments)


def test_programs_are_not_for_pyav():
    with pytest.raises(InputError, match="comes with PyAV"):
        anchor_codec("x265", encoder="x265")


def test_a_codec_of_ones_own(own, tmp_path, monkeypatch, tiny_weights, capfd):
    monkeypatch.setenv("NCM_WEIGHTS", str(tiny_weights))
    pictures = moving(7, 66, 50, 10)
    write(tmp_path / "seq.y4m", pictures)
    stream, shown = tmp_path / "seq.ncm", tmp_path / "shown.y4m"
    words = [
        "encode",
        str(tmp_path / "seq.y4m"),
        "--mode",
        "bitfree",
        "--model",
        "tiny",
        "--no-metrics",
        "--gop",
        "fixed:1",
    ]
    assert main([*words, "--intra-period", "4", "--anchor", str(own), "--crf", "3", "--anchor-params", "a=b"]) == 0
    assert main(["decode", str(stream), "-o", str(shown), "--anchor", str(own)]) == 0
    assert [frame.picture for frame in read(shown)] == pictures
    header = codec.info(stream).header
    assert (header.anchor_codec, header.anchor_settings) == ("store", "store preset=plain crf=3 a=b")
    assert main(["decode", str(stream), "-o", str(shown)]) == 2
    assert "'store' is unknown; choose from" in (err := capfd.readouterr().err) and "give the .toml file" in err
    monkeypatch.setenv("NCM_ANCHORS", str(tmp_path))
    assert main(["verify", str(stream)]) == 2  # it carries no hashes, but it decodes
    assert "no hashes" in capfd.readouterr().err
    assert main(["decode", str(stream), "--anchor", "x265"]) == 2
    assert "--anchor is 'x265', but its anchors are of 'store'" in capfd.readouterr().err
    assert main(["encode", str(tmp_path / "seq.y4m"), "--anchor", "store", "--model", "tiny", "--mode", "bitneed"]) == 2


def test_whole_streams_that_lose_pictures(own):
    pictures = moving(4, 66, 50)
    store = anchor_codec(str(own))
    packets = list(store.encode(anchors(pictures), info_of(pictures)))
    assert [len(packet.data) > 0 for packet in packets] == [True, False, False, False]
    shown = store.decode(packets[:1] + packets[2:], info_of(pictures))
    assert list(shown) == [0, 2, 3] and all(shown[n] == pictures[n] for n in shown)
    own.write_text(OWN.replace("{folder}/store in {params} --quality={crf}", "head -c 9999"))
    with pytest.raises(AnchorError, match=r"its decoder fails on its encoder's stream: .*cut off"):
        list(anchor_codec(str(own)).encode(anchors(pictures), info_of(pictures)))


def test_no_slope_no_bitneed(own):
    with pytest.raises(InputError, match="add `slope"):
        _ = anchor_codec(str(own)).slope
    own.write_text(OWN + "slope = [3, 0.5]\n")
    assert anchor_codec(str(own), crf=2).slope == pytest.approx(4)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nam = 'x'", "'nam' is not a key; there are name, encoder"),
        ("stream = 'avi'", "choose from hevc, vvc, whole"),
        ("minimum_size = 'x'", "wrong type"),
        ("slope = [1]", "two values"),
        ("slope = ['a', 'b']", "could not convert"),
        ("lost = '('", "unterminated"),
        ("formats = { 9 = 'x' }", "8 and 10"),
        ("= 3", "no definition"),
        ("name = 'x'", "no definition"),
    ],
)
def test_bad_definitions(own, line, words):
    own.write_text(OWN + line + "\n")
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        load_row(own)
    assert str(own) in str(caught.value) and "\n" not in str(caught.value)


def test_a_range_that_ends_before_it_begins(own):
    own.write_text(OWN.replace("quality_range = [0, 9]", "quality_range = [9, 0]"))
    with pytest.raises(InputError, match=r"quality_range = \[9, 0\] ends before it begins"):
        load_row(own)


def test_incomplete_definitions(own):
    for key in ("name", "encoder", "decoder"):
        own.write_text("\n".join(line for line in OWN.splitlines() if not line.startswith(key)))
        with pytest.raises(InputError, match=f"'{key}' is missing"):
            load_row(own)
    own.write_text(OWN.replace("{params}", "{wishes}"))
    with pytest.raises(AnchorError, match=r"'\{wishes\}' names the field 'wishes'; there are \{width\}, "):
        list(anchor_codec(str(own)).encode(anchors(moving(1, 66, 50)), info_of(moving(1, 66, 50))))


def test_the_documented_definition_is_one(tmp_path):
    example = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "anchors.md").read_text(), re.DOTALL)
    path = tmp_path / "x.toml"
    path.write_text(example[1])
    codec_ = anchor_codec(str(path), qp=30, preset="veryslow")
    assert codec_.describe() == "x265cli preset=veryslow qp=30" and codec_.slope > 0


def test_listing(fake, own, monkeypatch, capsys):
    (fake / "TAppDecoderStatic").unlink()
    monkeypatch.setenv("NCM_ANCHORS", str(own.parent))
    found = {listing.name: listing for listing in listings()}
    assert {"x265", "svtav1", "x264", "hm", "vvenc", "store"} <= set(found)
    assert not found["x265"].missing and "libavcodec" in found["x265"].version
    assert found["hm"].version == "16.99" and "TAppDecoderStatic" in found["hm"].missing
    assert found["hm"].found == str(fake / "TAppEncoderStatic")
    assert main(["anchors"]) == 0
    shown = capsys.readouterr().out
    assert str(fake / "TAppEncoderStatic") in shown and "$NCM_HM" in shown


@pytest.mark.skipif(not REAL, reason="needs HM in $NCM_HM")
@pytest.mark.parametrize("preset", ["ldb", "ldp", "ra", "ipp", "ibpb", "ibpb_tuned"])
def test_real_hm(preset):
    pictures = moving(18, 72, 40, 10 if preset == "ra" else 8)
    hm, packets = coded(pictures, (0, 9), preset=preset, qp=22)
    for group in groups_of(packets):
        shown = hm.decode(group, info_of(pictures))
        assert sorted(shown) == sorted(p.index for p in group)
        assert all(psnr(float(np.mean((shown[i].y / 1.0 - pictures[i].y) ** 2) / 255**2)) > 24 for i in shown)
    missing = hm.decode(groups_of(packets)[0][:3], info_of(pictures))
    assert missing and all(
        picture == hm.decode(groups_of(packets)[0], info_of(pictures))[i] for i, picture in missing.items()
    )


@pytest.mark.skipif(not REAL, reason="needs HM in $NCM_HM")
def test_spare_pictures_of_real_hm_can_go():
    """The top of its pyramid; what stays is shown as before, to the bit."""
    pictures = moving(17, 72, 40)
    hm, packets = coded(pictures, (0,), preset="ra", qp=30)
    whole, disposable = hm.decode(packets, info_of(pictures)), hm.disposable(packets)
    assert disposable == set(range(1, 17, 2))
    for gone in (disposable, {1, 7, 9}):
        kept = sorted(set(whole) - gone)
        numbers = {index: place for place, index in enumerate(kept)}
        rest = [packet._replace(index=numbers[packet.index]) for packet in hm.without(packets, gone)]
        assert hm.decode(rest, info_of(pictures)) == {numbers[index]: whole[index] for index in kept}


@pytest.mark.parametrize("name", ["x265", "hm", "tcm"])
def test_a_definition_has_a_name_of_its_own(own, name):
    own.write_text(own.read_text().replace('name = "store"', f'name = "{name}"'))
    with pytest.raises(InputError, match=f"{name} is one of our codecs"):
        anchor_codec(str(own))
