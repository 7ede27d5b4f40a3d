# SPDX-License-Identifier: MIT
"""Encode a video file into an .ncm stream: source, anchors, B-frames and writer put together."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from ..anchors.protocol import AnchorCodec
from ..anchors.registry import anchor_codec
from ..bframe.block_motion import Blocks
from ..bframe.model import Model
from ..bframe.predictor import Predictor
from ..bframe.records import Choice, Interval, Score
from ..bitstream.frame_record import FrameRecord
from ..bitstream.units import Header
from ..bitstream.writer import StreamWriter
from ..decoder.reconstruct import Reconstructor
from ..device import choose_device
from ..errors import InputError, ModelError
from ..files import replacing, target_of
from ..gop.periods import arranged, every, periods
from ..gop.structure import longest_group
from ..models.open import load, predictor
from ..models.registry import DEFAULT_CODEC
from ..progress import Progress, quiet
from ..video.metrics import MS_SSIM_SHORTEST, compare
from ..video.picture import Frame, VideoInfo, Yuv420
from ..video.reader import VideoSource, open_source
from ..video.writer import VideoSink, open_sink
from .distortion import DistortionMeter
from .rate_control import meet
from .rdo.anchor_passes import AnchorPasses
from .rdo.candidates import CandidateCoder, PricedWrite
from .rdo.gop_decision import GopDecision
from .report import FrameRow, Summary, frame_row
from .segments import CodedSegment, Encoder, Prepared, WriteBFrame, code_anchors
from .settings import EncodeSettings, PathLike, measure_of

if TYPE_CHECKING:
    from ..bframe.coder import BFrameCoder


def encode(
    src: PathLike,
    dst: PathLike | None = None,
    settings: EncodeSettings | None = None,
    *,
    progress: Progress = quiet,
    **changes: Any,  # noqa: ANN401
) -> Summary:
    """Code a video file into an .ncm stream and return what it cost and how good it is.

    src and dst are paths, '-' a pipe; dst is src with the suffix .ncm if absent. `changes` are fields of
    `EncodeSettings`, by name, that go before those of `settings`.
    Raises a CodecError: InputError, OutputError, AnchorError or ModelError; TypeError for a field that is none.
    """
    settings = replace(settings or EncodeSettings(), **changes)
    target = None if settings.dry_run else target_of(src, dst, ".ncm")
    goal = settings.goal
    if goal is None:
        return _encode_once(src, target, settings, progress)
    if str(src) == "-":
        raise InputError("a bit rate or PSNR is met by coding the video several times; give a file instead of a pipe")
    settings = replace(settings, bitrate=None, target_psnr=None)
    alone = replace(settings, mode="bitfree", gop="fixed:1", maxrate=None, recon=None, csv=None, hashes=False)
    return meet(
        goal,
        lambda finer: _encode_once(src, None, replace(alone, finer=finer), progress),
        lambda finer: _encode_once(src, target, replace(settings, finer=finer), progress),
    )


def _encode_once(src: PathLike, target: str | None, settings: EncodeSettings, progress: Progress) -> Summary:
    """One pass over the video, at a quality that is given; without a target the stream is thrown away."""
    anchors = _anchors(settings)
    model = load(settings.model_name, choose_device(settings.device))
    with ExitStack() as stack:
        source = stack.enter_context(_open(src, settings))
        file = BytesIO() if target is None else stack.enter_context(replacing(target))
        sink = stack.enter_context(open_sink(settings.recon, source.info)) if settings.recon else None
        table = stack.enter_context(replacing(settings.csv)) if settings.csv else None
        total = min((n for n in (source.frame_count, settings.frames) if n is not None), default=None)
        job = _Job(settings, source.info, anchors, model, progress, total)
        summary = job.run(islice(source, settings.frames), file, sink)
        if not summary.rows:
            raise InputError(f"{source.name}: it holds no frames; there is nothing to encode")
        if table is not None:
            table.write(summary.csv().encode())
        return summary


class _Job:
    """One encode, all its parts at hand."""

    def __init__(
        self,
        settings: EncodeSettings,
        info: VideoInfo,
        anchors: AnchorCodec,
        model: Model,
        progress: Progress,
        total: int | None,
    ) -> None:
        self.settings, self.info, self.anchors, self.model = settings, info, anchors, model
        self.progress, self.total = progress, total
        self.bframes = predictor(model, info)
        self.assess = DistortionMeter(info.colour, measure_of(settings.tune), self._postfilter())
        self.notes: dict[int, str] = {}
        if settings.structural and min(info.width, info.height) < MS_SSIM_SHORTEST:
            raise InputError(f"--tune {settings.tune} needs sides of {MS_SSIM_SHORTEST} and more; take psnr")

    def _postfilter(self) -> Predictor | None:
        """What filters anchors, if anything does. ModelError if that is asked for and the model cannot."""
        wanted = self.settings.postfilter
        if wanted and not self.bframes.has_postfilter:
            remedy = f"give --model one that has, such as {DEFAULT_CODEC!r}"
            raise ModelError(
                f"model {self.model.name!r} has no filter for anchors; {remedy}, or leave --postfilter out"
            )
        use = self.settings.mode == "auto" if wanted is None else wanted
        return self.bframes if use and self.bframes.has_postfilter else None

    def run(self, frames: Iterable[Frame], file: BinaryIO, sink: VideoSink | None) -> Summary:
        """Code all frames into a file."""
        segments, write = self._measured(frames) if self.settings.measured else self._plain(frames)
        encoder = Encoder(Reconstructor(self.info, self.anchors, self.bframes), self.assess, write)
        writer = StreamWriter(file, self._header())
        reconstruct = self.settings.metrics or sink is not None
        rows: list[FrameRow] = []
        for segment in encoder.encode(segments, reconstruct=reconstruct, hashes=self.settings.hashes):
            rows += self._store(segment, writer, sink)
            self.progress(len(rows), self.total)
        if rows:
            writer.finish()
        return Summary(self.info, writer.bytes_written, tuple(rows))

    def _plain(self, frames: Iterable[Frame]) -> tuple[Iterator[Prepared], WriteBFrame | None]:
        """Segments in a given order, and what codes B-frames at the slope of the anchor encoder's table."""
        distance = self.settings.distance
        assert distance is not None
        sources = arranged(periods(frames, self.settings.intra_period), every(distance))
        segments = code_anchors(self.anchors, self.info, sources)
        if self.settings.mode == "bitfree":
            return segments, None
        coder, slope = _coder(self.bframes), self.anchors.slope * 2**self.settings.b_offset

        def write(interval: Interval, source: Yuv420, poc: int) -> Choice:
            choice = coder.write(interval, source, poc, slope=slope, effort=self.settings.effort)
            self.progress(poc, self.total)
            return choice

        return segments, write

    def _measured(self, frames: Iterable[Frame]) -> tuple[Iterator[Prepared], WriteBFrame]:
        """Segments and B-frames at what quality is worth in this video."""
        settings = self.settings
        tracks = AnchorPasses(self.info, self.anchors, settings.intra_period, self.assess)
        surveyor = CandidateCoder(tracks, self.bframes, self._priced_write(), settings.b_offset)
        order = GopDecision(surveyor, settings.distance, settings.maxrate)
        self.notes = order.notes
        return order.segments(periods(frames, settings.intra_period)), order.write

    def _priced_write(self) -> PricedWrite:
        if self.settings.mode == "bitfree":
            return lambda interval, source, poc, slope, score, give_up, start: self.bframes.write_none(interval, score)
        coder = _coder(self.bframes)

        def write(
            interval: Interval,
            source: Yuv420,
            poc: int,
            slope: float,
            score: Score,
            give_up: Callable[[float], bool],
            start: Blocks | None,
        ) -> Choice:
            choice = coder.write(
                interval,
                source,
                poc,
                slope=slope,
                effort=self.settings.effort,
                score=score,
                structural=self.settings.structural,
                give_up=give_up,
                start=start,
            )
            self.progress(poc, self.total)
            return choice

        return write

    def _store(self, coded: CodedSegment, writer: StreamWriter, sink: VideoSink | None) -> list[FrameRow]:
        """Write a segment to the stream and its pictures to the reconstruction; a row a picture."""
        records: dict[int, FrameRecord] = {record.poc: record for record in writer.write(coded.unit)}
        shown = {picture.poc: picture.frame for picture in coded.shown}
        rows = []
        for poc in coded.unit.segment.pocs:
            source = coded.source.at(poc)
            measured = self.settings.metrics
            quality = compare(source.picture, shown[poc].picture, self.info.colour) if measured else None
            trials, note = coded.trials.get(poc, []), self.notes.pop(poc, "")
            rows.append(frame_row(records[poc], source.pts, quality, trials, note))
            if sink is not None:
                sink.write(shown[poc])
        return rows

    def _header(self) -> Header:
        info = self.info
        fields = {field.name: getattr(info, field.name) for field in dataclasses.fields(info) if field.name != "colour"}
        return Header(
            **fields,
            **dataclasses.asdict(info.colour),
            mode=self.settings.mode,
            gop=self.settings.schedule,
            intra_period=self.settings.intra_period,
            anchor_codec=self.anchors.name,
            anchor_settings=self.anchors.describe(),
            model=self.model.name,
            fingerprint=self.model.fingerprint,
        )


def _anchors(settings: EncodeSettings) -> AnchorCodec:
    distance = settings.distance or 1
    longest = longest_group(settings.intra_period, distance)
    codec = anchor_codec(
        settings.anchor,
        preset=settings.preset,
        crf=settings.crf,
        qp=settings.qp,
        params=settings.anchor_params,
        structural=settings.structural,
        anchor_distance=distance,
        longest_group=longest,
        encoder=settings.anchor_encoder,
        decoder=settings.anchor_decoder,
    )
    return codec.variant(distance=distance, longest_group=longest, finer=settings.finer) if settings.finer else codec


def _open(src: PathLike, settings: EncodeSettings) -> VideoSource:
    return open_source(src, size=settings.size, frame_rate=settings.frame_rate, pixel_format=settings.pixel_format)


def _coder(bframes: Predictor) -> "BFrameCoder":
    """What codes B-frames. ModelError if the model is a network alone."""
    from ..bframe.coder import BFrameCoder  # CompressAI takes seconds to import

    if not isinstance(bframes, BFrameCoder):
        need = f"--mode bitneed needs one that codes, such as {DEFAULT_CODEC!r}"
        raise ModelError(f"model {bframes.model.name!r} only predicts; {need}")
    return bframes
