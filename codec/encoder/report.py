# SPDX-License-Identifier: MIT
"""What an encode amounted to: a row a frame, and the sums over a video."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..arguments import check, shown
from ..bframe.records import Trial
from ..bitstream.frame_record import FrameRecord
from ..bitstream.info import mode_name, plan_letters
from ..errors import InputError
from ..video.metrics import psnr
from ..video.picture import VideoInfo

MEASURES = ("psnr_y", "psnr_u", "psnr_v", "psnr_rgb", "ms_ssim", "xpsnr", "vmaf")  # of quality, columns of FrameRow

KINDS = ("I", "P", "B")  # of pictures


@dataclass(frozen=True)
class FrameRow:
    """One picture: where it lies, what it costs in bits (framing aside), and its quality (NaN if not measured)."""

    poc: int
    pts: int
    kind: str
    mode: str
    bits: int
    offset: int
    psnr_y: float = math.nan
    psnr_u: float = math.nan
    psnr_v: float = math.nan
    psnr_rgb: float = math.nan
    ms_ssim: float = math.nan
    xpsnr: float = math.nan
    vmaf: float = math.nan
    tried: str = ""  # of a B-frame, bits:PSNR-RGB of every attempt to code it
    considered: str = ""  # what the choice of order weighed, in bits with distortion: the period's, then the frame's


def frame_row(record: FrameRecord, pts: int, trials: Sequence[Trial] = (), considered: str = "") -> FrameRow:
    """The row of one picture that is not measured yet, with PSNR-RGB and bits of every attempt to code it."""
    row = FrameRow(record.poc, pts, record.kind, mode_name(record), record.bits, record.offset)
    tried = " ".join(f"{8 * len(trial.data)}:{psnr(trial.error):.3f}" for trial in trials)
    return replace(row, tried=tried, considered=considered)


@dataclass(frozen=True)
class Summary:
    """A coded video as a whole. `bytes` is the size of the file, headers, index and all.

    `problems` say what of the source was damaged, a line each; `output` is the file's name, None if none was written.
    """

    info: VideoInfo
    bytes: int
    rows: tuple[FrameRow, ...]
    problems: tuple[str, ...] = ()
    output: str | None = None

    @property
    def frames(self) -> int:
        """Number of pictures in the video."""
        return len(self.rows)

    @property
    def seconds(self) -> float:
        """Duration at the timestamps, the last picture shown for one nominal frame."""
        span = (self.rows[-1].pts - self.rows[0].pts) * self.info.time_base
        return float(span + 1 / self.info.frame_rate)

    @property
    def kbits_per_second(self) -> float:
        """Whole file, in 1000 bits a second."""
        return self.bytes * 8 / self.seconds / 1000

    def bits_per_pixel(self, kind: str | None = None) -> float:
        """Bits a pixel of the pictures of one kind, I, P or B; of the whole file, over all pictures, if none is named.

        NaN if there are no pictures of that kind; InputError if it is none.
        """
        check("kind", kind, str | None)
        if kind not in (None, *KINDS):
            raise InputError(f"kind is {shown(kind)}; it must be one of {', '.join(KINDS)}")
        area = self.info.pixels
        if kind is None:
            return self.bytes * 8 / (area * self.frames)
        bits = [row.bits for row in self.rows if row.kind == kind]
        return sum(bits) / (area * len(bits)) if bits else math.nan

    def mean(self, measure: str) -> float:
        """Mean over frames of a column such as 'psnr_rgb'. InputError if there is none of that name."""
        if measure not in MEASURES:
            raise InputError(f"measure is {shown(measure)}; it must be one of {', '.join(MEASURES)}")
        return math.fsum(getattr(row, measure) for row in self.rows) / self.frames

    def text(self) -> str:
        """Three lines for a person: size, bits by kind, quality where it was measured."""
        counts = {kind: sum(row.kind == kind for row in self.rows) for kind in KINDS}
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        rates = "  ".join(f"{kind} {self.bits_per_pixel(kind):.4f}" for kind, n in counts.items() if n)
        lines = [
            f"{self.frames} frames of {self.info.width}x{self.info.height} ({kinds}), {self.bytes} bytes, "
            f"{self.kbits_per_second:.1f} kbit/s",
            f"bits per pixel  {rates}  file {self.bits_per_pixel():.4f}",
        ]
        if not math.isnan(self.rows[0].psnr_y):
            quality = f"PSNR-Y {self.mean('psnr_y'):.2f} dB  PSNR-RGB {self.mean('psnr_rgb'):.2f} dB"
            similarity = self.mean("ms_ssim")
            lines.append(quality + ("" if math.isnan(similarity) else f"  MS-SSIM {similarity:.4f}"))
            perceived = {"XPSNR": (self.mean("xpsnr"), " dB"), "VMAF": (self.mean("vmaf"), "")}
            known = [f"{name} {mean:.2f}{unit}" for name, (mean, unit) in perceived.items() if not math.isnan(mean)]
            lines[-1] = "  ".join([lines[-1], *known])
        return "\n".join(lines)

    def line(self) -> str:
        """One line for a person: length, size, and quality where it was measured."""
        quality = "" if math.isnan(self.rows[0].psnr_rgb) else f", {self.mean('psnr_rgb'):.2f} dB"
        return f"{self.frames} frames, {self.bytes} bytes, {self.kbits_per_second:.1f} kbit/s{quality}"

    def values(self) -> dict[str, Any]:
        """All sums and means by name, as JSON has them: None for what was not measured."""
        kinds = [kind for kind in KINDS if any(row.kind == kind for row in self.rows)]
        means = {measure: self.mean(measure) for measure in MEASURES}
        return {
            "output": self.output,
            "width": self.info.width,
            "height": self.info.height,
            "frames": self.frames,
            "frames_by_kind": {kind: sum(row.kind == kind for row in self.rows) for kind in kinds},
            "bytes": self.bytes,
            "seconds": self.seconds,
            "kbits_per_second": self.kbits_per_second,
            "bits_per_pixel": self.bits_per_pixel(),
            "bits_per_pixel_by_kind": {kind: self.bits_per_pixel(kind) for kind in kinds},
            **{measure: None if math.isnan(mean) else mean for measure, mean in means.items()},
            "plan": self.plan.split("\n"),
            "problems": list(self.problems),
        }

    def json(self) -> str:
        """One JSON object of `values`."""
        return json.dumps(self.values())

    @property
    def plan(self) -> str:
        """Kinds of all pictures in display order, a line for each I: I, P, B, and b for B-frames without bits."""
        return plan_letters((row.kind, row.bits) for row in self.rows)

    def csv(self) -> str:
        """One line a frame, comma-separated, with a header."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(FrameRow)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return text.getvalue()
