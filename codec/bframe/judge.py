# SPDX-License-Identifier: MIT
"""What pictures of B-frames cost beside their bits."""

from collections.abc import Sequence
from functools import cached_property

import torch

from ..video.colour import Planes, all_in_levels
from ..video.metrics import all_rgb_of
from ..video.picture import Colour, Yuv420
from .records import ToWrite


class Judge:
    """Judges pictures of some B-frames, one for each that is `wanted`, against their sources."""

    def __init__(self, wanted: Sequence[ToWrite], colour: Colour, device: torch.device) -> None:
        self.wanted = wanted
        self._colour, self._device = colour, device
        self._sources = self._rgb([one.source for one in wanted])

    @cached_property
    def levels(self) -> Planes:
        """Y, U and V of the sources, in levels."""
        return all_in_levels([one.source for one in self.wanted], self._device)

    def errors(self, shown: Sequence[Yuv420]) -> list[float]:
        """Mean squared errors in RGB of [0,1], as they will be measured."""
        return (self._sources - self._rgb(shown)).square().mean((1, 2, 3)).tolist()

    def scores(self, shown: Sequence[Yuv420], errors: Sequence[float] | None = None) -> list[float]:
        """Bits a pixel: by the scores that were given, else slope times the error; `errors` if they are known."""
        if errors is None:
            judged = all(one.score is not None for one in self.wanted)
            errors = [0.0] * len(shown) if judged else self.errors(shown)
        each = zip(self.wanted, shown, errors, strict=True)
        return [one.slope * error if one.score is None else one.score(picture) for one, picture, error in each]

    def weighed(self, shown: Sequence[Yuv420]) -> list[float]:
        """Scores, weighed by what errors cost in frames that refer to these."""
        scores = self.scores(shown)
        return [one.interval.weight * score for one, score in zip(self.wanted, scores, strict=True)]

    def _rgb(self, pictures: Sequence[Yuv420]) -> torch.Tensor:
        return all_rgb_of(pictures, self._colour, self._device)
