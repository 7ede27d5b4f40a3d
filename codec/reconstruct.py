# SPDX-License-Identifier: MIT
"""From one coded segment to the pictures that are shown: the same lines in the encoder and in the decoder."""

from typing import NamedTuple

from torch import Tensor

from .anchors import AnchorCodec
from .bframe import Predictor
from .frame import Frame, VideoInfo, Yuv420, blank
from .gop import dyadic
from .stream import Unit


class Shown(NamedTuple):
    """A picture as it is shown. `concealed` says that it stands in for one that was lost."""

    poc: int
    kind: str
    frame: Frame
    concealed: bool


class Reconstructor:
    """Decode the segments of one video in order; remembers the last anchor, which leading B-frames refer to."""

    def __init__(self, info: VideoInfo, anchors: AnchorCodec, predictor: Predictor) -> None:
        self.info = info
        self.codec = anchors
        self.predictor = predictor
        self._last: Shown | None = None

    def anchors(self, unit: Unit) -> dict[int, Yuv420]:
        """The decoded anchors of a segment by POC; those that were lost are absent."""
        decoded = self.codec.decode(unit.anchors, self.info)
        pocs = unit.segment.anchors
        return {pocs[index - unit.first_anchor]: picture for index, picture in decoded.items()}

    def pictures(self, unit: Unit, anchors: dict[int, Yuv420]) -> list[Shown]:
        """All pictures of a segment in display order, made from its decoded anchors.

        A lost anchor is concealed by the last good picture, and all that refers to it counts as concealed too.
        B-frames that lead the very first segment given (after a seek) have lost their past and are left out.
        """
        shown = self._references(unit, anchors)
        pts = dict(zip(unit.segment.pocs, unit.pts, strict=True))
        for low, high in unit.segment.spans():
            if low in shown:
                self._fill(shown, low, high, pts, noise_level(unit.noise))
        self._last = shown[unit.segment.stop - 1]
        return [shown[poc] for poc in unit.segment.pocs if poc in shown]

    def _references(self, unit: Unit, anchors: dict[int, Yuv420]) -> dict[int, Shown]:
        """The anchors by POC, with stand-ins for lost ones, and the one before the segment where it is referred to."""
        segment = unit.segment
        shown: dict[int, Shown] = {}
        if segment.leading and self._last is not None:
            shown[self._last.poc] = self._last
        good = self._last.frame.picture if self._last else blank(self.info)
        for poc, kind in ((p.poc, p.kind) for p in segment.pictures() if p.kind != "B"):
            good = anchors.get(poc, good)
            shown[poc] = Shown(poc, kind, Frame(unit.pts[poc - segment.first], good), poc not in anchors)
        return shown

    def _fill(self, shown: dict[int, Shown], low: int, high: int, pts: dict[int, int], noise: float) -> None:
        """Add the B-frames between two anchors to `shown`."""
        rgb: dict[int, Tensor] = {}

        def reference(poc: int) -> Tensor:
            if poc not in rgb:
                rgb[poc] = self.predictor.reference(shown[poc].frame.picture)
            return rgb[poc]

        for picture in dyadic(low, high):
            past, future = (shown[poc] for poc in picture.refs)
            time = (pts[picture.poc] - past.frame.pts) / (future.frame.pts - past.frame.pts)
            predicted = self.predictor.predict(reference(past.poc), reference(future.poc), time, noise)
            concealed = past.concealed or future.concealed
            shown[picture.poc] = Shown(picture.poc, "B", Frame(pts[picture.poc], predicted), concealed)


def noise_level(quarter_db: int) -> float:
    """RMS error in [0,1] units from a PSNR in quarter dB, 0 = unknown."""
    return 10 ** (-quarter_db / 80) if quarter_db else 0.0
