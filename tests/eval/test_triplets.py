"""Tiny data sets in the published layouts, read back."""

from fractions import Fraction

import av
import numpy as np
import pytest
from helpers import moving, write

import codec
from eval import triplets
from eval.triplets import UCF101_DIRTY, Anchor


def write_png(path, value):
    """A picture that can be told by its first sample."""
    picture = np.full((32, 32, 3), value, np.uint8)
    picture[..., 1] = np.arange(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "rgb24", Fraction(1)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24")
    path.write_bytes(b"".join(map(bytes, (*encoder.encode(frame), *encoder.encode(None)))))
    return picture


def seen(clips):
    """Of every triplet what its clip is called, its inputs, its target, its time."""
    return [
        (clip.name, *(int(image[0, 0, 0]) for image in triplet.inputs), int(triplet.target[0, 0, 0]), triplet.time)
        for clip in clips
        for triplet in clip.triplets()
    ]


def test_pictures_are_read_exactly(tmp_path):
    picture = write_png(tmp_path / "a.png", 77)
    assert np.array_equal(triplets.read_png(tmp_path / "a.png"), picture)
    (tmp_path / "b.png").write_bytes(b"not a picture")
    for name in ("b.png", "c.png"):
        with pytest.raises(codec.InputError, match=name):
            triplets.read_png(tmp_path / name)


def test_vimeo(tmp_path):
    (tmp_path / "tri_testlist.txt").write_text("00001/0266\n00002/0001\n\n")
    for number, name in enumerate(("00001/0266", "00002/0001")):
        for frame in (1, 2, 3):
            write_png(tmp_path / "sequences" / name / f"im{frame}.png", 10 * number + frame)
    assert seen(triplets.vimeo(tmp_path)) == [("00001/0266", 1, 3, 2, 0.5), ("00002/0001", 11, 13, 12, 0.5)]
    assert seen(triplets.vimeo(tmp_path, extrapolate=True))[0] == ("00001/0266", 1, 2, 3, 0.5)


def test_ucf101(tmp_path):
    for number in (1, 11, 141, 1011, 101):
        for index, name in enumerate(("frame_00", "frame_01_gt", "frame_02")):
            write_png(tmp_path / str(number) / f"{name}.png", number % 50 + index)
    assert [clip.name for clip in triplets.ucf101(tmp_path)] == ["1", "11", "101", "141", "1011"]
    assert seen(triplets.ucf101(tmp_path, without_dirty=True)) == [
        (name, value, value + 2, value + 1, 0.5) for name, value in (("11", 11), ("101", 1), ("1011", 11))
    ]


def test_dirty_ids():
    assert len(UCF101_DIRTY) == 98
    assert all(1 <= number <= 3781 and number % 10 == 1 for number in UCF101_DIRTY)


@pytest.mark.parametrize("lists", ["", "eval_modes"])
@pytest.mark.parametrize("prefix", ["test", "data/SNU-FILM/test"])
def test_snu_film(tmp_path, lists, prefix):
    for frame in range(5):
        write_png(tmp_path / "test" / "YouTube_test" / "0000" / f"{frame:05}.png", frame)
    (tmp_path / lists).mkdir(exist_ok=True)
    names = [f"{prefix}/YouTube_test/0000/{frame:05}.png" for frame in (0, 2, 4)]
    (tmp_path / lists / "test-medium.txt").write_text(f"{' '.join(names)}\n")
    assert seen(triplets.snu_film(tmp_path, "medium")) == [(names[1][:-4], 0, 4, 2, 0.5)]
    assert seen(triplets.snu_film(tmp_path, "medium", extrapolate=True)) == [(names[1][:-4], 0, 2, 4, 0.5)]
    (tmp_path / lists / "test-hard.txt").write_text("a.png b.png\n")
    with pytest.raises(codec.InputError, match="three pictures"):
        triplets.snu_film(tmp_path, "hard")


def test_x4k(tmp_path):
    for scene in ("Type1/TEST01_003_f0433", "Type2/TEST06_001_f0273"):
        for frame in range(33):
            write_png(tmp_path / "test" / scene / f"{frame:04}.png", frame)
    found = seen(triplets.x4k(tmp_path))
    assert found[:7] == [("Type1/TEST01_003_f0433", 0, 32, 4 * k, k / 8) for k in range(1, 8)] and len(found) == 14
    assert seen(triplets.x4k(tmp_path / "test", extrapolate=True))[1] == ("Type2/TEST06_001_f0273", 0, 16, 32, 0.5)
    (tmp_path / "test" / scene / "0032.png").unlink()
    with pytest.raises(codec.InputError, match="32 pictures"):
        triplets.x4k(tmp_path)


def video(path, *, step=1, frames=None, anchor=None):
    return list(triplets.videos([path], step=step, frames=frames, anchor=anchor)[0].triplets())


def test_videos(tmp_path):
    pictures = moving(9, 48, 32)
    path = write(tmp_path / "a.y4m", pictures)
    found = video(path)
    assert [t.name for t in found] == [f"frame {n}" for n in (1, 3, 5, 7)]
    assert found[1].inputs == (pictures[2], pictures[4]) and found[1].target == pictures[3]
    assert all(t.time == 0.5 and t.noise == 0 for t in found)
    assert [t.target for t in video(path, step=2)] == [pictures[2], pictures[6]]
    assert [t.target for t in video(path, frames=6)] == [pictures[1], pictures[3]]
    with pytest.raises(codec.InputError, match="needs 11 frames"):
        video(path, step=5)


def test_time_is_that_of_the_frames(tmp_path):
    path = write(tmp_path / "a.mkv", moving(3, 48, 32), pts=[0, 10, 40], time_base=Fraction(1, 1000))
    assert [t.time for t in video(path)] == [0.25]


def test_decoded_references(tmp_path):
    pictures = moving(5, 64, 64)
    path = write(tmp_path / "a.y4m", pictures)
    fine, coarse = (video(path, anchor=Anchor("x264", crf)) for crf in (10, 40))
    assert [t.target for t in coarse] == [pictures[1], pictures[3]]
    assert coarse[0].inputs[1] == coarse[1].inputs[0] != pictures[2]
    assert 0 < fine[0].noise < coarse[0].noise
    colour = coarse[0].info.colour
    decoded = (coarse[0].inputs[0], *(t.inputs[1] for t in coarse))
    squares = [
        float((codec.rgb_of(a, colour) - codec.rgb_of(b, colour)).square().mean())
        for a, b in zip(decoded, pictures[::2], strict=True)
    ]
    assert coarse[0].noise == pytest.approx(np.sqrt(np.mean(squares)))


@pytest.mark.parametrize("load", [triplets.vimeo, triplets.ucf101, triplets.x4k])
def test_the_wrong_folder(tmp_path, load):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(codec.InputError, match=str(root)):
            load(root)
