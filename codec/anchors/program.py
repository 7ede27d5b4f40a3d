# SPDX-License-Identifier: MIT
"""Anchors by programs of the user's: each closed group is a run of the encoder, checked with a run of the decoder."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..bitstream.units import AnchorPacket
from ..errors import AnchorError, InputError
from ..video.picture import Frame, VideoInfo, Yuv420, crop, dtype_of, pad
from ..video.reader import open_source
from ..video.writer import open_sink
from .access_units import access_units
from .disposable import disposable_hevc, without
from .libav_codecs import START_CODE
from .program_codecs import Command, ProgramRow
from .protocol import AnchorFrame, check_depth
from .subprocesses import run

PIXEL_FORMATS = {8: "yuv420p", 10: "yuv420p10le"}


@dataclass(eq=False)
class ProgramAnchors:
    """An AnchorCodec over two programs; made by anchor_codec, which checks the settings."""

    name: str
    row: ProgramRow
    preset: str
    quality: tuple[str, str]
    params: Mapping[str, str]
    anchor_distance: int = 1
    encoder: str | Path | None = None  # paths given by the user
    decoder: str | Path | None = None

    @property
    def slope(self) -> float:
        """-dR/dD at this quality: bits a pixel for a unit of MSE of RGB in [0,1]. InputError if the row tells none."""
        if self.preset not in self.row.slopes:
            raise InputError(f"{self.name} tells no slope, which bitneed needs; add `slope = [a, b]` to its definition")
        start, fall = self.row.slopes[self.preset]
        return float(2 ** (start - fall * float(self.quality[1])))

    @property
    def exact(self) -> bool:
        """Whether every machine decodes the same pictures, to the bit: programs are taken to."""
        return True

    @property
    def regular(self) -> bool:
        """Whether its own order needs anchors evenly spaced; programs are taken to."""
        return True

    @property
    def remembers(self) -> bool:
        """Whether a group depends on what came before it; each is a run of its own."""
        return False

    @property
    def restores(self) -> bool:
        """Whether its loop has Wiener filters of luma: HEVC's has not, others may."""
        return self.row.stream != "hevc"

    def variant(self, *, distance: int, longest_group: int, finer: float = 0.0) -> "ProgramAnchors":
        """The same for anchors `distance` apart, at a slope 2^finer times as steep, or as near as its scale allows."""
        if not finer:
            return replace(self, anchor_distance=distance)
        self.slope  # noqa: B018 (says what is missing if there is none)
        low, high = self.row.quality_range
        value = float(self.quality[1]) - finer / self.row.slopes[self.preset][1]
        quality = (self.quality[0], f"{min(max(value, low), high):.0f}")
        return replace(self, quality=quality, anchor_distance=distance)

    def disposable(self, packets: Sequence[AnchorPacket]) -> set[int]:
        """Indices of the pictures of a group that no other refers to; only HEVC says which these are."""
        return disposable_hevc(packets) if self.row.stream == "hevc" else set()

    def without(self, packets: Sequence[AnchorPacket], indices: set[int]) -> list[AnchorPacket]:
        """A closed group without some spare packets."""
        return without(packets, indices)

    def describe(self) -> str:
        """The settings that made the stream, in one line."""
        preset = [f"preset={self.preset}"] if self.preset else []
        settings = [f"{key}={value}" for key, value in self.params.items()]
        return " ".join([self.name, *preset, "=".join(self.quality), *settings])

    def encode(self, frames: Iterable[AnchorFrame], info: VideoInfo) -> Iterator[AnchorPacket]:
        """Packets in coding order, one an anchor, group by group.

        AnchorError if a program is missing or fails, or if the decoder does not show what the encoder saw.
        """
        check_depth(self.name, self.row.formats, info)
        for command, given in ((self.row.encoder, self.encoder), (self.row.decoder, self.decoder)):
            self.row.find(command, given)  # before anything is coded in vain
        first = 0
        for group in _groups(frames):
            yield from self._encode_group(group, info, first)
            first += len(group)

    def decode(self, packets: Sequence[AnchorPacket], info: VideoInfo) -> dict[int, Yuv420]:
        """The pictures of one closed group by index; what cannot be decoded is absent.

        AnchorError if the decoder is missing or has not the video's depth; nothing is raised for bad data.
        """
        check_depth(self.name, self.row.formats, info)
        self.row.find(self.row.decoder, self.decoder)
        if not packets or not packets[0].key:
            return {}
        for part in _attempts(packets, tells=bool(self.row.lost) or self.row.stream == "whole"):
            try:
                return self._pictures_of(part, info)
            except AnchorError:
                continue
        return {}

    def _encode_group(self, pictures: list[Yuv420], info: VideoInfo, first: int) -> list[AnchorPacket]:
        """The packets of one group, whose first picture is this anchor."""
        coded = _coded_info(info, self.row, self.anchor_distance)
        with TemporaryDirectory(prefix="ncm-") as folder:
            source, recon = (Path(folder) / f"{name}.{self.row.video}" for name in ("source", "recon"))
            stream = Path(folder) / "stream.bin"
            with open_sink(source, coded) as sink:
                for number, picture in enumerate(pictures):
                    sink.write(Frame(number, pad(picture, 2, self.row.minimum_size)))
            fields = self._fields(coded, len(pictures)) | {"recon": recon}
            log = self._run(self.row.encoder, self.encoder, fields, source=source, target=stream)
            if self.row.ignored and (ignored := re.search(self.row.ignored, log)):
                raise AnchorError(f"{self.name} does not know parameter {ignored[1]!r}")
            packets = self._packets(stream, len(pictures), first)
            seen = _read(recon, coded, info) if recon.exists() else None
        self._check(packets, seen, info)
        return packets

    def _fields(self, coded: VideoInfo, count: int) -> dict[str, object]:
        """What the encoder's command may ask for."""
        rate = coded.frame_rate
        return {
            **_sizes(coded, self.row),
            "frames": count,
            "rate": max(1, round(rate)),
            "fps": f"{rate.numerator}/{rate.denominator}",
            "preset": self.preset,
            self.quality[0]: self.quality[1],
            "endless": 32 * (count // 32 + 2),
        }

    def _packets(self, file: Path, count: int, first: int) -> list[AnchorPacket]:
        """The packets of a group's stream. AnchorError if they are not one a picture, the key first."""
        stream = file.read_bytes() if file.exists() else b""
        if not stream:
            raise AnchorError(f"{self.name}: its encoder wrote no stream; check its command")
        if self.row.stream == "whole":
            return [AnchorPacket(first + n, n == 0, b"" if n else stream) for n in range(count)]
        try:
            packets = access_units(stream, self.row.stream, first)
        except ValueError as error:
            raise AnchorError(f"{self.name}: its encoder's stream cannot be read: {error}") from error
        if len(packets) != count:
            raise AnchorError(f"{self.name}: {count} pictures went in and {len(packets)} came out; check its command")
        if not packets[0].key:
            raise AnchorError(f"{self.name}: its encoder's first picture is not the first to be shown")
        return packets

    def _check(self, packets: list[AnchorPacket], seen: list[Yuv420] | None, info: VideoInfo) -> None:
        """AnchorError unless the decoder shows a group's pictures as its encoder saw them."""
        remedy = "take encoder and decoder of the same version"
        try:
            shown = self._pictures_of(packets, info)
        except AnchorError as error:
            raise AnchorError(f"{self.name}: its decoder fails on its encoder's stream: {error}; {remedy}") from error
        if len(shown) != len(packets):
            raise AnchorError(f"{self.name}: of {len(packets)} pictures {len(shown)} are shown; check its command")
        if seen is not None and seen != list(shown.values()):
            which = next((index for index, picture in zip(shown, seen, strict=False) if shown[index] != picture), "?")
            raise AnchorError(f"{self.name}: its decoder shows anchor {which} unlike its encoder; {remedy}")

    def _pictures_of(self, packets: Sequence[AnchorPacket], info: VideoInfo) -> dict[int, Yuv420]:
        """The pictures of packets that need no others. AnchorError if the decoder fails or shows other pictures."""
        coded = _coded_info(info, self.row)
        with TemporaryDirectory(prefix="ncm-") as folder:
            stream, video = Path(folder) / "stream.bin", Path(folder) / f"video.{self.row.video}"
            prefix = b"" if self.row.stream == "whole" else START_CODE
            stream.write_bytes(b"".join(prefix + packet.data for packet in packets))
            log = self._run(self.row.decoder, self.decoder, _sizes(coded, self.row), source=stream, target=video)
            if self.row.lost and re.search(self.row.lost, log):
                raise AnchorError("a picture is missing")
            pictures = _read(video, coded, info)
        indices = sorted(packet.index for packet in packets)
        if self.row.stream == "whole":  # nothing is missing whatever packets there are
            return {index: picture for index, picture in enumerate(pictures, indices[0]) if index in indices}
        if len(pictures) != len(indices):
            raise AnchorError(f"{len(pictures)} of {len(indices)} pictures came back")
        return dict(zip(indices, pictures, strict=True))

    def _run(
        self, command: Command, given: str | Path | None, fields: Mapping[str, object], *, source: Path, target: Path
    ) -> str:
        """Run the encoder or the decoder and return what it says. AnchorError if it is missing or fails."""
        program = self.row.find(command, given)
        params = [self.row.parameter.format(key=key, value=value) for key, value in self.params.items()]
        fields = {**fields, "folder": self.row.folder}
        return run(program, command.arguments, fields, source=source, target=target, params=params)


def _groups(frames: Iterable[AnchorFrame]) -> Iterator[list[Yuv420]]:
    """The pictures of each closed group."""
    group: list[Yuv420] = []
    for frame in frames:
        if frame.key and group:
            yield group
            group = []
        group.append(frame.picture)
    if group:
        yield group


def _attempts(packets: Sequence[AnchorPacket], *, tells: bool) -> list[Sequence[AnchorPacket]]:
    """What to try of packets some of which may be missing; `tells` says that the decoder would notice.

    Last of all the packets up to the first out of display order: they need nothing that is not there.
    """
    first = packets[0].index
    leading = next((n for n, packet in enumerate(packets) if packet.index != first + n), len(packets))
    if leading == len(packets):
        return [packets]
    complete = {packet.index for packet in packets} == set(range(first, first + len(packets)))
    return [packets, packets[:leading]] if complete or tells else [packets[:leading]]


def _coded_info(info: VideoInfo, row: ProgramRow, distance: int = 1) -> VideoInfo:
    """The video that the encoder is given: sizes that it takes, at the rate of the anchors."""
    width, height = (max(size + size % 2, row.minimum_size) for size in (info.width, info.height))
    rate = info.frame_rate / distance
    return replace(info, width=width, height=height, frame_rate=rate, time_base=1 / rate)


def _sizes(coded: VideoInfo, row: ProgramRow) -> dict[str, object]:
    """What both programs may ask for."""
    depth = coded.bit_depth
    return {"width": coded.width, "height": coded.height, "depth": depth, "format": row.formats.get(depth, "")}


def _read(path: Path, coded: VideoInfo, info: VideoInfo) -> list[Yuv420]:
    """The pictures of a video file that a program wrote. AnchorError if it is not of this video."""
    raw = path.suffix == ".yuv"
    size, pixel_format = ((coded.width, coded.height), PIXEL_FORMATS[coded.bit_depth]) if raw else (None, None)
    try:
        with open_source(path, size=size, pixel_format=pixel_format) as source:
            found = source.info
            if found.width < info.width or found.height < info.height or found.bit_depth < info.bit_depth:
                raise AnchorError(f"pictures of {found.width}x{found.height} {found.bit_depth} bit came back")
            return [_fitted(frame.picture, info) for frame in source]
    except InputError as error:
        raise AnchorError(f"no pictures came back ({error})") from error


def _fitted(picture: Yuv420, info: VideoInfo) -> Yuv420:
    """A copy at the true size and bit depth; a deeper picture is rounded."""
    shift, peak = picture.bit_depth - info.bit_depth, (1 << info.bit_depth) - 1
    y, u, v = (
        np.minimum((plane.astype(np.uint32) + (1 << shift >> 1)) >> shift, peak).astype(dtype_of(info.bit_depth))
        for plane in crop(picture, info.width, info.height).planes
    )
    return Yuv420(y, u, v, info.bit_depth)
