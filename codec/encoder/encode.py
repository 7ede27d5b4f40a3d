# SPDX-License-Identifier: MIT
"""Encode a video file into an .ncm stream: source, anchors, B-frames and writer put together."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import islice
from typing import Any

from ..arguments import checked
from ..bframe.records import Interval, ToWrite
from ..bitstream.writer import Output, StreamWriter
from ..container.formats import check_anchors, default_suffix
from ..container.opening import holds_stream, writing
from ..decoder.reconstruct import Reconstructor
from ..device import choose_device
from ..errors import InputError
from ..files import PathLike, check_outputs, is_pipe, name_of, replacing, target_of
from ..gop.periods import Period, arranged, every, periods
from ..models.open import load, prepared
from ..notes import tell
from ..parallel.executor import Executor, begun_ahead
from ..parallel.open import executor_for, work_of
from ..progress import Counter, Progress, quiet
from ..video.companions import Companions, companions_of, tell_beside_pipe
from ..video.picture import Frame, VideoInfo, Yuv420
from ..video.source import VideoSource
from ..video.writer import VideoSink, check_name, open_sink
from .distortion import DistortionMeter
from .journal import Journal, Kept, keeping
from .parts import Parts, anchor_codec_of, source_of
from .rate_control import Goal, meet
from .rdo.anchor_passes import AnchorPasses
from .rdo.candidates import CandidateCoder
from .rdo.gop_decision import GopDecision
from .report import FrameRow, Summary
from .segments import CodedPeriod, WriteBFrame, begin, code_anchors, kept_period
from .settings import BITRATE, TARGETS, EncodeSettings

GIVEN_ORDER = 0.5  # octaves from the slope of the encoder's table to that of B-frames, where nothing is measured
SECONDS = {"auto": 3e-5, "bitneed": 1.5e-5, "bitfree": 2e-6}  # to encode a pixel, on one core


@checked
def encode(
    src: PathLike,
    dst: PathLike | None = None,
    settings: EncodeSettings | None = None,
    *,
    progress: Progress = quiet,
    **changes: Any,  # noqa: ANN401
) -> Summary:
    """Code a video file into an .ncm stream, or a film with one inside, and return what it cost and how good it is.

    src and dst are paths, '-' a pipe; the name of dst says what it becomes. If absent it is src with the suffix .ncm,
    of a film .ncm.mp4 or .ncm.mkv, into which sound and all else beside the pictures is copied. `changes` are fields of
    `EncodeSettings`, by name, that go before those of `settings`.
    Raises a CodecError: InputError, OutputError, AnchorError or ModelError; TypeError for a field that is none.
    """
    settings = replace(settings or EncodeSettings(), **changes)
    target = None if settings.dry_run else target_of(src, dst, default_suffix(src, settings.anchor))
    _check_files(src, target, settings)
    goal = Goal.of_settings(settings)
    if goal is None:
        return _encode_once(src, target, settings, progress)
    if is_pipe(src):
        raise InputError(
            "a bit rate or quality is met by coding the video several times; give a file instead of a pipe"
        )
    met: dict[str, Any] = dict.fromkeys((BITRATE, *TARGETS))
    settings = replace(settings, vmaf=settings.vmaf or settings.target_vmaf is not None, **met)
    alone = replace(settings, mode="bitfree", gop="fixed:1", maxrate=None, recon=None, csv=None, hashes=False)
    return meet(
        goal,
        lambda finer: _encode_once(src, None, replace(alone, finer=finer), progress),
        lambda finer: _encode_once(src, target, replace(settings, finer=finer), progress),
    )


def _check_files(src: PathLike, target: str | None, settings: EncodeSettings) -> None:
    """InputError or OutputError, before anything is written, if an output would replace what it must not."""
    given = {"--model": settings.model, "--anchor": settings.anchor, "--neighbours": settings.neighbours}
    files = {label: name for label, name in given.items() if name.endswith((".safetensors", ".toml"))}
    inputs = {"the source": src, **files, "--anchor-encoder": settings.anchor_encoder}
    outputs = {"-o": target, "--csv": settings.csv, "--recon": settings.recon}
    check_outputs(inputs, outputs, force=settings.force)
    check_anchors(target or "-", anchor_codec_of(settings).name)
    check_name(settings.recon or "-")


def _encode_once(src: PathLike, target: str | None, settings: EncodeSettings, progress: Progress) -> Summary:
    """One pass over the video, at a quality that is given; without a target the stream is thrown away."""
    anchor_codec, force = anchor_codec_of(settings), settings.force
    if holds_stream(src):
        raise InputError(
            f"{name_of(src)}: is coded already; decode it first, or put it into another file with codec remux"
        )
    tell(f"--preset {settings.preset}", settings.notes)
    model = load(settings.model_name, choose_device(settings.device))
    model = prepared(model, turned=settings.averaged, half=settings.half, tile=settings.tile)
    with ExitStack() as stack:
        source = stack.enter_context(source_of(src, settings))
        tell(source.name, source.notes)
        total = min((n for n in (source.frame_count, settings.frames) if n is not None), default=None)
        parts = Parts.of(settings, source.info, anchor_codec, model)
        journal = stack.enter_context(keeping(target, src, settings, parts.header))
        companions = None if target is None else _companions(src, target, source, settings, stack)
        # The last to open gets its name first: without a stream there is nothing beside it.
        table = stack.enter_context(replacing(settings.csv, force=force)) if settings.csv else None
        sink = stack.enter_context(open_sink(settings.recon, source.info, force=force)) if settings.recon else None
        if sink is not None:
            tell(sink.name, sink.notes)
        file = BytesIO() if target is None else stack.enter_context(writing(target, companions, force=force))
        work = work_of(source.info, total, SECONDS[settings.mode])
        executor = stack.enter_context(executor_for(parts.bframes, settings.workers, work, settings.ray))
        encoder = Encoder(settings, source.info, parts, executor, Counter(progress, total), journal)
        summary = encoder.run(_first(source, settings.frames, companions), file, sink)
        if not summary.rows:
            raise InputError(f"{source.name}: it holds no frames; there is nothing to encode")
        if table is not None:
            table.write(summary.csv().encode())
        return replace(summary, problems=tuple(source.problems), output=target)


@dataclass(frozen=True)
class Encoder:
    """One encode, all that it needs at hand; with a journal it can be resumed."""

    settings: EncodeSettings
    info: VideoInfo
    parts: Parts
    executor: Executor
    progress: Counter
    journal: Journal | None = None

    def run(self, frames: Iterable[Frame], file: Output, sink: VideoSink | None) -> Summary:
        """Code all frames into a file."""
        source = periods(frames, self.settings.intra_period)
        reconstructor = Reconstructor(self.info, self.parts.anchor_codec, self.parts.bframes, self.executor)
        kept = self.journal.kept() if self.journal else iter(())
        decided = self._by_cost(source, kept) if self.settings.measured else self._in_order(source, kept)
        writer = StreamWriter(self.journal.onto(file) if self.journal else file, self.parts.header)
        reconstruct = self.settings.metrics or self.settings.hashes or sink is not None
        rows: list[FrameRow] = []
        again = sink is not None
        begun = (begin(period, reconstructor, reconstruct=reconstruct, again=again) for period in decided)
        for under_way in begun_ahead(self.executor, begun):
            coded = under_way.finished(hashes=self.settings.hashes, done=self.progress.one_more)
            written = self.parts.measurement.rows(coded, writer.write(coded.unit))
            if self.journal is not None:
                self.journal.add(written)
            if sink is not None:
                for picture in coded.shown:
                    sink.write(picture.frame)
            rows += written
            self.progress.reached(len(rows))
        if rows:
            writer.finish()
        return Summary(self.info, writer.bytes_written, self.parts.measurement.finished(rows))

    def _in_order(self, source: Iterable[Period], kept: Iterator[Kept]) -> Iterator[CodedPeriod]:
        """Segments in a given order, B-frames to be coded at the slope of the anchor encoder's table.

        Those that are kept from before come first, as they are; the anchors' encoder codes all, as it remembers.
        """
        distance, anchor_codec = self.settings.distance, self.parts.anchor_codec
        assert distance is not None
        write: WriteBFrame | None = None
        if self.settings.mode != "bitfree":
            slope = anchor_codec.slope * 2 ** (GIVEN_ORDER + self.settings.b_offset)
            write = partial(_to_write, slope=slope, effort=self.settings.refinement)
        reconstructor, meter = Reconstructor(self.info, anchor_codec, self.parts.bframes), self._meter
        for segment, unit in code_anchors(anchor_codec, self.info, arranged(source, every(distance))):
            if (known := next(kept, None)) is not None:
                yield kept_period(segment, known)
                continue
            decoded = reconstructor.decoded(unit)
            coded = meter.filtered(meter.measured(segment, unit, decoded))
            yield CodedPeriod(source=segment, unit=coded.unit, anchors=coded.anchors, write=write)

    @property
    def _meter(self) -> DistortionMeter:
        return DistortionMeter(
            self.info.colour,
            self.settings.measure,
            self.parts.postfilter,
            self.executor,
            restored=self.parts.anchor_codec.restores,
        )

    def _by_cost(self, source: Iterable[Period], kept: Iterator[Kept]) -> Iterator[CodedPeriod]:
        """Segments and B-frames by the lambda that is measured on this video."""
        settings = self.settings
        passes = AnchorPasses(self.info, self.parts.anchor_codec, settings.intra_period, self._meter)
        coder = CandidateCoder(
            passes,
            self.parts.bframes,
            self.executor,
            b_offset=settings.b_offset,
            effort=settings.refinement,
            structural=settings.structural,
        )
        return GopDecision(coder, settings.distance, settings.maxrate, kept).decisions(source)


def _companions(
    src: PathLike, target: str, source: VideoSource, settings: EncodeSettings, stack: ExitStack
) -> Companions | None:
    """What goes beside the pictures of the source, or None and a line that says what does not."""
    if is_pipe(src):
        tell_beside_pipe(source.name, source.companions or (), target)
    elif source.companions is not None:
        stop = None if settings.frames is None else settings.frames / source.info.frame_rate
        return stack.enter_context(
            companions_of(src, target, origin=source.first_time, stop=stop, estimated=stop is not None)
        )
    return None


def _first(source: VideoSource, count: int | None, companions: Companions | None) -> Iterator[Frame]:
    """The first frames of a source, or all; what goes beside them ends with the last of them."""
    for number, frame in enumerate(islice(source, count), 1):
        if number == count and companions is not None:
            companions.end(frame.pts * source.info.time_base + 1 / source.info.frame_rate)
        yield frame


def _to_write(interval: Interval, source: Yuv420, poc: int, *, slope: float, effort: int) -> ToWrite:
    return ToWrite(interval=interval, source=source, poc=poc, slope=slope, effort=effort)
