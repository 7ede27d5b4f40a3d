# SPDX-License-Identifier: MIT
"""Anchors by the encoders and decoders of libavcodec: a table of what differs, and one class for all of them."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import av
import av.logging
import numpy as np
from av.codec.context import ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from ..bitstream.units import AnchorPacket
from ..errors import AnchorError
from ..video import hdr10
from ..video.guard import process_unchanged
from ..video.libav_presentation import describe
from ..video.picture import VideoInfo, Yuv420, crop, dtype_of, pad
from .disposable import disposable_hevc, without
from .libav_codecs import START_CODE, LibavRow
from .protocol import AnchorFrame, check_depth

MINIMUM_SIZE = 64  # the smallest side that every encoder of the table takes
RATES = (Fraction(1), Fraction(240))  # frames a second that every encoder takes
FORMATS = {8: ("yuv420p", "yuvj420p"), 10: ("yuv420p10le",)}  # what we encode, then its other names when decoded
# SEI of type 5, user data: x264 writes its settings there, 600 bytes that no decoder needs.
USER_DATA = re.compile(rb"\x00?\x00\x00\x01\x06\x05.*?(?=\x00?\x00\x00\x01|\Z)", re.DOTALL)
# How libavcodec warns of a parameter that it goes on without.
IGNORED = re.compile(r"(?:Unknown option|Invalid value for|Error parsing option)[ :']*([\w-]+)")


def keyint_of(row: LibavRow, longest_group: int) -> str:
    """The encoder's keyint for closed groups of so many anchors at most."""
    return str(longest_group) if longest_group > 1 else row.endless


@dataclass(eq=False)
class LibavAnchors:
    """An AnchorCodec over libavcodec; made by anchor_codec, which checks the settings."""

    name: str
    row: LibavRow
    preset: str
    quality: tuple[str, str]
    params: Mapping[str, str]
    keyint: str
    anchor_distance: int
    threads: int

    @property
    def slope(self) -> float:
        """-dR/dD at this quality: bits a pixel for a unit of MSE of RGB in [0,1], as a table has it."""
        option, value = self.quality
        start, fall = self.row.slopes[option]
        return float(2 ** (start - fall * float(value)))

    @property
    def exact(self) -> bool:
        """Whether every machine decodes the same pictures, to the bit: it decodes in whole numbers."""
        return True

    @property
    def regular(self) -> bool:
        """Whether its own order needs anchors evenly spaced."""
        return self.row.regular

    @property
    def remembers(self) -> bool:
        """Whether its rate control goes by what it coded before."""
        return self.row.remembers

    @property
    def restores(self) -> bool:
        """Whether its loop has Wiener filters of luma: AV1's has."""
        return self.row.stream == "av1"

    def variant(self, *, distance: int, longest_group: int, finer: float = 0.0) -> "LibavAnchors":
        """The same for anchors `distance` apart, at a slope 2^finer times as steep, or as near as its scale allows."""
        option, value = self.quality
        quality = self.row.shifted_quality(option, float(value), finer)
        return replace(self, quality=quality, keyint=keyint_of(self.row, longest_group), anchor_distance=distance)

    def describe(self) -> str:
        """The settings that made the stream, in one line."""
        settings = {"preset": self.preset, self.quality[0]: self.quality[1], **self.params}
        return " ".join([self.name, *(f"{key}={value}" for key, value in settings.items())])

    def encode(self, frames: Iterable[AnchorFrame], info: VideoInfo) -> Iterator[AnchorPacket]:
        """Packets in coding order, one an anchor. AnchorError if the encoder refuses or breaks a rule of ours."""
        context: VideoCodecContext | None = None
        waiting: dict[int, bool] = {}  # the anchors inside the encoder: was a key frame asked for?
        try:
            for index, (picture, key) in enumerate(frames):
                context = context or self._open(info)
                waiting[index] = key
                for packet in context.encode(_to_libav(picture, index, key=key)):
                    yield self._packet(packet, waiting)
            for packet in context.encode(None) if context else ():
                yield self._packet(packet, waiting)
        except av.FFmpegError as error:
            raise AnchorError(f"{self.name} failed: {error.strerror}") from error
        if waiting:
            raise AnchorError(f"{self.name} lost {len(waiting)} pictures, the first is anchor {min(waiting)}")

    def decode(self, packets: Sequence[AnchorPacket], info: VideoInfo) -> dict[int, Yuv420]:
        """The pictures of one closed group by index; what cannot be decoded is absent.

        AnchorError if the codec has not the video's depth; nothing is raised for bad data.
        """
        check_depth(self.name, self.row.depths, info)
        decoder = self._decoder()
        # A packet of a few bytes may ask for pictures of gigabytes; encoders fill sizes up to multiples of 64 at most.
        decoder.options |= {"max_pixels": str((info.width + MINIMUM_SIZE) * (info.height + MINIMUM_SIZE))}
        pictures: dict[int, Yuv420] = {}
        for packet in (*packets, None):
            try:
                frames = decoder.decode(self._restore(packet))
            except av.FFmpegError:
                # What follows may refer to the lost picture: take no more of it, but what was decoded before.
                frames = _drain(decoder)
                packet = None
            for frame in frames:
                picture = None if frame.is_corrupt else _from_libav(frame, info)
                if picture is not None and frame.pts is not None:
                    pictures[frame.pts] = picture
            if packet is None:
                break
        return pictures

    def disposable(self, packets: Sequence[AnchorPacket]) -> set[int]:
        """Indices of the packets of a closed group whose pictures no other refers to; none if it cannot be decoded."""
        if self.row.stream == "hevc":
            return disposable_hevc(packets)
        decoder = self._decoder()
        decoder.skip_frame = "NONREF"
        try:
            shown = [frame.pts for packet in (*packets, None) for frame in decoder.decode(self._restore(packet))]
        except av.FFmpegError:
            return set()
        return {packet.index for packet in packets}.difference(shown)

    def without(self, packets: Sequence[AnchorPacket], indices: set[int]) -> list[AnchorPacket]:
        """A closed group without some spare packets; the other pictures decode as before, to the bit."""
        return without(packets, indices, av1=self.row.stream == "av1")

    def _open(self, info: VideoInfo) -> VideoCodecContext:
        """The encoder. AnchorError, naming the parameter, if it is missing or refuses or ignores its settings."""
        check_depth(self.name, self.row.depths, info)
        os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 asks the environment, not libav, whether to write to stderr
        context = create(self.row.encoder, "w")
        _describe_video(context, info, self.anchor_distance)
        context.thread_count = self.threads
        context.options = self._options(info)
        with process_unchanged():
            level = av.logging.get_level()
            av.logging.set_level(av.logging.WARNING)
            try:
                with av.logging.Capture(local=False) as logs:
                    context.open()
            except (av.FFmpegError, ValueError) as error:
                raise AnchorError(f"{self.describe()!r} is refused: {_first_error(logs) or error}") from error
            finally:
                av.logging.set_level(level)
        for ignored in filter(None, (IGNORED.search(message) for _, _, message in logs)):
            raise AnchorError(f"{self.name} does not know parameter {ignored[1]!r} or cannot use its value")
        return context

    def _options(self, info: VideoInfo) -> dict[str, str]:
        """Options of libavcodec; among them the encoder's own parameters, ours last so that they hold."""
        row = self.row
        own = [f"{key}={value}" for key, value in self.params.items() if key not in row.choices]
        told = hdr10.parameters(row.encoder, info.presentation)
        params = [row.defaults, *told, *own, row.fixed.format(keyint=self.keyint)]
        options = {key: value for key, value in self.params.items() if key in row.choices}
        options |= {"preset": self.preset, self.quality[0]: self.quality[1], **row.options}
        return options | {row.params_option: ":".join(filter(None, params))}

    def _packet(self, packet: "av.Packet[Any]", waiting: dict[int, bool]) -> AnchorPacket:
        """A packet as we store it. AnchorError if it is none of those asked for, or cannot be put back exactly."""
        index, key, data = packet.pts, packet.is_keyframe, bytes(packet)
        if index is None or waiting.pop(index, None) != key:
            raise AnchorError(f"{self.name} made anchor {index} {'' if key else 'not '}a key frame, against its orders")
        if not data.startswith(self.row.prefix):
            raise AnchorError(f"{self.name} made a packet that starts with {data[:4].hex()}")
        if key and self.row.prefix == START_CODE:
            data = USER_DATA.sub(b"", data)
        return AnchorPacket(index, key, data[len(self.row.prefix) :])

    def _restore(self, stored: AnchorPacket | None) -> "av.Packet[Any] | None":
        """A packet as the decoder wants it; None, which ends the stream, stays."""
        return None if stored is None else packet_of(self.row.prefix + stored.data, stored.index)

    def _decoder(self) -> VideoCodecContext:
        """A fresh decoder: the first of the row's that this build has. AnchorError if there is none."""
        name = next((name for name in self.row.decoders if name in av.codecs_available), self.row.decoders[0])
        decoder = create(name, "r")
        decoder.thread_count = self.threads or 1
        decoder.thread_type = ThreadType.SLICE  # frame threads would report an error only some packets later
        decoder.options = {"err_detect": "explode"}
        return decoder


def packet_of(data: bytes, index: int) -> "av.Packet[Any]":
    """A packet for a decoder, whose frames will have the index as pts."""
    # Not Packet(data): a decoder's threads would need the interpreter's lock to release the bytes, and hang when the
    # decoder is freed by a thread that holds it.
    packet: av.Packet[Any] = av.Packet(len(data))
    packet.update(data)
    packet.pts = index
    return packet


def create(name: str, mode: str) -> VideoCodecContext:
    """A codec context by name. AnchorError if PyAV was built without it."""
    try:
        return cast(VideoCodecContext, av.CodecContext.create(name, cast(Any, mode)))
    except av.codec.codec.UnknownCodecError as error:
        raise AnchorError(f"this PyAV was built without {name}; install the wheel: pip install --force av") from error


def _describe_video(context: VideoCodecContext, info: VideoInfo, anchor_distance: int) -> None:
    """Tell the encoder size, format, colours and the rate of the anchors."""
    width, height = (max(size + size % 2, MINIMUM_SIZE) for size in (info.width, info.height))
    rate = min(max(info.frame_rate / anchor_distance, RATES[0]), RATES[1]).limit_denominator(10_000)
    context.width, context.height, context.pix_fmt = width, height, FORMATS[info.bit_depth][0]
    context.framerate, context.time_base = rate, 1 / rate
    describe(context, info)
    context.sample_aspect_ratio = info.presentation.sample_aspect_ratio


def _first_error(logs: list[tuple[int, str, str]]) -> str:
    """The first error among messages of libav."""
    return next((message.strip() for level, _, message in logs if level <= av.logging.ERROR), "")


def _drain(decoder: VideoCodecContext) -> list[VideoFrame]:
    """What is left in a decoder that has failed."""
    try:
        return decoder.decode(None)
    except av.FFmpegError:
        return []


def _rows(plane: VideoPlane, bit_depth: int) -> NDArray[Any]:
    """The samples of a libav plane (rows, at least its columns), without a copy."""
    samples = np.frombuffer(cast(memoryview, plane), dtype_of(bit_depth))
    return samples.reshape(-1, plane.line_size // samples.itemsize)[: plane.height]


def _to_libav(picture: Yuv420, index: int, *, key: bool) -> VideoFrame:
    """A picture, padded to a size that encoders take, as the frame of this index."""
    picture = pad(picture, 2, MINIMUM_SIZE)
    frame = VideoFrame(picture.width, picture.height, FORMATS[picture.bit_depth][0])
    for plane, samples in zip(frame.planes, picture.planes, strict=True):
        _rows(plane, picture.bit_depth)[:, : samples.shape[1]] = samples
    frame.pts = index
    frame.pict_type = PictureType.I if key else PictureType.NONE
    return frame


def _from_libav(frame: VideoFrame, info: VideoInfo) -> Yuv420 | None:
    """A copy of a frame's planes, cropped to the true size; None if the frame is not of this video."""
    if frame.format.name not in FORMATS[info.bit_depth] or frame.width < info.width or frame.height < info.height:
        return None
    y, u, v = (_rows(plane, info.bit_depth)[:, : plane.width] for plane in frame.planes)
    cropped = crop(Yuv420(y, u, v, info.bit_depth), info.width, info.height)
    y, u, v = (plane.copy() for plane in cropped.planes)
    return Yuv420(y, u, v, info.bit_depth)
