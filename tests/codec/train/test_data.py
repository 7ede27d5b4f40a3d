# SPDX-License-Identifier: MIT
"""What training reads: videos, numbered images, Vimeo-90k, several folders at once, and large pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from corpus import tiny_cache
from helpers import moving, write

from codec.errors import InputError
from codec.train.config import TrainConfig
from codec.train.data import Corpus, Library, build_cache, is_validation, open_corpus
from codec.train.folders import find_clips
from codec.train.samples import write_png
from codec.train.sampling import Sampler, draw_turn, shrink
from codec.video.colour import rgb_to_yuv, yuv_to_rgb
from codec.video.picture import Colour

CONFIG = TrainConfig(batch=2, crop=32, unequal=0.0, distances=(1.0,), teacher=0.0)


def write_images(folder, pictures, name="{:04d}.png"):
    """Numbered PNGs; what comes back is what each holds, as RGB in [0,1]."""
    folder.mkdir(parents=True)
    images = [yuv_to_rgb(picture, Colour())[0].clamp(0, 1) for picture in pictures]
    for number, image in enumerate(images, start=1):
        write_png(folder / name.format(number), image)
    return [(image * 255).round() / 255 for image in images]


def write_vimeo(folder, names, *, kind="tri", length=3):
    for number, name in enumerate(names):
        write_images(folder / "sequences" / name, moving(length, seed=number), "im{}.png")
    (folder / f"{kind}_trainlist.txt").write_text("\n".join(names[:-1]) + "\n")
    (folder / f"{kind}_testlist.txt").write_text(names[-1] + "\n\n")


def test_images_become_planes_by_our_own_conversion(tmp_path):
    images = write_images(tmp_path / "data" / "street" / "a", moving(12), "x{}.png")  # x10 comes after x9
    corpus = build_cache(tmp_path / "data", tmp_path / "cache")
    (clip,) = corpus.clips
    assert (clip.name, clip.scene, clip.source, clip.frames) == ("street/a", "street/a", "street", 12)
    for number, image in enumerate(images):
        assert corpus.picture(clip, number) == rgb_to_yuv(image[None], Colour(), 8)


def test_odd_sizes_lose_a_line(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(3):
        write_png(tmp_path / "data" / f"{number}.png", torch.rand(3, 33, 35))
    (clip,) = build_cache(tmp_path / "data", tmp_path / "cache").clips
    assert (clip.name, clip.width, clip.height) == ("data", 34, 32)


def test_videos_and_images_side_by_side_and_labels(tmp_path):
    write_images(tmp_path / "data" / "b", moving(3))
    write_images(tmp_path / "data" / "too-few", moving(2))
    write(tmp_path / "data" / "a.y4m", moving(4))
    (tmp_path / "manifest.csv").write_text("file,scene,source\ndata/b,scene-b,owner/repo@1:x\n")
    a, b = build_cache(tmp_path / "data", tmp_path / "cache").clips
    assert (a.name, a.scene, a.frames) == ("a.y4m", "a", 4)
    assert (b.name, b.scene, b.source) == ("b", "scene-b", "owner/repo")


@pytest.mark.parametrize("kind, length", [("tri", 3), ("sep", 7)])
def test_vimeo90k(tmp_path, kind, length):
    names = ["00001/0001", "00001/0002", "00078/0001"]
    write_vimeo(tmp_path / "vimeo", names, kind=kind, length=length)
    corpus = build_cache(tmp_path / "vimeo", tmp_path / "cache")
    assert [clip.name for clip in corpus.clips] == names
    assert [is_validation(clip) for clip in corpus.clips] == [False, False, True]
    assert {(clip.source, clip.frames, tuple(clip.runs)) for clip in corpus.clips} == {
        ("vimeo-90k", length, ((0, length - 1),))
    }
    Sampler(Library(corpus), CONFIG).batch(0)


def test_every_vimeo_triplet_counts_even_one_that_hardly_moves(tmp_path):
    write_vimeo(tmp_path / "vimeo", ["1/1", "1/2"])
    for number in (2, 3):
        still = tmp_path / "vimeo/sequences/1/1"
        (still / f"im{number}.png").write_bytes((still / "im1.png").read_bytes())
    assert build_cache(tmp_path / "vimeo", tmp_path / "cache").clips[0].runs == [(0, 2)]


def test_an_incomplete_download_is_named(tmp_path):
    write_vimeo(tmp_path / "vimeo", ["1/1", "1/2"])
    (tmp_path / "vimeo/sequences/1/1/im2.png").unlink()
    with pytest.raises(InputError, match=r"1/1/im2\.png"):
        build_cache(tmp_path / "vimeo", tmp_path / "cache")
    with pytest.raises(InputError, match="no folder"):
        find_clips(tmp_path / "nowhere")


def test_caches_are_found_again_and_never_confused(tmp_path):
    for place in ("one", "two"):
        write_images(tmp_path / place / "data" / "a", moving(3))
    first = open_corpus(tmp_path / "one" / "data", tmp_path / "cache")
    assert open_corpus(tmp_path / "one" / "data", tmp_path / "cache").folder == first.folder
    assert open_corpus(first.folder, tmp_path / "elsewhere").folder == first.folder
    with pytest.raises(InputError, match="was made from"):
        open_corpus(tmp_path / "two" / "data", tmp_path / "cache")


def test_a_folder_that_has_changed_since_is_warned_of(tmp_path, caplog):
    data = tmp_path / "data"
    for name in "ab":
        write_images(data / name, moving(3))
    write_images(data / "too-few", moving(2))
    open_corpus(data, tmp_path / "cache")
    assert len(open_corpus(data, tmp_path / "cache").clips) == 2 and not caplog.messages
    write_images(data / "c", moving(3))
    assert len(open_corpus(data, tmp_path / "cache").clips) == 2 and "has other clips than" in caplog.text


@pytest.mark.parametrize(
    "content", [b"file,scene\n", b"file,scene,source\na.y4m,x\n", b"file,scene,source\n\xff,a,b\n"]
)
def test_a_manifest_with_mistakes_is_named(tmp_path, content):
    write_images(tmp_path / "data" / "a", moving(3))
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.csv"):
        find_clips(tmp_path / "data")


def test_lists_and_pictures_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "tri_trainlist.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"tri_trainlist\.txt is no list"):
        find_clips(tmp_path)
    write_images(tmp_path / "data" / "a", moving(3))
    (tmp_path / "data" / "a" / "0002.png").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"0002\.png: cannot be decoded \(.*\); fetch it again"):
        build_cache(tmp_path / "data", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("clean.yuv", b"short", "delete the folder"),
        ("pass0.yuv", b"short", "decode-passes"),
        ("pass0.json", b"{}", "decode-passes"),
        ("pass0.json", b"[]", "no training cache"),
    ],
)
def test_a_cache_that_is_cut_off_is_named(tmp_path, name, content, remedy):
    cache = tiny_cache(tmp_path / "tiny")
    Corpus(cache)
    (cache / name).write_bytes(content)
    with pytest.raises(InputError, match=remedy):
        Corpus(cache)


@pytest.fixture
def library(tmp_path):
    """One folder with a clip of 96x96, and one with four of 40x40."""
    write_images(tmp_path / "large" / "far", moving(5, 96, 96))
    for number in range(4):
        write_images(tmp_path / "small" / "near" / str(number), moving(5, 40, 40, seed=number))
    caches = [build_cache(tmp_path / name, tmp_path / "cache" / name) for name in ("large", "small")]
    clips = [[replace(clip, held_out=False) for clip in corpus.clips] for corpus in caches]
    for corpus, kept in zip(caches, clips, strict=True):
        corpus.clips = kept
    return Library(*caches)


def test_several_folders_are_one_library(library):
    sampler = Sampler(library, CONFIG)
    assert sampler.weights == pytest.approx([1 / 3, 2 / 3])  # square roots of one and four scenes
    for clip in library.clips:
        corpus = library.corpora[clip.corpus]
        assert library.picture(clip, 1) == corpus.picture(clip, 1)
        assert library.picture(clip, 1).width == (96 if clip.source == "far" else 40)
    assert library.describe() == "large: 1 clips, decoded passes: 0; small: 4 clips, decoded passes: 0"


def test_shrinking_is_area_averaging():
    plane = np.arange(36, dtype=np.uint8).reshape(6, 6)
    assert shrink(plane, 1) is plane
    assert np.array_equal(shrink(plane, 3), [[7, 10], [25, 28]])
    assert np.array_equal(shrink(np.full((4, 4), 255, np.uint8), 2), np.full((2, 2), 255))


def test_only_large_pictures_are_shrunk(library):
    sampler = Sampler(library, replace(CONFIG, downscale=(2, 3, 4)))
    rng = np.random.default_rng(0)
    far, near = library.clips[:2]
    assert {sampler._draw_factor(rng, far) for _ in range(40)} == {2, 3}
    assert {sampler._draw_factor(rng, near) for _ in range(10)} == {1}
    assert sampler.batch(0).past.shape == (2, 3, 32, 32)
    with pytest.raises(InputError, match="downscale"):
        replace(CONFIG, downscale=(0,))


def test_crops_are_transposed_only_where_asked(library):
    rng = np.random.default_rng(0)
    clip = library.clips[0]
    assert not any(draw_turn(rng, clip, 32, transpose=False).transpose for _ in range(30))
    assert any(draw_turn(rng, clip, 32, transpose=True).transpose for _ in range(30))


def test_a_damaged_index_is_one_line(tmp_path):
    (tmp_path / "index.json").write_text('{"clips": [{"nam": 1}]}')
    with pytest.raises(InputError, match="no training cache"):
        Corpus(tmp_path)
