# SPDX-License-Identifier: MIT
"""A video that is read: what all readers give."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Self

import av

from ..errors import InputError
from .picture import Frame, VideoInfo


class VideoSource:
    """The frames of one video, read once and one at a time.

    `frame_count` is an estimate, None if unknown. `notes` say how the video is read where that is not obvious, such as
    a conversion, a line each; `companions` are the tracks beside it, such as sound, in words; None
    where there can be none. `problems` grows while frames are read: what was damaged and is concealed or missing, each
    a line, said as it is found. `first_time` is when the first frame is shown, in seconds of the file's own time line.
    """

    def __init__(
        self,
        info: VideoInfo,
        frames: Iterator[Frame],
        *,
        name: str,
        frame_count: int | None,
        notes: Sequence[str] = (),
        companions: Sequence[str] | None = None,
        first_time: Fraction = Fraction(0),
        problems: list[str] | None = None,
    ) -> None:
        self.info = info
        self.name = name
        self.frame_count = frame_count
        self.notes = tuple(notes)
        self.companions = companions
        self.first_time = first_time
        self.problems = [] if problems is None else problems
        self._frames = _guarded(frames, name)
        self._resources = ExitStack()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; no frame can be read afterwards."""
        self._frames.close()
        self._resources.close()

    def owning(self, resources: ExitStack) -> Self:
        """This source, which now closes `resources` when it is closed."""
        self._resources = resources.pop_all()
        return self


def reason(error: OSError | av.FFmpegError) -> str:
    """The system's or FFmpeg's own words for an error."""
    return error.strerror or type(error).__name__


def _guarded(frames: Iterator[Frame], name: str) -> Generator[Frame, None, None]:
    """The frames. InputError if there is none, or in place of an error while reading, with the frame's number."""
    count = 0
    try:
        for count, frame in enumerate(frames, 1):  # noqa: B007
            yield frame
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{name}: frame {count} cannot be decoded ({reason(error)}); the file is damaged") from error
    if not count:
        raise InputError(f"{name}: holds no pictures; give a video with at least one")
