# SPDX-License-Identifier: MIT
"""What is read of files that hold something else than one film in 4:2:0."""

import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition
from helpers import moving
from PIL import Image

from codec.errors import InputError
from codec.video.libav_reader import film_of
from codec.video.libav_writer import video_frame
from codec.video.matroska import missing_bytes
from codec.video.pixel_formats import Reader
from codec.video.reader import open_source

SIZE = 48, 32


def frame_of(pixel_format, width=SIZE[0], height=SIZE[1], level=90):
    """A flat picture of one level in all planes."""
    frame = av.VideoFrame(width, height, pixel_format)
    for plane in frame.planes:
        plane.update(bytes([level]) * plane.buffer_size)
    return frame


def save(path, *tracks, count=2):
    """A file with a track for each (encoder, pixel format, size, disposition), some pictures in each."""
    with av.open(str(path), "w") as container:
        streams = []
        for encoder, pixel_format, (width, height), disposition in tracks:
            stream = container.add_stream(encoder, rate=25, width=width, height=height, pix_fmt=pixel_format)
            stream.disposition = disposition
            streams.append((stream, frame_of(pixel_format, width, height)))
        for stream, frame in streams:
            for number in range(count):
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def load(path, **options):
    with open_source(path, **options) as source:
        return source, list(source)


@pytest.mark.parametrize(
    ("tracks", "index", "notes"),
    [
        ((0,), 0, 0),
        ((Disposition.attached_pic, 0), 1, 0),
        ((Disposition.attached_pic | Disposition.default, Disposition.default), 1, 0),
        ((0, Disposition.default, Disposition.default), 1, 1),
        ((0, 0, Disposition.timed_thumbnails), 0, 1),
    ],
)
def test_cover_art_is_no_film(tracks, index, notes):
    video = [SimpleNamespace(index=n, disposition=Disposition(d), codec_context=1) for n, d in enumerate(tracks)]
    chosen, said = film_of(SimpleNamespace(streams=SimpleNamespace(video=video)), "a.mp4")
    assert chosen.index == index and len(said) == notes


def test_cover_art_alone_is_none(tmp_path):
    cover = save(tmp_path / "a.mp4", ("mjpeg", "yuvj420p", (16, 16), Disposition.attached_pic), count=1)
    with pytest.raises(InputError, match="no video stream but cover art"):
        open_source(cover)


def test_the_default_track_is_taken(tmp_path):
    tracks = [("ffv1", "yuv420p", (16, 16), 0), ("ffv1", "yuv420p", SIZE, Disposition.default)]
    source, frames = load(save(tmp_path / "a.mkv", *tracks))
    assert (source.info.width, source.info.height, len(frames)) == (*SIZE, 2)
    (note,) = source.notes
    assert "2 video tracks; track 1 is taken" in note


@pytest.mark.parametrize(
    ("pixel_format", "depth"),
    [
        ("gray", 8),
        ("gray10le", 10),
        ("yuv422p", 8),
        ("yuvj422p", 8),
        ("yuv444p", 8),
        ("yuva420p", 8),
        ("yuv422p10le", 10),
        ("yuv420p12le", 10),
        ("yuv444p16le", 10),
    ],
)
def test_other_formats_keep_their_levels(pixel_format, depth):
    """A flat picture stays as it is, to the level: no change of range, matrix or white."""
    frame = frame_of(pixel_format, level=0)
    bits = max(component.bits for component in frame.format.components)
    level, dtype = 90 << (bits - 8), np.dtype("<u1" if bits == 8 else "<u2")
    for plane in frame.planes:
        plane.update(np.full(plane.buffer_size // dtype.itemsize, level, dtype).tobytes())
    reader = Reader(frame)
    (note,) = reader.notes
    assert f"its {pixel_format} is converted to {depth}-bit 4:2:0" in note
    assert ("transparency" in note) == ("yuva" in pixel_format)
    planes = reader.planes(frame).planes
    expected = [90 << (depth - 8)] * 3 if "gray" not in pixel_format else [90 << (depth - 8), *[1 << (depth - 1)] * 2]
    assert [set(plane.ravel().tolist()) for plane in planes] == [{value} for value in expected]
    assert reader.colour.full_range == pixel_format.startswith("yuvj")


@pytest.mark.parametrize(("rgb", "levels"), [((255, 255, 255), (235, 128, 128)), ((255, 0, 0), (63, 102, 240))])
def test_rgb_becomes_bt709(rgb, levels):
    frame = av.VideoFrame.from_ndarray(np.full((*SIZE[::-1], 3), rgb, np.uint8), format="rgb24")
    reader = Reader(frame)
    assert reader.colour.matrix == "bt709" and not reader.colour.full_range
    for plane, level in zip(reader.planes(frame).planes, levels, strict=True):
        assert np.abs(plane.astype(int) - level).max() <= 1


def test_gif(tmp_path):
    source, frames = load(save(tmp_path / "a.gif", ("gif", "rgb8", SIZE, 0)))
    assert len(frames) == 2 and "bgra is converted" in source.notes[0]


def images(folder, numbers):
    for number in numbers:
        with av.open(str(folder / f"a{number:03d}.png"), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream("png", width=SIZE[0], height=SIZE[1], pix_fmt="rgb24")
            container.mux([*stream.encode(frame_of("rgb24", level=40 * (number - 6))), *stream.encode(None)])


def test_animated_webp_is_refused_with_a_remedy(tmp_path):
    path, shown = tmp_path / "a.webp", [Image.new("RGB", SIZE, (40 * level, 0, 0)) for level in range(3)]
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=40)
    with pytest.raises(InputError, match=r"animated ones cannot; make \.gif or numbered .png files"):
        open_source(path)
    shown[0].save(path)
    assert load(path)[1]


def test_numbered_images(tmp_path):
    images(tmp_path, (7, 8, 9))
    source, frames = load(tmp_path / "a%03d.png", frame_rate=Fraction(12))
    assert source.info.frame_rate == 12 and source.frame_count == 3
    means = [frame.picture.y.mean() for frame in frames]
    assert len(frames) == 3 and means == sorted(means)
    assert source.info.colour.matrix == "bt709"
    (tmp_path / "a008.png").unlink()
    with pytest.raises(InputError, match="image 8 is missing"):
        open_source(tmp_path / "a%03d.png")
    with pytest.raises(InputError, match="no such images"):
        open_source(tmp_path / "b%03d.png")


UNUSABLE = {
    "is a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "is no file": lambda path: path.mkdir(),
    "is empty": lambda path: path.touch(),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_image_that_cannot_be_opened_is_no_end(tmp_path, what):
    images(tmp_path, (7, 9))
    UNUSABLE[what](tmp_path / "a008.png")
    with pytest.raises(InputError, match=f"image 8 {what}"):
        open_source(tmp_path / "a%03d.png")


def test_a_photograph_with_exif(tmp_path):
    """PyAV has no name for what FFmpeg then has beside the picture; the camera's rotation is in it."""
    save(tmp_path / "a.avi", ("mjpeg", "yuvj420p", SIZE, 0), count=1)
    data = (tmp_path / "a.avi").read_bytes()
    start, stop = data.index(b"\xff\xd8\xff"), data.rindex(b"\xff\xd9") + 2
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    app1 = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "a1.jpg").write_bytes(data[start : start + 2] + app1 + data[start + 2 : stop])
    source, frames = load(tmp_path / "a%d.jpg")
    assert len(frames) == 1
    assert source.info.presentation.display_matrix[:5] == (0, 65536, 0, -65536, 0)


def test_y4m_of_other_chroma(tmp_path):
    planes = [np.full(48 * 32, level, np.uint8).tobytes() for level in (50, 100, 200)]
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W48 H32 F25:1 C444\nFRAME\n" + b"".join(planes))
    source, (frame,) = load(tmp_path / "a.y4m")
    assert "yuv444p is converted" in source.notes[0]
    assert [int(plane.max()) for plane in frame.picture.planes] == [50, 100, 200]


def test_what_can_be_decoded_of_a_damaged_film_is_read(tmp_path, caplog):
    path = save(tmp_path / "a.mkv", ("ffv1", "yuv420p", SIZE, 0), count=6)
    data = path.read_bytes()
    blocks = [found.start() for found in re.finditer(rb"\xa3[\x40-\x7f].\x81|\xa3[\x81-\xff]\x81", data)]
    hit = bytearray(data)
    hit[blocks[3] + 8 : blocks[3] + 40] = b"\xff" * 32
    path.write_bytes(hit)
    source, frames = load(path)
    assert 1 <= len(frames) <= 6 and len(source.problems) >= 1
    assert source.problems[0] in caplog.text


def test_a_film_cut_short_is_said(tmp_path, caplog):
    """FFmpeg ends such a file as if it were whole."""
    path = save(tmp_path / "a.mkv", ("ffv1", "yuv420p", SIZE, 0), count=40)
    source, frames = load(path)
    assert (len(frames), source.problems) == (40, [])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source, frames = load(path)
    assert 1 <= len(frames) < 40
    assert f"cut short, {len(data) - len(data) // 2} bytes are missing" in source.problems[0]
    assert source.problems[0] in caplog.text


@pytest.mark.parametrize("live", [b"\x01" + b"\xff" * 7, b"\xff"])
def test_a_film_of_unknown_length_is_whole(tmp_path, live):
    """As programs write that stream it: the segment's size is all ones."""
    header, void = b"\x1a\x45\xdf\xa3\x83abc", b"\x18\x53\x80\x67"
    (tmp_path / "a.mkv").write_bytes(header + void + live)
    assert missing_bytes(tmp_path / "a.mkv") == 0
    (tmp_path / "a.mkv").write_bytes(header + void + b"\x40\x09" + b"abc")
    assert missing_bytes(tmp_path / "a.mkv") == 6
    for junk in (b"", b"\x00" * 40, header, header + b"\x18"):
        (tmp_path / "a.mkv").write_bytes(junk)
        assert missing_bytes(tmp_path / "a.mkv") == 0


def save_moving(path, **how):
    """A film of nine pictures that are stored out of order, with a key frame for every five."""
    with av.open(str(path), "w", **how) as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, picture in enumerate(moving(9)):
            frame = video_frame(picture, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seconds(source, frames):
    return [frame.pts * source.info.time_base for frame in frames]


def test_what_comes_before_a_cut_is_read_and_the_cut_is_said(tmp_path, caplog):
    """Decoded by a thread for each picture, those before the damaged one would be lost without a word."""
    path = save_moving(tmp_path / "a.mp4", options={"movflags": "+frag_keyframe+empty_moov"})
    with av.open(str(path)) as film:
        _, second = [packet for packet in film.demux(video=0) if packet.is_keyframe]
    path.write_bytes(path.read_bytes()[: second.pos + second.size // 2])
    source, frames = load(path)
    assert seconds(source, frames) == [Fraction(n, 25) for n in range(5)]
    assert "cannot be decoded" in source.problems[0] and source.problems[0] in caplog.text


def test_a_film_without_a_picture_is_one_line(tmp_path, caplog):
    path = save(tmp_path / "a.mkv", ("ffv1", "yuv420p", SIZE, 0))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75") + 20])  # some bytes of the first cluster
    with pytest.raises(InputError, match="cut short"):
        open_source(path)
    assert not caplog.text


def test_pictures_out_of_order_in_a_container_without_times(tmp_path):
    source, frames = load(save_moving(tmp_path / "a.avi"))
    assert seconds(source, frames) == [Fraction(n, 25) for n in range(9)]


def test_a_picture_shown_once_more_is_no_damage(tmp_path, caplog):
    """Theora and others code it as no bytes at all."""
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for number in range(4):
            frame = frame_of("yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            (packet,) = stream.encode(frame)
            if number == 1:
                empty = av.Packet(b"")
                empty.pts, empty.dts, empty.time_base, empty.stream = packet.pts, packet.dts, packet.time_base, stream
                packet = empty
            container.mux(packet)
    source, frames = load(path)
    assert seconds(source, frames) == [0, Fraction(2, 25), Fraction(3, 25)]
    assert source.problems == [] and not caplog.text


def test_transparency_that_is_kept_apart_is_said_to_be_left_out(tmp_path):
    with av.open(str(tmp_path / "a.webm"), "w") as film:
        stream = film.add_stream("libvpx-vp9", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["alpha_mode"] = "1"
        film.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        film.mux(stream.encode(None))
    with open_source(tmp_path / "a.webm") as source:
        assert any("transparency" in note for note in source.notes)


@pytest.mark.parametrize("name", ["100%/shot_%03d.png", "a%b_%03d.png", "%03d.png", "%03d 50%.png"])
def test_images_with_percent_signs_in_their_names(tmp_path, name):
    pattern = tmp_path / name
    pattern.parent.mkdir(exist_ok=True)
    for number in range(2):
        path = Path(str(pattern).replace("%03d", f"{number:03d}"))
        av.VideoFrame(64, 48, "rgb24").to_image().save(path)
    with open_source(pattern) as source:
        assert len(list(source)) == 2
