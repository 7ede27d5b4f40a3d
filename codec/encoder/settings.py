# SPDX-License-Identifier: MIT
"""Everything that a caller can choose about an encode.

Each field is an argument of `encode` and an option of the shell.
Nothing here loads torch, so that `codec encode --help` answers at once.
"""

# ruff: noqa: RUF009 (`option` makes a dataclass field)

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..errors import InputError
from ..files import PathLike
from ..gop.structure import ADAPTIVE, DEFAULT_INTRA_PERIOD, anchor_distance
from ..models.registry import DEFAULT_CODEC, DEFAULT_MODEL
from ..values import parse_bitrate, parse_count, parse_frame_rate, parse_size

MODES = {"auto": DEFAULT_CODEC, "bitneed": DEFAULT_CODEC, "bitfree": DEFAULT_MODEL}  # each with its default model
TUNES = {"psnr": "psnr_rgb", "ms-ssim": "ms_ssim"}  # each with the measure whose mean over frames is maximised
MAX_INTRA_PERIOD, MAX_PARAMS = 65535, 256  # what the stream can say
GENERAL = ""
ANCHORS, MEASUREMENT = "anchors", "measurement"
RAW = "raw video (if the file's name does not tell, as in seq_416x240_50.yuv)"


@dataclass(frozen=True)
class Option:
    """How a field is given in the shell: what it does, its flags (else the field's name), and its type and metavar."""

    help: str
    flags: tuple[str, ...] = ()
    group: str = GENERAL
    parse: Callable[[str], Any] | None = None  # None: text
    metavar: str | None = None
    action: str = ""  # store_true, store_false or no-and-yes; "" takes a value


def option(default: Any, text: str, *flags: str, **how: Any) -> Any:  # noqa: ANN401
    """A field with a default that is an option too."""
    return field(default=default, metadata={"option": Option(text, flags, **how)})


def switch(default: bool, text: str, *flags: str, group: str = GENERAL) -> Any:  # noqa: ANN401
    """A field that is off or on by default, and an option that turns it round."""
    return option(default, text, *flags, group=group, action="store_false" if default else "store_true")


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How to encode a video. InputError for what makes no sense, whatever the video."""

    mode: str = option(
        "auto",
        "auto (default): what saves bits in this video, the anchor encoder's own order among the choices; bitneed: "
        "payloads for B-frames where they pay; bitfree: nothing is sent for B-frames",
    )
    gop: str = option("", "ibpb, fixed:N (anchors N = 1, 2, 4 or 8 frames apart) or adaptive (default in auto)")
    tune: str = option("psnr", "the measure to optimise: psnr (default) or ms-ssim, which tunes anchors too")
    intra_period: int = option(DEFAULT_INTRA_PERIOD, "frames from I to I (default 32)", parse=parse_count, metavar="N")
    frames: int | None = option(None, "stop after N frames", parse=parse_count, metavar="N")
    model: str = option("", f"by name or .safetensors file (default {DEFAULT_CODEC}; {DEFAULT_MODEL} for bitfree)")
    effort: int = option(0, "steps to refine each B-frame (slow; try 8)", parse=int, metavar="N")
    b_offset: float = option(0.0, "B-frames at 2^X times the anchors' slope", parse=float, metavar="X")
    postfilter: bool | None = option(
        None,
        "show anchors filtered by a network where that is better, for three bytes a period (default: in auto)",
        action="no-and-yes",
    )
    device: str = option("auto", "auto (default), cpu, cuda, cuda:1, mps, ...")

    anchor: str = option(
        "x265", "their codec: x265 (default), or one that `codec anchors` lists", group=ANCHORS, metavar="NAME"
    )
    preset: str | None = option(None, "the anchor encoder's preset", group=ANCHORS)
    crf: float | None = option(None, "its constant rate factor", group=ANCHORS, parse=float)
    qp: int | None = option(None, "its constant quantiser, instead of --crf", group=ANCHORS, parse=int)
    bitrate: int | None = option(
        None,
        "of the whole file, as in 800k: instead of --crf, takes several passes",
        group=ANCHORS,
        parse=parse_bitrate,
        metavar="RATE",
    )
    target_psnr: float | None = option(None, "mean RGB PSNR, likewise", group=ANCHORS, parse=float, metavar="DB")
    maxrate: int | None = option(
        None,
        "code segments more coarsely that would pass this rate",
        group=ANCHORS,
        parse=parse_bitrate,
        metavar="RATE",
    )
    anchor_params: str = option(
        "", "further parameters for it, such as tune=psnr:psy-rd=0", group=ANCHORS, metavar="K=V:K=V"
    )
    anchor_encoder: PathLike | None = option(
        None,
        "where its encoder is, if that is a program",
        "--anchor-encoder",
        "--hm-encoder",
        group=ANCHORS,
        metavar="PROGRAM",
    )
    anchor_decoder: PathLike | None = option(
        None,
        "where the anchors' decoder is, if that is a program",
        "--anchor-decoder",
        "--hm-decoder",
        group=ANCHORS,
        metavar="PROGRAM",
    )

    size: tuple[int, int] | None = option(None, "of a picture", group=RAW, parse=parse_size, metavar="WxH")
    frame_rate: Fraction | None = option(
        None, "frames a second", "--fps", group=RAW, parse=parse_frame_rate, metavar="N or N/D"
    )
    pixel_format: str | None = option(None, "yuv420p or yuv420p10le", "--pix-fmt", group=RAW)

    metrics: bool = switch(True, "do not compare with the source (faster)", "--no-metrics", group=MEASUREMENT)
    csv: PathLike | None = option(None, "write a line of statistics a frame", group=MEASUREMENT, metavar="FILE")
    recon: PathLike | None = option(None, "write the decoded video too", group=MEASUREMENT, metavar="FILE")
    dry_run: bool = switch(False, "write no stream; print what it would hold, and the plan", group=MEASUREMENT)
    hashes: bool = switch(False, "store a hash of every picture, for `codec verify`", "--hash", group=MEASUREMENT)

    finer: float = 0.0  # octaves of slope, 1 about half a bit a sample, by which to change what crf or qp says

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
        if self.tune not in TUNES:
            raise InputError(f"--tune {self.tune!r} is not known; choose from {', '.join(TUNES)}")
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
        """Whether lambda is measured on the video; else it is the encoder's table that says it."""
        untabled = self.mode == "bitneed" and self.structural  # tables are of squared errors
        return self.mode == "auto" or self.distance is None or self.maxrate is not None or untabled

    @property
    def measure(self) -> str:
        """What is maximised, as a field of Quality."""
        return TUNES[self.tune]

    @property
    def structural(self) -> bool:
        """Whether all is chosen by structure (MS-SSIM) instead of squared errors."""
        return self.measure == "ms_ssim"

    @property
    def model_name(self) -> str:
        """The model, the default one spelt out."""
        return self.model or MODES[self.mode]
