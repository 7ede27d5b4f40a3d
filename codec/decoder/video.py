# SPDX-License-Identifier: MIT
"""Streams from Python: open, decode, verify. The command line calls the same functions.

A stream that cannot be decoded is refused before torch is loaded, which takes seconds and half a gigabyte.
"""

import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TypedDict, Unpack

from ..arguments import check, checked, shown
from ..bitstream.limits import MAX_PIXELS
from ..bitstream.reader import named
from ..bitstream.syntax import ALL_POCS
from ..bitstream.units import Unit
from ..container.opening import beside, is_film, reading
from ..errors import DamageError, InputError, StreamError
from ..files import PathLike, check_outputs, target_of
from ..notes import tell
from ..precision import AUTO, check_precision
from ..progress import Progress, quiet
from ..values import Place
from ..video.libav_writer import LOSSY, check_crf
from ..video.picture import Frame
from ..video.writer import VideoSink, check_name, open_sink
from .passage import passage
from .timeline import Timeline

if TYPE_CHECKING:  # torch takes seconds to import
    from ..parallel.executor import Executor
    from .decoder import Decoder

ROUNDED = "networks round differently on another machine or number of threads, so that is no damage"


class Reading(TypedDict, total=False):
    """How a stream is decoded: arguments of `Video`, which explains them."""

    device: str
    precision: str
    workers: int | None
    ray: str | None
    tile: int | None
    anchor: str | None
    anchor_decoder: PathLike | None
    max_pixels: int


class Video:
    """An .ncm stream, opened for its frames; a context manager, and an iterator of `Frame` in display order.

    `frame_count` is None on a pipe; `begins` is the first frame that needs none before it, other than 0 if others have
    cut the start off a film; `model` and `predictor` are what makes the B-frames. After the last frame
    `problems` lists what was damaged, a line each. `anchor` is the .toml file that defines the anchors' codec,
    anchor_decoder the path of its decoder; both only where needed. Larger pictures than `max_pixels` are refused.
    B-frames are made by `workers` processes (default: by cores), on the cluster at the address `ray` if that is given,
    or by an `executor`, which stays open; with `tile`, by tiles of about so many pixels a side; in a `precision`, by
    default that of the stream where the device has it. The stream is closed with the last reference to this, if not
    before.
    """

    _decoder: "Decoder"
    _read: bool  # whether an iteration of what that decodes has begun

    @checked
    def __init__(
        self,
        path: PathLike,
        *,
        device: str = "auto",
        precision: str = AUTO,
        workers: int | None = None,
        ray: str | None = None,
        tile: int | None = None,
        anchor: str | None = None,
        anchor_decoder: PathLike | None = None,
        max_pixels: int = MAX_PIXELS,
        executor: "Executor | None" = None,
    ) -> None:
        check_precision(precision)
        if executor is not None and not hasattr(executor, "submit"):
            raise InputError(f"executor is {shown(executor)}; it must be a codec.Pool or codec.InProcess")
        with ExitStack() as stack:
            self.name, self._reader = stack.enter_context(reading(path, max_pixels=max_pixels))
            self.header = self._reader.header
            self.info = self.header.info
            units = self._reader.units()
            begun = self._up_to_anchors(units)
            segment, notes = begun[0].segment, self._reader.damage
            self.begins = segment.intra if segment.first and len(notes) == 1 else 0  # not if bytes are damaged, too
            self.frame_count = self._reader.picture_count()
            from .assembly import executor_of, stream_anchor_codec, stream_model

            self._anchor_codec = stream_anchor_codec(self.header, self.name, anchor, anchor_decoder)
            self.model, self.predictor = stream_model(self.header, device, precision, tile)
            if executor is None:
                executor = stack.enter_context(executor_of(self.predictor, self.frame_count, workers, ray))
            self._executor = executor
            self._show(chain(begun, units), ALL_POCS)
            self._close = weakref.finalize(self, stack.pop_all().close)

    def _up_to_anchors(self, units: Iterator[Unit]) -> list[Unit]:
        """The segments up to the first that has an anchor. StreamError if none has."""
        begun = []
        with named(self.name):
            for unit in units:
                begun.append(unit)
                if unit.anchor_packets:
                    return begun
        raise self._nothing([damage.what for unit in begun for damage in unit.damage])

    def _nothing(self, problems: list[str]) -> StreamError:
        """The error that says that no frame can be decoded, and why."""
        why = [*problems, *(damage.what for damage in self._reader.damage), "it has no anchors"][0]
        return StreamError(f"{self.name}: not one frame can be decoded ({why}); fetch the file again")

    @property
    def file(self) -> BinaryIO:
        """The stream as a file, which lies in a film if the path is one."""
        return self._reader.file

    @property
    def hashed(self) -> bool:
        """Whether the stream carried hashes so far."""
        return self._decoder.hashed

    @property
    def problems(self) -> list[str]:
        """What was found damaged so far, a line each, with the frame number."""
        return self._decoder.problems

    @property
    def rounded(self) -> int:
        """How many frames so far differ from their hash by rounding alone: their bytes and references are right."""
        return self._decoder.rounded

    @property
    def missing(self) -> int:
        """How many frames are lost without even a stand-in, as far as that is known after the last frame."""
        return self._decoder.missing

    def __iter__(self) -> Iterator[Frame]:
        self._check_open()
        if self._read:  # before: so from the start again
            self._go(0, len(self))
        count, decoder = 0, self._decoder
        self._read = True
        for picture in decoder:
            count += 1
            if picture.poc in self._shown:
                yield picture.frame
                self._check_open()
            if decoder is not self._decoder:  # the reader has gone elsewhere
                return
        if not count:
            raise self._nothing(self.problems)

    @property
    def frames_to_come(self) -> int | None:
        """How many frames an iteration gives, None on a pipe."""
        whole = self.frame_count is None or self._shown == ALL_POCS
        return self.frame_count if whole else len(self._shown)

    def __len__(self) -> int:
        """Number of frames. StreamError on a pipe, which does not tell."""
        if self.frame_count is None:
            raise StreamError(f"{self.name}: a pipe does not tell how many frames it has; give a file")
        return self.frame_count

    @checked
    def __getitem__(self, frames: int | slice) -> "Frame | Iterator[Frame]":
        """One frame by its number, or an iterator over video[10:20]; only the segments that they need are decoded.

        StreamError if the stream is on a pipe, IndexError if there is no such frame. There is one iterator at a time:
        a new one, and `seek`, end those before.
        """
        self._check_open()
        if isinstance(frames, slice):
            for number in (frames.start, frames.stop, frames.step):
                check("frames", number, int | None)
            start, stop, step = frames.indices(len(self))
            if step != 1:
                raise IndexError("frames come one after the other; leave the step out")
            return self._frames(start, stop)
        number = frames + len(self) if frames < 0 else frames
        if not 0 <= number < len(self):
            raise IndexError(f"{self.name}: there is no frame {frames}; it has {len(self)}")
        return next(self._frames(number, number + 1))

    @checked
    def seek(self, place: Place) -> int:
        """Have the next iteration start with the frame that is shown at a place, and return its number.

        A place is a time in seconds, or text such as '1:10.5', or '300f' for a frame. StreamError on a pipe or past
        the end.
        """
        number = self._timeline.frame_at(place)
        self._go(number, len(self))
        return number

    @checked
    def cut(self, start: Place | None, stop: Place | None) -> tuple[Fraction, Fraction | None]:
        """Have the next iteration show the frames from one place to before another, and return their times in seconds.

        Absent places are the start and the end, whose time is None. StreamError as for `seek`.
        """
        timeline = self._timeline
        first = 0 if start is None else timeline.frame_at(start)
        last = len(self) if stop is None else timeline.stop_at(stop)
        if last <= first:
            raise InputError(f"{self.name}: there is no frame from {start or 'the start'} to {stop}; give a later end")
        self._go(first, last)
        return timeline.time_of(first), None if last == len(self) else timeline.time_of(last)

    def _check_open(self) -> None:
        """InputError if this has been closed."""
        if not self._close.alive:
            raise InputError(f"{self.name}: is closed; open it again")

    @property
    def _timeline(self) -> Timeline:
        self._check_open()
        return Timeline(self._reader, self.name, len(self))

    def _frames(self, start: int, stop: int) -> Iterator[Frame]:
        """The frames from `start` to `stop` - 1."""
        if start >= stop:
            return
        self._go(start, stop)
        yield from self

    def _go(self, start: int, stop: int) -> None:
        """Have the next iteration show the frames from `start` to `stop` - 1."""
        with named(self.name):
            units = passage(self._reader, start, stop)
        self._show(units, range(start, stop))

    def _show(self, units: Iterable[Unit], pocs: range) -> None:
        """Have the next iteration decode some units, and show the frames of these POCs."""
        from .assembly import decoder_of

        self._shown = pocs
        self._read = False
        self._decoder = decoder_of(self._reader, units, self._anchor_codec, self.predictor, self._executor, pocs)

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream's file; standard input stays open. Whoever reads frames afterwards gets an InputError."""
        self._close()


@checked
def decode(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    video_codec: str | None = None,
    crf: float | None = None,
    start: Place | None = None,
    stop: Place | None = None,
    steady: bool = False,
    force: bool = False,
    progress: Progress = quiet,
    **reading: Unpack[Reading],
) -> int:
    """Decode a stream, or a film, into a video file and return the number of frames.

    dst is src with the suffix .dec.yuv if absent, of a film .dec.mkv; .yuv, .y4m, .mkv, .mp4 and '-' (y4m) are written
    losslessly unless `video_codec` names another PyAV encoder, or `crf` its quality. A film's sound, and all else
    beside its pictures, is copied. `start` and `stop` are times in seconds, or text such as '1:10.5' or '300f' for a
    frame: only the frames from start on and before stop are decoded, and begin at time 0. With `steady`, a video of
    varying rate gets a constant one in .yuv, .y4m and on '-': frames are repeated, or left out, to be there in time. A
    read-only dst is replaced only if `force` is given.
    Raises a CodecError; after a DamageError the output is there, with the damaged pictures concealed.
    """
    encoder = LOSSY if crf is not None and video_codec is None else video_codec
    check_crf(encoder, crf)
    target = target_of(src, dst, ".dec.mkv" if is_film(src) else ".dec.yuv")
    check_outputs({"the stream": src}, {"-o": target}, force=force)
    check_name(target, video_codec, crf)
    with Video(src, **reading) as video:
        if video.begins and start is None and is_film(src):
            start = f"{video.begins}f"
        begin, end = (None, None) if start is None and stop is None else video.cut(start, stop)
        with (
            beside(src, target, video.file, start=begin, stop=end) as companions,
            open_sink(
                target,
                video.info,
                video_codec=encoder,
                options=None if crf is None else {"crf": f"{float(crf):g}"},
                companions=companions,
                force=force,
                steady=steady,
            ) as sink,
        ):
            tell(sink.name, sink.notes)
            count = _write_frames(video, sink, begin or Fraction(0), progress)
        raise_if_damaged(video)
    return count


def _write_frames(video: Video, sink: VideoSink, begin: Fraction, progress: Progress) -> int:
    """Write the frames of a video, the one at `begin` seconds at time 0, and return their number."""
    shift, count = round(begin / video.info.time_base), 0
    for frame in video:
        sink.write(frame._replace(pts=frame.pts - shift))
        count += 1
        progress(count, video.frames_to_come)
    return count


@checked
def verify(src: PathLike, *, progress: Progress = quiet, **reading: Unpack[Reading]) -> int:
    """Decode a stream without writing it, check every hash it carries, and return the number of frames.

    Frames that differ by the rounding of another machine alone are told to the logger `codec`. DamageError if a picture
    differs otherwise or was damaged, StreamError if the stream carries no hashes.
    """
    with Video(src, **reading) as video:
        count = 0
        for _ in video:
            count += 1
            progress(count, video.frame_count)
        raise_if_damaged(video)
        if not video.hashed:
            raise StreamError(f"{video.name}: it carries no hashes to verify; encode with --hash")
        if video.rounded:
            told = f"{video.rounded} of {count} frames are so but for rounding, mostly one level; {ROUNDED}"
            tell(video.name, [told])
    return count


def raise_if_damaged(video: Video) -> None:
    """DamageError if the frames given so far are not all as they were coded."""
    if video.problems:
        lost = f"{video.missing} frames are missing" if video.missing else "what was lost is concealed"
        raise DamageError.of(video.name, video.problems, f"{lost}; fetch the file again")
