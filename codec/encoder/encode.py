# SPDX-License-Identifier: MIT
"""Encode a video file into an .ncm stream: source, anchors, B-frames and writer put together."""

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from ..anchors.protocol import AnchorCodec
from ..anchors.registry import anchor_codec
from ..bframe.model import Model
from ..bframe.predictor import Predictor
from ..bitstream.frame_record import FrameRecord
from ..bitstream.units import Header
from ..bitstream.writer import StreamWriter
from ..decoder.reconstruct import Reconstructor
from ..device import choose_device
from ..errors import InputError, ModelError
from ..files import PathLike, replacing, target_of
from ..gop.periods import Period, arranged, every, periods
from ..gop.structure import longest_group
from ..models.open import load, predictor
from ..models.registry import DEFAULT_CODEC
from ..progress import Counter, Progress, quiet
from ..video.metrics import MS_SSIM_SHORTEST, compare
from ..video.picture import Frame, VideoInfo
from ..video.reader import VideoSource, open_source
from ..video.writer import VideoSink, open_sink
from .distortion import DistortionMeter
from .rate_control import Goal, meet
from .rdo.anchor_passes import AnchorPasses
from .rdo.candidates import CandidateCoder
from .rdo.gop_decision import GopDecision
from .report import FrameRow, Summary, frame_row
from .segments import CodedPeriod, WriteBFrame, code_anchors, finished
from .settings import EncodeSettings

if TYPE_CHECKING:
    pass


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
    goal = Goal.of_settings(settings)
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
    anchor_codec = _anchor_codec(settings)
    model = load(settings.model_name, choose_device(settings.device))
    with ExitStack() as stack:
        source = stack.enter_context(_open(src, settings))
        file = BytesIO() if target is None else stack.enter_context(replacing(target))
        sink = stack.enter_context(open_sink(settings.recon, source.info)) if settings.recon else None
        table = stack.enter_context(replacing(settings.csv)) if settings.csv else None
        total = min((n for n in (source.frame_count, settings.frames) if n is not None), default=None)
        encoder = Encoder(settings, source.info, anchor_codec, model, Counter(progress, total))
        summary = encoder.run(islice(source, settings.frames), file, sink)
        if not summary.rows:
            raise InputError(f"{source.name}: it holds no frames; there is nothing to encode")
        if table is not None:
            table.write(summary.csv().encode())
        return summary


class Encoder:
    """One encode, all its parts at hand."""

    def __init__(
        self, settings: EncodeSettings, info: VideoInfo, anchor_codec: AnchorCodec, model: Model, progress: Counter
    ) -> None:
        self.settings, self.info, self.anchor_codec, self.model = settings, info, anchor_codec, model
        self.progress = progress
        self.bframes = _bframes(settings, model, info)
        self.meter = DistortionMeter(info.colour, settings.measure, self._postfilter())
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
        source = periods(frames, self.settings.intra_period)
        decided = self._by_cost(source) if self.settings.measured else self._in_order(source)
        reconstructor = Reconstructor(self.info, self.anchor_codec, self.bframes)
        writer = StreamWriter(file, self._header())
        reconstruct = self.settings.metrics or sink is not None
        rows: list[FrameRow] = []
        for period in decided:
            coded = finished(
                period,
                reconstructor,
                reconstruct=reconstruct,
                hashes=self.settings.hashes,
                done=self.progress.one_more,
            )
            rows += self._store(coded, writer, sink)
            self.progress.reached(len(rows))
        if rows:
            writer.finish()
        return Summary(self.info, writer.bytes_written, tuple(rows))

    def _in_order(self, source: Iterable[Period]) -> Iterator[CodedPeriod]:
        """Segments in a given order, B-frames to be coded at the slope of the anchor encoder's table."""
        distance = self.settings.distance
        assert distance is not None
        write: WriteBFrame | None = None
        if self.settings.mode != "bitfree":
            slope = self.anchor_codec.slope * 2**self.settings.b_offset
            write = partial(self.bframes.write, slope=slope, effort=self.settings.effort)
        reconstructor = Reconstructor(self.info, self.anchor_codec, self.bframes)
        for segment, unit in code_anchors(self.anchor_codec, self.info, arranged(source, every(distance))):
            decoded = reconstructor.decoded(unit)
            coded = self.meter.filtered(self.meter.measured(segment, unit, decoded))
            yield CodedPeriod(source=segment, unit=coded.unit, anchors=coded.anchors, write=write)

    def _by_cost(self, source: Iterable[Period]) -> Iterator[CodedPeriod]:
        """Segments and B-frames by the lambda that is measured on this video."""
        settings = self.settings
        passes = AnchorPasses(self.info, self.anchor_codec, settings.intra_period, self.meter)
        coder = CandidateCoder(
            passes,
            self.bframes,
            b_offset=settings.b_offset,
            effort=settings.effort,
            structural=settings.structural,
        )
        return GopDecision(coder, settings.distance, settings.maxrate).decisions(source)

    def _store(self, period: CodedPeriod, writer: StreamWriter, sink: VideoSink | None) -> list[FrameRow]:
        """Write a segment to the stream and its pictures to the reconstruction; a row a picture."""
        records: dict[int, FrameRecord] = {record.poc: record for record in writer.write(period.unit)}
        shown = {picture.poc: picture.frame for picture in period.shown}
        rows = []
        for poc in period.unit.segment.pocs:
            source = period.source.at(poc)
            measured = self.settings.metrics
            quality = compare(source.picture, shown[poc].picture, self.info.colour) if measured else None
            trials = period.decisions[poc].trials if poc in period.decisions else []
            rows.append(frame_row(records[poc], source.pts, quality, trials, period.notes.get(poc, "")))
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
            anchor_codec=self.anchor_codec.name,
            anchor_settings=self.anchor_codec.describe(),
            model=self.model.name,
            fingerprint=self.model.fingerprint,
        )


def _anchor_codec(settings: EncodeSettings) -> AnchorCodec:
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


def _bframes(settings: EncodeSettings, model: Model, info: VideoInfo) -> Predictor:
    """What makes B-frames in this mode. ModelError if they are to be coded and the model only predicts."""
    if settings.mode == "bitfree":
        return Predictor(model, info)
    if model.codec is None:
        need = f"--mode {settings.mode} needs one that codes, such as {DEFAULT_CODEC!r}; or give --mode bitfree"
        raise ModelError(f"model {model.name!r} only predicts; {need}")
    return predictor(model, info)
