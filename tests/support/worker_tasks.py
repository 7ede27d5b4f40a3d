"""Tasks for workers of tests; worker processes import this file."""

from dataclasses import dataclass

import codec


@dataclass(frozen=True)
class Broken:
    """A task that fails as no task should, or as any may."""

    ours: bool

    def run(self, predictor):
        raise codec.StreamError("of ours") if self.ours else ZeroDivisionError("nought")


@dataclass(frozen=True)
class Sum:
    """A task: the sum of numbers."""

    numbers: tuple

    def run(self, predictor):
        return sum(self.numbers)
