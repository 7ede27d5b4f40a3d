"""Known sequences are found under their usual names, others are classes of their own, wrong files are refused."""

import pytest
from helpers import moving, write

import codec
from eval.rd_curves import main
from eval.sequences import KNOWN, find, identify, listing, missing


def raw(folder, name, size):
    """A file of this many bytes that takes no space."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_the_table():
    groups = {group: [k for k in KNOWN if k.group == group] for group in dict.fromkeys(k.group for k in KNOWN)}
    assert {group: len(known) for group, known in groups.items()} == {
        **{"HEVC-B": 5, "HEVC-C": 4, "HEVC-D": 4, "HEVC-E": 3},
        **{"UVG": 7, "MCL-JCV": 30},
    }
    assert len({known.title for known in KNOWN}) == len(KNOWN)
    assert all(known.frames >= 96 and known.width % 2 == known.height % 2 == 0 for known in KNOWN)


@pytest.mark.parametrize("pattern", ["{}", "{}_{}x{}_{}", "{}_{}x{}_{}fps_8bit", "{}_{}x{}_{}fps_420_8bit_YUV"])
def test_usual_names_of_all(tmp_path, pattern):
    for known in KNOWN:
        name = pattern.format(known.name, known.width, known.height, known.fps)
        for stem in (name, name.lower()):
            path = raw(tmp_path, f"{stem}.yuv", known.frames * known.frame_bytes)
            assert identify(path) == known
            path.unlink()


@pytest.mark.parametrize(
    "name",
    [
        *("BasketballDrillText_832x480_50.yuv", "Jockey_3840x2160_120fps_420_8bit_YUV.yuv", "Cactus2.yuv"),
        *("Beauty_1920x1080_120fps_420_10bit_YUV.yuv", "videoSRC31.yuv", "My_Johnny_1280x720_60.yuv"),
    ],
)
def test_others_are_not_taken_for_them(tmp_path, name):
    assert identify(raw(tmp_path, name, 100)) is None


def test_a_folder(tmp_path):
    (tmp_path / "d").mkdir()
    raw(tmp_path / "d", "RaceHorses_416x240_30.yuv", 149760 * 300)
    raw(tmp_path, "RaceHorsesC_832x480_30.yuv", 599040 * 96)
    write(tmp_path / "own.y4m", moving(2))
    write(tmp_path / "Johnny.y4m", moving(2))  # of another size
    raw(tmp_path, ".hidden.yuv", 1)
    clips = find(tmp_path)
    assert [(clip.title, clip.group) for clip in clips] == [
        ("RaceHorses_832x480_30", "HEVC-C"),
        ("RaceHorses_416x240_30", "HEVC-D"),
        ("Johnny.y4m", tmp_path.name),
        ("own.y4m", tmp_path.name),
    ]
    lacking = missing(clips)
    assert list(lacking) == ["HEVC-C", "HEVC-D"] and len(lacking["HEVC-C"]) == 3
    text = listing(clips)
    assert "96 of 300 frames" in text and "missing BQSquare_416x240_60" in text
    with clips[1].open() as source:
        assert (source.info.width, source.info.height, source.info.frame_rate) == (416, 240, 30)
        assert source.frame_count == 300


def test_a_raw_file_needs_no_size_in_its_name(tmp_path):
    path = raw(tmp_path, "BQSquare.yuv", 149760 * 600)
    with find(path)[0].open() as source:
        assert (source.info.width, source.frame_count) == (416, 600)


def test_refusals(tmp_path, capsys):
    cut = raw(tmp_path, "BQSquare_416x240_60.yuv", 149760 * 2 - 1)
    with pytest.raises(codec.InputError, match="no whole number of 416x240"):
        find(tmp_path)
    cut.unlink()
    raw(tmp_path, "RaceHorses.yuv", 149760 * 4)
    with pytest.raises(codec.InputError, match="may mean RaceHorses_832x480_30 or RaceHorses_416x240_30"):
        find(tmp_path)
    (tmp_path / "RaceHorses.yuv").rename(tmp_path / "BQSquare_416x240_60.yuv")
    raw(tmp_path, "BQSquare.yuv", 149760 * 4)
    with pytest.raises(codec.InputError, match="are both BQSquare_416x240_60"):
        find(tmp_path)
    (tmp_path / "BQSquare.yuv").unlink()
    (tmp_path / "b.mkv").symlink_to("nowhere")
    with pytest.raises(codec.InputError, match=r"b\.mkv: is a link to nowhere"):
        find(tmp_path)
    (tmp_path / "b.mkv").unlink()
    assert main(["sequences", str(tmp_path)]) == 0
    assert "4 of 600 frames" in capsys.readouterr().out
    assert main(["sequences", str(tmp_path / "none")]) == 2
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(["table", "x.csv", "--codec"])
    assert (
        capsys.readouterr().err
        == "rd_curves.py: argument --codecs: expected at least one argument; see rd_curves.py table --help\n"
    )
