# SPDX-License-Identifier: MIT
"""The pictures of one segment while they are made, by whoever makes them, in any order that references allow."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from ..bframe.records import Anchor, Interval
from ..bframe.tasks import Task
from ..bitstream.units import Unit
from ..gop.structure import Picture, dyadic
from ..parallel.executor import Executor, Known, Pending
from ..video.picture import Frame, Yuv420


class Shown(NamedTuple):
    """A picture as it is shown. `concealed` says that it stands in for one that was lost.

    `decoded` is the picture as its codec left it, which is another if anchors are filtered.
    """

    poc: int
    kind: str
    frame: Frame
    concealed: bool
    decoded: Yuv420


class AnchorsUnderWay(NamedTuple):
    """The anchors of a segment by POC, decoded; some or all have been handed out to be filtered."""

    decoded: dict[int, Yuv420]
    shown: Mapping[int, Pending[Yuv420]]

    def finished(self) -> dict[int, Anchor]:
        """The anchors as they were decoded, and as they are shown; waits for the latter."""
        return {
            poc: Anchor(picture, self.shown[poc].result() if poc in self.shown else picture)
            for poc, picture in self.decoded.items()
        }


class HasPicture(Protocol):
    """What a task makes of a B-frame: its picture, and what else it says."""

    @property
    def picture(self) -> Yuv420:
        """The B-frame as it is shown."""
        ...


MadeT = TypeVar("MadeT", bound=HasPicture)
# The task of a B-frame, by its interval, its POC, and whether a reference is lost.
Plan = Callable[[Interval, int, bool], Task[MadeT]]


class SegmentUnderWay(Generic[MadeT]):
    """A segment whose anchors are there and whose B-frames have been handed out, but for those that are known.

    `references` are its anchors by POC, with the one before the segment where it is referred to.
    """

    def __init__(
        self,
        unit: Unit,
        references: Mapping[int, Shown],
        noise: float,
        executor: Executor,
        plan: Plan[MadeT],
        known: Mapping[int, MadeT],
    ) -> None:
        self.unit = unit
        self._given, self._noise, self._plan = dict(references), noise, plan
        spans = [span for span in unit.segment.spans() if span[0] in references]
        self._spans = {picture.poc: span for span in spans for picture in dyadic(*span)}
        self._order = [picture for span in spans for picture in dyadic(*span)]  # of coding
        self._lost: dict[int, bool] = {poc: shown.concealed for poc, shown in references.items()}
        self._pending: dict[int, Pending[MadeT]] = {}
        for picture in self._by_level():
            self._lost[picture.poc] = any(self._lost[poc] for poc in picture.refs)
            if (copy := self._copy(picture)) is not None:
                self._given[picture.poc] = copy
            else:
                self._pending[picture.poc] = self._begun(picture, executor, known)

    def results(self) -> Iterator[tuple[int, MadeT]]:
        """What became of each B-frame, in coding order, with its POC; waits for it."""
        for picture in self._order:
            if picture.poc in self._pending:
                yield picture.poc, self._pending[picture.poc].result()

    def cancel(self) -> None:
        """Let go of all that has not begun."""
        for pending in self._pending.values():
            pending.cancel()

    def pictures(self) -> list[Shown]:
        """All pictures of the segment in display order; waits for its B-frames.

        B-frames that lead a segment whose past is not known are left out.
        """
        made = {poc: self._bframe(poc, one.picture) for poc, one in self.results()}
        shown = {**self._given, **made}
        return [shown[poc] for poc in self.unit.segment.pocs if poc in shown]

    def _by_level(self) -> list[Picture]:
        """The B-frames in an order in which those that are independent of each other stand together."""
        level = dict.fromkeys(self._given, 0)
        for picture in self._order:
            level[picture.poc] = 1 + max(level[poc] for poc in picture.refs)
        return sorted(self._order, key=lambda picture: level[picture.poc])

    def _copy(self, picture: Picture) -> Shown | None:
        """The copy that a picture is where there is nothing to predict: both references show the same stand-in."""
        past, future = (self._given.get(poc) for poc in picture.refs)
        if past is None or future is None or past.frame.picture is not future.frame.picture:
            return None
        return past._replace(poc=picture.poc, kind="B", frame=Frame(self._pts(picture.poc), past.frame.picture))

    def _begun(self, picture: Picture, executor: Executor, known: Mapping[int, MadeT]) -> Pending[MadeT]:
        if picture.poc in known:
            return Known(known[picture.poc])
        after = [self._pending[poc] for poc in picture.refs if poc in self._pending]
        lost = self._lost[picture.poc]
        return executor.submit(lambda: self._plan(self._interval(picture), picture.poc, lost), after)

    def _interval(self, picture: Picture) -> Interval:
        past, future = (self._shown(poc) for poc in picture.refs)
        low, high = (self._given[poc].decoded for poc in self._spans[picture.poc])
        time = (self._pts(picture.poc) - past.frame.pts) / (future.frame.pts - past.frame.pts)
        return Interval(past.frame.picture, future.frame.picture, time, self._noise, (low, high), future.poc - past.poc)

    def _shown(self, poc: int) -> Shown:
        """A picture that is there already."""
        if poc in self._given:
            return self._given[poc]
        return self._bframe(poc, self._pending[poc].result().picture)

    def _bframe(self, poc: int, picture: Yuv420) -> Shown:
        return Shown(poc, "B", Frame(self._pts(poc), picture), self._lost[poc], picture)

    def _pts(self, poc: int) -> int:
        return self.unit.pts[poc - self.unit.segment.first]
