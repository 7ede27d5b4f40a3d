# SPDX-License-Identifier: MIT
"""The rows of a stream's pictures: what each cost, and how good it is if that is asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

from ..bitstream.frame_record import FrameRecord
from ..errors import InputError
from ..video.metrics import compare
from ..video.picture import VideoInfo, Yuv420
from ..video.vmaf import Vmaf, vmaf_available
from ..video.xpsnr import Xpsnr
from .report import FrameRow, frame_row
from .segments import CodedPeriod
from .settings import EncodeSettings


class Measurement:
    """Measures the pictures of one video, period by period. InputError if a measure is not installed."""

    def __init__(self, info: VideoInfo, settings: EncodeSettings) -> None:
        self.info, self.wanted = info, settings.metrics
        self.xpsnr = Xpsnr(info)
        self.vmaf = _vmaf_of(settings)

    def rows(self, period: CodedPeriod, records: Iterable[FrameRecord]) -> Sequence[FrameRow]:
        """A row for each picture of a period, whose records say what it cost; those that are known are kept."""
        if period.rows:
            self._pass_over(period)
            return period.rows
        by_poc = {record.poc: record for record in records}
        shown = {picture.poc: picture.frame.picture for picture in period.shown}
        rows = []
        for poc in period.unit.segment.pocs:
            source = period.source.at(poc)
            trials = period.decisions[poc].trials if poc in period.decisions else []
            row = frame_row(by_poc[poc], source.pts, trials, period.notes.get(poc, ""))
            rows.append(self._measured(row, source.picture, shown[poc]) if self.wanted else row)
        return rows

    def finished(self, rows: Sequence[FrameRow]) -> tuple[FrameRow, ...]:
        """The rows of all pictures, with what is known only at the end."""
        if self.vmaf is None:
            return tuple(rows)
        return tuple(replace(row, vmaf=score) for row, score in zip(rows, self.vmaf.finish(), strict=True))

    def _measured(self, row: FrameRow, source: Yuv420, shown: Yuv420) -> FrameRow:
        """The row of the next picture with its quality."""
        if self.vmaf is not None:
            self.vmaf.add(source, shown)
        quality = asdict(compare(source, shown, self.info.colour))
        return replace(row, **quality, xpsnr=self.xpsnr.add(source, shown))

    def _pass_over(self, period: CodedPeriod) -> None:
        """Show the source of a period to the measure that depends on what came before."""
        if self.wanted:
            for frame in period.source.frames:
                self.xpsnr.add(frame.picture, frame.picture)


def _vmaf_of(settings: EncodeSettings) -> Vmaf | None:
    """What measures VMAF, if that is wanted. InputError if its package is not installed."""
    if not (settings.vmaf and settings.metrics):
        return None
    if not vmaf_available():
        raise InputError("VMAF needs the package vmaf-torch; install it with pip install 'ncm-codec[vmaf]'")
    return Vmaf()
