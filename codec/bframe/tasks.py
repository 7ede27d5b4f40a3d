# SPDX-License-Identifier: MIT
"""What can be done to one B-frame, as records that say all it takes: any process with the same model does the same."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from ..bitstream.syntax import Sight
from ..bitstream.units import BFramePacket
from ..errors import StreamError
from ..video.picture import Yuv420
from .anchor_filter import AnchorFilter, Change
from .predictor import Predictor
from .records import Choice, Interval, ToWrite

ResultT_co = TypeVar("ResultT_co", covariant=True)


class Task(Protocol[ResultT_co]):
    """A piece of work that depends on nothing but what it holds and the model."""

    def run(self, predictor: Predictor) -> ResultT_co:
        """The result, the same wherever it is made."""
        ...


class Made(NamedTuple):
    """A B-frame as it is shown, and what was wrong with its payload, if anything was."""

    picture: Yuv420
    problem: str = ""


@dataclass(frozen=True)
class PredictTask:
    """Predict a B-frame: nothing was sent for it."""

    interval: Interval

    @property
    def kind(self) -> Hashable:
        """Any predictions can be made together."""
        return PredictTask

    def run(self, predictor: Predictor) -> Made:
        """The prediction."""
        return self.run_together([self], predictor)[0]

    @staticmethod
    def run_together(tasks: "Sequence[PredictTask]", predictor: Predictor) -> list[Made]:
        """The predictions of a batch."""
        return [Made(picture) for picture in predictor.between([task.interval for task in tasks])]


@dataclass(frozen=True)
class ReadTask:
    """Decode the payload of a B-frame."""

    interval: Interval
    packet: BFramePacket

    @property
    def kind(self) -> Hashable:
        """Any payloads can be read together."""
        return ReadTask

    def run(self, predictor: Predictor) -> Made:
        """What the payload describes; the prediction, with the problem, if it cannot be read."""
        try:
            return Made(predictor.read(self.interval, self.packet))
        except StreamError as error:
            return Made(predictor.between([self.interval])[0], str(error))

    @staticmethod
    def run_together(tasks: "Sequence[ReadTask]", predictor: Predictor) -> list[Made]:
        """What a batch of payloads describes; if one cannot be read, each is read by itself."""
        try:
            pictures = predictor.read_all([task.interval for task in tasks], [task.packet for task in tasks])
        except StreamError:
            return [task.run(predictor) for task in tasks]
        return [Made(picture) for picture in pictures]


@dataclass(frozen=True)
class WriteTask:
    """Code a B-frame."""

    wanted: ToWrite

    @property
    def kind(self) -> Hashable:
        """Those of one kind can be coded together; latents are only refined with noise of the frame's own."""
        wanted = self.wanted
        return id(self) if wanted.effort else (WriteTask, wanted.structural, wanted.start is None)

    def run(self, predictor: Predictor) -> Choice:
        """How it is best coded."""
        return predictor.write(self.wanted)

    @staticmethod
    def run_together(tasks: "Sequence[WriteTask]", predictor: Predictor) -> list[Choice]:
        """How those of a batch are best coded."""
        return predictor.write_all([task.wanted for task in tasks])


@dataclass(frozen=True)
class ChangeTask:
    """Find what filtering would add to one of some decoded anchors, by POC: `AnchorFilter.changes`."""

    decoded: Mapping[int, Yuv420]
    poc: int
    noise: float
    sights: Sequence[Sight]

    def run(self, predictor: Predictor) -> list[Change]:
        """What is to be added, for each sight."""
        return _filter_of(predictor).changes(self.decoded, self.poc, self.noise, self.sights)


@dataclass(frozen=True)
class FilterTask:
    """Filter one decoded anchor: eighths of the change to each plane, of corrections, and Wiener filters, if any."""

    change: ChangeTask
    strengths: Sequence[int]
    corrections: Sequence[int]
    wiener: Sequence[int]

    def run(self, predictor: Predictor) -> Yuv420:
        """The anchor as it is shown."""
        decoded, anchor_filter = self.change.decoded[self.change.poc], _filter_of(predictor)
        (change,) = self.change.run(predictor)
        return anchor_filter.shown(anchor_filter.added(decoded, change, self.strengths, self.corrections), self.wiener)


def change_tasks(
    anchor_filter: AnchorFilter, decoded: Mapping[int, Yuv420], noise: float, sights: Sequence[Sight]
) -> dict[int, ChangeTask]:
    """For each decoded anchor of a segment, by POC, the task of filtering it; each holds no more than the filter sees.

    `noise` is the RMS error of the anchors. `sights` are what the filter shall see of them.
    """
    reach = anchor_filter.reach if any(sights) else 0
    pocs = sorted(decoded)
    seen = {poc: pocs[max(0, place - reach) : place + reach + 1] for place, poc in enumerate(pocs)}
    return {poc: ChangeTask({near: decoded[near] for near in seen[poc]}, poc, noise, sights) for poc in decoded}


def _filter_of(predictor: Predictor) -> AnchorFilter:
    assert predictor.anchor_filter is not None, "whoever asks for filtering knows that there is a filter"
    return predictor.anchor_filter


def run_all(tasks: Sequence[Task[Any]], predictor: Predictor) -> list[Any]:
    """The results of independent tasks, in their order; those of one kind are done together."""
    kinds: dict[Hashable, list[int]] = {}
    for number, task in enumerate(tasks):
        kinds.setdefault(getattr(task, "kind", number), []).append(number)
    results: dict[int, Any] = {}
    for numbers in kinds.values():
        same = [tasks[number] for number in numbers]
        done = same[0].run_together(same, predictor) if len(same) > 1 else [same[0].run(predictor)]  # type: ignore[attr-defined]
        results |= zip(numbers, done, strict=True)
    return [results[number] for number in range(len(tasks))]
