# SPDX-License-Identifier: MIT
"""From one coded segment to the pictures that are shown: the same lines in the encoder and in the decoder."""

from collections.abc import Callable
from typing import NamedTuple

from .anchors import AnchorCodec
from .bframe import Between, Predictor, Reference
from .errors import StreamError
from .frame import Frame, VideoInfo, Yuv420, blank
from .gop import Picture, dyadic
from .stream import Damage, Unit

WriteOne = Callable[[Between, int], Yuv420]  # codes the B-frame of this POC and returns it as it will be shown


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

    def pictures(self, unit: Unit, anchors: dict[int, Yuv420], write: WriteOne | None = None) -> list[Shown]:
        """All pictures of a segment in display order, made from its decoded anchors; B-frames by `write` if given.

        A lost anchor is concealed by the last good picture, and all that refers to it counts as concealed too.
        B-frames that lead the very first segment given (after a seek) have lost their past and are left out.
        """
        shown = self._references(unit, anchors)
        for low, high in unit.segment.spans():
            if low in shown:
                self._fill(shown, unit, low, high, write)
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

    def _fill(self, shown: dict[int, Shown], unit: Unit, low: int, high: int, write: WriteOne | None) -> None:
        """Add the B-frames between two anchors to `shown`."""
        references: dict[int, Reference] = {}

        def reference(poc: int) -> Reference:
            if poc not in references:
                references[poc] = self.predictor.reference(shown[poc].frame.picture)
            return references[poc]

        for picture in dyadic(low, high):
            past, future = (shown[poc] for poc in picture.refs)
            pts = unit.pts[picture.poc - unit.segment.first]
            time = (pts - past.frame.pts) / (future.frame.pts - past.frame.pts)
            between, anchors = (reference(past.poc), reference(future.poc)), (reference(low), reference(high))
            where = Between(*between, time, noise_level(unit.noise), anchors)
            lost = past.concealed or future.concealed
            made = write(where, picture.poc) if write else self._bframe(unit, picture, where, lost=lost)
            shown[picture.poc] = Shown(picture.poc, "B", Frame(pts, made), lost)

    def _bframe(self, unit: Unit, picture: Picture, where: Between, *, lost: bool) -> Yuv420:
        """A B-frame by its payload; by prediction where there is none, or none that fits these references."""
        packet = unit.bframes.get(picture.poc)
        if packet is not None and not lost:
            try:
                return self.predictor.read(where, packet)
            except StreamError as error:
                unit.damage.append(Damage(picture.poc, str(error)))
        return self.predictor.predict(*where[:4])


def noise_level(quarter_db: int) -> float:
    """RMS error in [0,1] units from a PSNR in quarter dB, 0 = unknown."""
    return 10 ** (-quarter_db / 80) if quarter_db else 0.0
