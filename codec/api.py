# SPDX-License-Identifier: MIT
"""The codec from Python: encode, decode, open, info. The command line calls the same functions."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from .anchors import anchor_codec
from .bframe import Between, Choice, Predictor, choose_device, predictor
from .errors import DamageError, InputError, ModelError, StreamError
from .files import replacing
from .frame import Frame, VideoInfo, Yuv420
from .gop import DEFAULT_INTRA_PERIOD, anchor_distance, longest_group
from .metrics import compare
from .models import DEFAULT_CODEC, DEFAULT_MODEL, load, load_fingerprint
from .reconstruct import Reconstructor
from .report import FrameRow, Progress, Summary, frame_row, quiet
from .sequence import CodedSegment, Decoder, Encoder, WriteBFrame
from .stream import FrameRecord, Header, StreamWriter
from .streamfile import reading
from .video import VideoSink, VideoSource, open_sink, open_source

PathLike = str | Path
MODES = {"bitfree": DEFAULT_MODEL, "bitneed": DEFAULT_CODEC}  # each with the model it takes by default
MAX_INTRA_PERIOD, MAX_PARAMS = 65535, 256  # what the stream can say


def encode(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    mode: str = "bitfree",
    anchor: str = "x265",
    preset: str | None = None,
    crf: float | None = None,
    qp: int | None = None,
    anchor_params: str = "",
    gop: str = "ibpb",
    intra_period: int = DEFAULT_INTRA_PERIOD,
    frames: int | None = None,
    b_offset: float = 0.0,
    effort: int = 0,
    model: str | None = None,
    device: str = "auto",
    metrics: bool = True,
    hashes: bool = False,
    recon: PathLike | None = None,
    csv: PathLike | None = None,
    size: tuple[int, int] | None = None,
    frame_rate: Fraction | None = None,
    pixel_format: str | None = None,
    progress: Progress = quiet,
) -> Summary:
    """Code a video file into an .ncm stream and return what it cost and how good it is.

    src and dst are paths, '-' a pipe; dst is src with the suffix .ncm if absent. `frames` stops after so many.
    In bitneed, B-frames are coded to the slope of their anchors times 2^b_offset, after `effort` steps of refinement.
    `model` is the mode's own if absent.
    `recon` also writes the decoded video; `metrics` compares it with the source; `hashes` stores a check for every
    picture; `csv` writes a line of statistics a frame. size, frame_rate and pixel_format describe raw .yuv input.
    Raises a CodecError: InputError, OutputError, AnchorError or ModelError.
    """
    if mode not in MODES:
        raise InputError(f"--mode {mode!r} is not a mode; choose from {', '.join(MODES)}")
    distance = anchor_distance(gop)
    if effort < 0:
        raise InputError(f"--effort {effort} is out of range; give 0 steps or more")
    if not 1 <= intra_period <= MAX_INTRA_PERIOD:
        raise InputError(f"--intra-period {intra_period} is out of range; give 1 to {MAX_INTRA_PERIOD} frames")
    if len(anchor_params) > MAX_PARAMS or not anchor_params.isprintable():
        raise InputError(f"--anchor-params takes printable text of up to {MAX_PARAMS} characters; give fewer")
    target = _target(src, dst, ".ncm")
    codec = anchor_codec(
        anchor,
        preset=preset,
        crf=crf,
        qp=qp,
        params=anchor_params,
        anchor_distance=distance,
        longest_group=longest_group(intra_period, distance),
    )
    network = load(model or MODES[mode], choose_device(device))
    with ExitStack() as stack:
        source = stack.enter_context(open_source(src, size=size, frame_rate=frame_rate, pixel_format=pixel_format))
        file = stack.enter_context(replacing(target))
        sink = stack.enter_context(open_sink(recon, source.info)) if recon else None
        table = stack.enter_context(replacing(csv)) if csv else None
        header = Header(
            **_format(source.info),
            mode=mode,
            gop=gop,
            intra_period=intra_period,
            anchor_codec=anchor,
            anchor_settings=codec.describe(),
            model=network.name,
            fingerprint=network.fingerprint,
        )
        bframes = predictor(network, source.info)
        total = min((n for n in (source.frame_count, frames) if n is not None), default=None)
        write = None
        if mode == "bitneed":
            write = _writer(bframes, codec.slope * 2**b_offset, effort, lambda poc: progress(poc, total))
        encoder = Encoder(source.info, codec, Reconstructor(source.info, codec, bframes), write)
        coded = encoder.encode(
            islice(source, frames),
            distance=distance,
            intra_period=intra_period,
            reconstruct=metrics or recon is not None,
            hashes=hashes,
        )
        writer = StreamWriter(file, header)
        rows: list[FrameRow] = []
        for segment in coded:
            rows += _store(segment, writer, sink, source.info, metrics=metrics)
            progress(len(rows), total)
        summary = _finish(writer, rows, source)
        if table is not None:
            table.write(summary.csv().encode())
        return summary


def _writer(bframes: Predictor, slope: float, effort: int, done: Callable[[int], None]) -> WriteBFrame:
    """What codes B-frames at a slope, and tells their POCs to `done`. ModelError if the model is a network alone."""
    from .bcoding import BFrameCoder  # CompressAI takes seconds to import

    if not isinstance(bframes, BFrameCoder):
        need = f"--mode bitneed needs one that codes, such as {DEFAULT_CODEC!r}"
        raise ModelError(f"model {bframes.model.name!r} only predicts; {need}")

    def write(where: Between, source: Yuv420, poc: int) -> Choice:
        choice = bframes.write(where, source, poc, slope=slope, effort=effort)
        done(poc)
        return choice

    return write


def _finish(writer: StreamWriter, rows: list[FrameRow], source: VideoSource) -> Summary:
    """End the stream. InputError if there was nothing to code."""
    if not rows:
        raise InputError(f"{source.name}: it holds no frames; there is nothing to encode")
    writer.finish()
    return Summary(source.info, writer.bytes_written, tuple(rows))


def _format(info: VideoInfo) -> dict[str, Any]:
    """The fields of a stream header that say what the video is."""
    fields = {field.name: getattr(info, field.name) for field in dataclasses.fields(info) if field.name != "colour"}
    return fields | dataclasses.asdict(info.colour)


def _store(
    coded: CodedSegment, writer: StreamWriter, sink: VideoSink | None, info: VideoInfo, *, metrics: bool
) -> list[FrameRow]:
    """Write a segment to the stream and its pictures to the reconstruction; a row a picture."""
    records: dict[int, FrameRecord] = {record.poc: record for record in writer.write(coded.unit)}
    shown = {picture.poc: picture.frame for picture in coded.shown}
    rows = []
    for poc in coded.unit.segment.pocs:
        source = coded.source.at(poc)
        quality = compare(source.picture, shown[poc].picture, info.colour) if metrics else None
        rows.append(frame_row(records[poc], source.pts, quality, coded.trials.get(poc, [])))
        if sink is not None:
            sink.write(shown[poc])
    return rows


class Video:
    """An .ncm stream, opened for its frames; a context manager, and an iterator of `Frame` in display order.

    `frame_count` is None on a pipe; `model` is what makes the B-frames. After the last frame `problems` lists what was
    damaged, a line each.
    """

    def __init__(self, path: PathLike, *, device: str = "auto") -> None:
        with ExitStack() as stack:
            self.name, self._reader = stack.enter_context(reading(path))
            self.header = self._reader.header
            self.info = self.header.info
            self.frame_count = self._reader.picture_count()
            self.model = load_fingerprint(self.header.fingerprint, self.header.model, choose_device(device))
            anchors = anchor_codec(self.header.anchor_codec)
            reconstructor = Reconstructor(self.info, anchors, predictor(self.model, self.info))
            self._decoder = Decoder(self._reader, reconstructor)
            self._stack = stack.pop_all()

    @property
    def hashed(self) -> bool:
        """Whether the stream carried hashes so far."""
        return self._decoder.hashed

    @property
    def problems(self) -> list[str]:
        """What was found damaged so far, a line each, with the frame number."""
        return self._decoder.problems

    def __iter__(self) -> Iterator[Frame]:
        return (shown.frame for shown in self._decoder)

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


def decode(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    device: str = "auto",
    video_codec: str | None = None,
    progress: Progress = quiet,
) -> int:
    """Decode an .ncm stream into a video file and return the number of frames.

    dst is src with the suffix .dec.yuv if absent; .yuv, .y4m, .mkv, .mp4 and '-' (y4m) are written losslessly unless
    `video_codec` names another PyAV encoder. Raises a CodecError; after a DamageError the output is there, with the
    damaged pictures concealed.
    """
    target = _target(src, dst, ".dec.yuv")
    count = 0
    with Video(src, device=device) as video:
        with open_sink(target, video.info, video_codec=video_codec) as sink:
            for frame in video:
                sink.write(frame)
                count += 1
                progress(count, video.frame_count)
            if not count:
                raise StreamError(f"{video.name}: not one frame can be decoded; the stream is damaged from the start")
        _report(video)
    return count


def verify(src: PathLike, *, device: str = "auto", progress: Progress = quiet) -> int:
    """Decode a stream without writing it, check every hash it carries, and return the number of frames.

    DamageError if a picture differs or was damaged, StreamError if the stream carries no hashes.
    """
    with Video(src, device=device) as video:
        count = 0
        for _ in video:
            count += 1
            progress(count, video.frame_count)
        _report(video)
        if not video.hashed:
            raise StreamError(f"{video.name}: it carries no hashes to verify; encode with --hash")
    return count


def _report(video: Video) -> None:
    if video.problems:
        more = f" (and {len(video.problems) - 1} more)" if len(video.problems) > 1 else ""
        remedy = "what was lost is concealed; fetch the file again"
        raise DamageError(f"{video.name}: {video.problems[0]}{more}; {remedy}")


def _target(src: PathLike, dst: PathLike | None, suffix: str) -> str:
    if dst is None:
        if str(src) == "-":
            raise InputError("standard input has no name to derive the output's from; give one with -o")
        return str(Path(src).with_suffix(suffix))
    if str(dst) != "-" and Path(dst).exists() and Path(src).exists() and Path(dst).samefile(src):
        raise InputError(f"{dst}: input and output are the same file; give another one with -o")
    return str(dst)
