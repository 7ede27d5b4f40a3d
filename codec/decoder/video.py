# SPDX-License-Identifier: MIT
"""Streams from Python: open, decode, verify. The command line calls the same functions."""

from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType

from ..anchors.registry import anchor_codec
from ..bitstream.reader import reading
from ..device import choose_device
from ..errors import DamageError, InputError, StreamError
from ..files import PathLike, target_of
from ..models.open import load_fingerprint, predictor
from ..progress import Progress, quiet
from ..video.picture import Frame
from ..video.writer import open_sink
from .decoder import Decoder
from .reconstruct import Reconstructor


class Video:
    """An .ncm stream, opened for its frames; a context manager, and an iterator of `Frame` in display order.

    `frame_count` is None on a pipe; `model` and `predictor` are what makes the B-frames. After the last frame
    `problems` lists what was damaged, a line each. `anchor` is the .toml file that defines the anchors' codec,
    anchor_decoder the path of its decoder; both only where needed.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        device: str = "auto",
        anchor: str | None = None,
        anchor_decoder: PathLike | None = None,
    ) -> None:
        with ExitStack() as stack:
            self.name, self._reader = stack.enter_context(reading(path))
            self.header = self._reader.header
            self.info = self.header.info
            self.frame_count = self._reader.picture_count()
            self.model = load_fingerprint(self.header.fingerprint, self.header.model, choose_device(device))
            codec = anchor_codec(anchor or self.header.anchor_codec, decoder=anchor_decoder)
            if codec.name != self.header.anchor_codec:
                need = f"its anchors are of {self.header.anchor_codec!r}; leave --anchor out or give that one"
                raise InputError(f"{self.name}: --anchor is {codec.name!r}, but {need}")
            self.predictor = predictor(self.model, self.info)
            self._decoder = Decoder(self._reader, Reconstructor(self.info, codec, self.predictor))
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
        for shown in self._decoder:  # not an expression: the loop must keep us, and with us the file, alive
            yield shown.frame

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the stream's file; standard input stays open. No frames can be read afterwards."""
        self._stack.close()


def decode(
    src: PathLike,
    dst: PathLike | None = None,
    *,
    device: str = "auto",
    anchor: str | None = None,
    anchor_decoder: PathLike | None = None,
    video_codec: str | None = None,
    progress: Progress = quiet,
) -> int:
    """Decode an .ncm stream into a video file and return the number of frames.

    dst is src with the suffix .dec.yuv if absent; .yuv, .y4m, .mkv, .mp4 and '-' (y4m) are written losslessly unless
    `video_codec` names another PyAV encoder. `anchor` is the .toml file that defines the anchors' codec, anchor_decoder
    the path of its decoder; both only where needed.
    Raises a CodecError; after a DamageError the output is there, with the damaged pictures concealed.
    """
    target = target_of(src, dst, ".dec.yuv")
    count = 0
    with Video(src, device=device, anchor=anchor, anchor_decoder=anchor_decoder) as video:
        with open_sink(target, video.info, video_codec=video_codec) as sink:
            for frame in video:
                sink.write(frame)
                count += 1
                progress(count, video.frame_count)
            if not count:
                raise StreamError(f"{video.name}: not one frame can be decoded; the stream is damaged from the start")
        raise_if_damaged(video)
    return count


def verify(
    src: PathLike,
    *,
    device: str = "auto",
    anchor: str | None = None,
    anchor_decoder: PathLike | None = None,
    progress: Progress = quiet,
) -> int:
    """Decode a stream without writing it, check every hash it carries, and return the number of frames.

    DamageError if a picture differs or was damaged, StreamError if the stream carries no hashes.
    """
    with Video(src, device=device, anchor=anchor, anchor_decoder=anchor_decoder) as video:
        count = 0
        for _ in video:
            count += 1
            progress(count, video.frame_count)
        raise_if_damaged(video)
        if not video.hashed:
            raise StreamError(f"{video.name}: it carries no hashes to verify; encode with --hash")
    return count


def raise_if_damaged(video: Video) -> None:
    """DamageError if the frames given so far are not all as they were coded."""
    if video.problems:
        more = f" (and {len(video.problems) - 1} more)" if len(video.problems) > 1 else ""
        remedy = "what was lost is concealed; fetch the file again"
        raise DamageError(f"{video.name}: {video.problems[0]}{more}; {remedy}")
