# SPDX-License-Identifier: MIT
"""From one coded segment to the pictures that are shown: the same lines in the encoder and in the decoder."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from ..anchors.protocol import AnchorCodec
from ..bframe.predictor import Predictor
from ..bframe.records import Anchor, Interval
from ..bitstream.units import Damage, Unit
from ..errors import StreamError
from ..gop.structure import Picture, dyadic
from ..video.colour import Planes
from ..video.picture import Frame, VideoInfo, Yuv420, blank

WriteOne = Callable[[Interval, int], Yuv420]  # codes the B-frame of this POC and returns it as it will be shown


class Shown(NamedTuple):
    """A picture as it is shown. `concealed` says that it stands in for one that was lost.

    `decoded` is the picture as its codec left it, which is another if anchors are filtered.
    """

    poc: int
    kind: str
    frame: Frame
    concealed: bool
    decoded: Yuv420


class Reconstructor:
    """Decode the segments of one video in order; remembers the last anchor, which leading B-frames refer to."""

    def __init__(self, info: VideoInfo, anchor_codec: AnchorCodec, predictor: Predictor) -> None:
        self.info = info
        self.anchor_codec = anchor_codec
        self.predictor = predictor
        self._last: Shown | None = None

    def decoded(self, unit: Unit) -> dict[int, Yuv420]:
        """The anchors of a segment by POC as their codec decodes them; those that were lost are absent."""
        decoded = self.anchor_codec.decode(unit.anchor_packets, self.info)
        pocs = unit.segment.anchor_pocs
        return {pocs[index - unit.first_anchor]: picture for index, picture in decoded.items()}

    def anchors(self, unit: Unit) -> dict[int, Anchor]:
        """The decoded anchors of a segment by POC, filtered if the segment says so; those that were lost are absent."""
        decoded = self.decoded(unit)
        if not unit.strengths:
            return unfiltered(decoded)
        try:
            changes = changes_of(self.predictor, decoded, unit.anchor_quality_qdb)
        except StreamError as error:
            unit.damage.append(Damage(unit.segment.first, str(error)))
            return unfiltered(decoded)
        return postfiltered(self.predictor, decoded, changes, unit.strengths)

    def pictures(self, unit: Unit, anchors: dict[int, Anchor], write: WriteOne | None = None) -> list[Shown]:
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

    def _references(self, unit: Unit, anchors: dict[int, Anchor]) -> dict[int, Shown]:
        """The anchors by POC, with stand-ins for lost ones, and the one before the segment where it is referred to."""
        segment = unit.segment
        shown: dict[int, Shown] = {}
        if segment.leading and self._last is not None:
            shown[self._last.poc] = self._last
        good = Anchor(self._last.decoded, self._last.frame.picture) if self._last else Anchor(*[blank(self.info)] * 2)
        for poc, kind in ((p.poc, p.kind) for p in segment.pictures() if p.kind != "B"):
            good = anchors.get(poc, good)
            frame = Frame(unit.pts[poc - segment.first], good.shown)
            shown[poc] = Shown(poc, kind, frame, poc not in anchors, good.decoded)
        return shown

    def _fill(self, shown: dict[int, Shown], unit: Unit, low: int, high: int, write: WriteOne | None) -> None:
        """Add the B-frames between two anchors to `shown`."""
        references: dict[int, Tensor] = {}
        anchor_pictures = shown[low].decoded, shown[high].decoded

        def reference(poc: int) -> Tensor:
            if poc not in references:
                references[poc] = self.predictor.reference(shown[poc].frame.picture)
            return references[poc]

        for picture in dyadic(low, high):
            past, future = (shown[poc] for poc in picture.refs)
            pts = unit.pts[picture.poc - unit.segment.first]
            time = (pts - past.frame.pts) / (future.frame.pts - past.frame.pts)
            noise, span = noise_level(unit.anchor_quality_qdb), future.poc - past.poc
            interval = Interval(reference(past.poc), reference(future.poc), time, noise, anchor_pictures, span)
            lost = past.concealed or future.concealed
            made = write(interval, picture.poc) if write else self._bframe(unit, picture, interval, lost=lost)
            shown[picture.poc] = Shown(picture.poc, "B", Frame(pts, made), lost, made)

    def _bframe(self, unit: Unit, picture: Picture, interval: Interval, *, lost: bool) -> Yuv420:
        """A B-frame by its payload; by prediction where there is none, or none that fits these references."""
        packet = unit.bframes.get(picture.poc)
        if packet is not None and not lost:
            try:
                return self.predictor.read(interval, packet)
            except StreamError as error:
                unit.damage.append(Damage(picture.poc, str(error)))
        return self.predictor.predict(*interval[:4])


def unfiltered(decoded: dict[int, Yuv420]) -> dict[int, Anchor]:
    """Anchors by POC, shown as they were decoded."""
    return {poc: Anchor(picture, picture) for poc, picture in decoded.items()}


def changes_of(predictor: Predictor, decoded: dict[int, Yuv420], quality_qdb: int) -> dict[int, Planes]:
    """What the model's filter would add to anchors, by POC; `quality_qdb` is their PSNR in quarter dB. StreamError."""
    level = noise_level(quality_qdb)
    return {poc: predictor.change(picture, level) for poc, picture in decoded.items()}


def postfiltered(
    predictor: Predictor, decoded: dict[int, Yuv420], changes: dict[int, Planes], strengths: Sequence[int]
) -> dict[int, Anchor]:
    """Anchors by POC, shown with so many eighths of the filter's changes."""
    return {poc: Anchor(plain, predictor.changed(plain, changes[poc], strengths)) for poc, plain in decoded.items()}


def noise_level(quality_qdb: int) -> float:
    """RMS error in [0,1] units from a PSNR in quarter dB, 0 = unknown."""
    return 10 ** (-quality_qdb / 80) if quality_qdb else 0.0
