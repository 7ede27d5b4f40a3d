"""Small films with sound, subtitles, chapters and cover art, and what is in a film."""

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet
from helpers import moving

from codec.video.libav_writer import video_frame

RATE, SAMPLES = 25, 48_000
LINES = ((100, 300, b"Hello"), (400, 800, b"two {\\i1}lines{\\i0}\\Nhere"))  # from and to, in milliseconds
ASS = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, Bold\n"
    b"Style: Default,Arial,16,&Hffffff,0\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, "
    b"MarginV, Effect, Text\n"
)
CONTAINERS = {".mp4": ("mp4", "mov_text"), ".mkv": ("matroska", "subrip")}


def make_film(path, count=24, width=64, height=48, *, subtitles=None, cover=False, layout="mono"):
    """A film of 25 frames a second: AAC in German, two English subtitles, two chapters, a title."""
    container, text = CONTAINERS[Path(path).suffix]
    with av.open(str(path), "w", format=container) as film:
        video = film.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "threads": "1"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = film.add_stream("aac", rate=SAMPLES)
        sound.codec_context.layout = layout
        sound.metadata["language"] = "deu"
        words = film.add_stream(subtitles or text)
        words.codec_context.subtitle_header = ASS
        words.codec_context.time_base = words.time_base = Fraction(1, 1000)
        words.metadata["language"] = "eng"
        film.metadata["title"] = "A film"
        end = count * 1000 // RATE
        film.set_chapters([chapter(1, 0, end // 2, "one"), chapter(2, end // 2, end, "two")])
        packets = cover_art(film, container) if cover else []
        film.start_encoding()
        packets += pictures(video, moving(count, width, height)) + tone(sound, count, layout) + lines(words)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            film.mux(packet)
    return Path(path)


def chapter(number, start, end, title):
    return {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}


def jpeg():
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 32, "yuvj420p", Fraction(1, 25)
    return bytes(encoder.encode(video_frame(moving(1, 32, 32)[0], "yuvj420p"))[0])


def cover_art(film, container):
    """Cover art as each container has it; the packets that it needs."""
    if container == "matroska":
        film.add_attachment("cover.jpg", "image/jpeg", jpeg())
        return []
    stream = film.add_mux_stream("mjpeg", width=32, height=32, time_base=Fraction(1, 90000))
    stream.disposition = Disposition.attached_pic
    packet = av.Packet(jpeg())
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 90000)
    return [packet]


def pictures(stream, shown):
    packets = []
    for number, picture in enumerate(shown):
        frame = video_frame(picture, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def tone(stream, count, layout):
    packets = []
    for start in range(0, count * SAMPLES // RATE, 1024):
        wave = 0.3 * np.sin((np.arange(1024) + start) * 2 * math.pi * 440 / SAMPLES)
        waves = np.stack([wave, wave / 2][: stream.codec_context.channels]).astype("f4")
        frame = av.AudioFrame.from_ndarray(waves, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES, start, Fraction(1, SAMPLES)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def lines(stream):
    packets = []
    for number, (start, end, text) in enumerate(LINES):
        subtitle = SubtitleSet.create(b"%d,0,Default,,0,0,0,," % number + text, 0, end - start)
        packet = stream.codec_context.encode_subtitle(subtitle)
        packet.pts, packet.dts, packet.duration, packet.time_base = start, start, end - start, Fraction(1, 1000)
        packet.stream = stream
        packets.append(packet)
    return packets


def packets_of(path, kind):
    """(time after the first picture in milliseconds, bytes) of the packets of the first stream of a kind."""
    with av.open(str(path)) as film:
        video = next(s for s in film.streams.video if not s.disposition & Disposition.attached_pic)
        zero = (video.start_time or 0) * video.time_base
        stream = next(stream for stream in film.streams if stream.type == kind)
        found = [(packet.pts * packet.time_base - zero, bytes(packet)) for packet in film.demux(stream) if packet.size]
    return [(round(1000 * time), data) for time, data in found if data != b"\0\0"]


def described(path):
    """What a film has: codecs and languages of all but the pictures, chapters in milliseconds, its title."""
    with av.open(str(path)) as film:
        tracks = {
            (stream.type, stream.codec_context.codec.canonical_name, stream.metadata.get("language"))
            for stream in film.streams
            if stream.codec_context and (stream.type != "video" or stream.disposition & Disposition.attached_pic)
        }
        chapters = [
            (round(1000 * c["start"] * c["time_base"]), round(1000 * c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in film.chapters()
        ]
        return tracks, chapters, film.metadata.get("title")
