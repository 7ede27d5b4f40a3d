# SPDX-License-Identifier: MIT
"""Everything that a caller can choose about an encode."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from ..gop.structure import ADAPTIVE, DEFAULT_INTRA_PERIOD, anchor_distance
from ..models.registry import DEFAULT_CODEC, DEFAULT_MODEL
from .rate_control import Goal

PathLike = str | Path
MODES = {"bitfree": DEFAULT_MODEL, "bitneed": DEFAULT_CODEC, "auto": DEFAULT_CODEC}  # each with its default model
MAX_INTRA_PERIOD, MAX_PARAMS = 65535, 256  # what the stream can say


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How to encode a video. InputError for what makes no sense, whatever the video."""

    mode: str = "bitfree"  # bitfree: B-frames without payload; bitneed: with, where it pays; auto: by the video's curve
    gop: str = ""  # ibpb, fixed:N or adaptive; "" = adaptive in auto, else ibpb
    tune: str = "psnr"  # what orders and payloads are chosen by: psnr, or ms-ssim, by which anchors are coded too
    intra_period: int = DEFAULT_INTRA_PERIOD  # frames from I to I
    b_offset: float = 0.0  # B-frames are coded to 2^b_offset times the slope of their anchors
    effort: int = 0  # steps to refine the payload of a B-frame
    postfilter: bool | None = None  # anchors may be shown filtered, where that is better; None = in auto
    model: str = ""  # by name or .safetensors file; "" = the mode's own

    anchor: str = "x265"  # the codec of the anchors by name, or the .toml file that defines one
    anchor_encoder: PathLike | None = None  # the paths of its programs, if it has any
    anchor_decoder: PathLike | None = None
    preset: str | None = None  # its preset; None = its default, as for all that follows
    crf: float | None = None  # its constant rate factor
    qp: int | None = None  # its constant quantiser; not both
    anchor_params: str = ""  # more parameters for it, key=value:key=value
    finer: float = 0.0  # octaves of slope, 1 about half a bit a sample, by which to change what crf or qp says
    bitrate: int | None = None  # bits a second of the whole file, instead of crf and qp; reads the video several times
    target_psnr: float | None = None  # mean RGB PSNR in dB instead, likewise
    maxrate: int | None = None  # bits a second that no segment passes, if its coarsest quality allows it

    frames: int | None = None  # stop after so many
    size: tuple[int, int] | None = None  # of raw video, as the two that follow, if its name does not tell
    frame_rate: Fraction | None = None
    pixel_format: str | None = None

    device: str = "auto"  # for the networks
    metrics: bool = True  # compare the decoded video with the source
    hashes: bool = False  # store a check of every picture
    recon: PathLike | None = None  # write the decoded video here too
    csv: PathLike | None = None  # write a line of statistics a frame here
    dry_run: bool = False  # write no stream; what it would hold is in the summary

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"--mode {self.mode!r} is not a mode; choose from {', '.join(MODES)}")
        if self.effort < 0:
            raise InputError(f"--effort {self.effort} is out of range; give 0 steps or more")
        if not 1 <= self.intra_period <= MAX_INTRA_PERIOD:
            limits = f"give 1 to {MAX_INTRA_PERIOD} frames"
            raise InputError(f"--intra-period {self.intra_period} is out of range; {limits}")
        if len(self.anchor_params) > MAX_PARAMS or not self.anchor_params.isprintable():
            raise InputError(f"--anchor-params takes printable text of up to {MAX_PARAMS} characters; give fewer")
        given = [name for name in ("crf", "qp", "bitrate", "target_psnr") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other; give one of them")
        if self.target_psnr is not None and not (self.metrics and 10 <= self.target_psnr <= 80):
            raise InputError(f"--target-psnr {self.target_psnr:g} cannot be met; give 10 to 80 dB, and measure them")
        measure_of(self.tune)
        if self.schedule != ADAPTIVE:
            anchor_distance(self.schedule)

    @property
    def schedule(self) -> str:
        """The order by name, the default one spelt out."""
        return self.gop or (ADAPTIVE if self.mode == "auto" else "ibpb")

    @property
    def distance(self) -> int | None:
        """From anchor to anchor; None in the adaptive order."""
        return None if self.schedule == ADAPTIVE else anchor_distance(self.schedule)

    @property
    def measured(self) -> bool:
        """Whether what quality is worth is measured on the video; else it is the encoder's table that says it."""
        untabled = self.mode == "bitneed" and self.structural  # tables are of squared errors
        return self.mode == "auto" or self.distance is None or self.maxrate is not None or untabled

    @property
    def structural(self) -> bool:
        """Whether all is chosen by structure (MS-SSIM) instead of squared errors."""
        return measure_of(self.tune) == "ms_ssim"

    @property
    def goal(self) -> Goal | None:
        """What the quality is searched for, if it is not given."""
        wanted = self.bitrate is not None or self.target_psnr is not None
        return Goal(self.bitrate, self.target_psnr) if wanted else None

    @property
    def model_name(self) -> str:
        """The model, the default one spelt out."""
        return self.model or MODES[self.mode]


TUNES = {"psnr": "psnr_rgb", "ms-ssim": "ms_ssim"}  # what is maximised: its mean over frames


def measure_of(tune: str) -> str:
    """The measure of a tune. InputError if there is none of this name."""
    if tune not in TUNES:
        raise InputError(f"--tune {tune!r} is not known; choose from {', '.join(TUNES)}")
    return TUNES[tune]
