# SPDX-License-Identifier: MIT
"""Published rate points to draw beside ours, each with its source. They were measured on classes, in RGB."""

from typing import NamedTuple

from eval.curves import Point

PAPER = "Jia 2022, section 5"
HEVC = ("HEVC-B", "HEVC-C", "HEVC-D", "HEVC-E")


class Published(NamedTuple):
    """Points of one codec on the mean of these classes."""

    groups: tuple[str, ...]
    measure: str
    codec: str
    source: str
    points: tuple[Point, ...]

    @property
    def label(self) -> str:
        """Name of the curve in the legend of a figure: the codec, and its source in brackets."""
        return f"{self.codec} ({self.source})"


def _of(groups: tuple[str, ...], measure: str, codec: str, source: str, *points: tuple[float, float]) -> Published:
    return Published(groups, measure, codec, source, tuple(Point(*point) for point in points))


# The paper gives one point a curve, over the HEVC sequences as a whole; LHBDC a curve (its results/psnr_bpp.txt).
PUBLISHED = (
    _of(HEVC, "psnr_rgb", "TCM", PAPER, (0.065, 32.0)),
    _of(HEVC, "psnr_rgb", "bit-free on TCM", PAPER, (0.058, 32.0)),
    _of(HEVC, "psnr_rgb", "bit-need on TCM", PAPER, (0.053, 32.0)),
    _of(HEVC, "psnr_rgb", "HM, I-B-P-B", PAPER, (0.111, 34.0)),
    _of(HEVC, "psnr_rgb", "bit-need on HM", PAPER, (0.100, 34.0)),
    _of(HEVC, "ms_ssim", "TCM", PAPER, (0.063, 0.9650)),
    _of(HEVC, "ms_ssim", "bit-free on TCM", PAPER, (0.052, 0.9650)),
    _of(
        *(("UVG",), "psnr_rgb", "LHBDC", "Yilmaz and Tekalp 2021"),
        *((0.0457, 35.43), (0.0648, 36.53), (0.0950, 37.51), (0.1722, 38.44), (0.3074, 39.40)),
    ),
)


def published(groups: set[str], measure: str) -> list[Published]:
    """What was published for exactly these classes as a whole."""
    return [entry for entry in PUBLISHED if set(entry.groups) == groups and entry.measure == measure]
