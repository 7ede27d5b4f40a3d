# SPDX-License-Identifier: MIT
"""Everything that a caller can choose about an encode.

Each field is an argument of `encode` and an option of the shell.
Nothing here loads torch, so that `codec encode --help` answers at once.
"""

# ruff: noqa: RUF009 (`option` makes a dataclass field)

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, NamedTuple

from ..arguments import check, flag_of, shown
from ..errors import InputError
from ..files import PathLike
from ..gop.structure import ADAPTIVE, DEFAULT_INTRA_PERIOD, anchor_distance
from ..models.registry import (
    BEST_NEIGHBOURS,
    DEFAULT_CODEC,
    DEFAULT_MODEL,
    DEFAULT_NEIGHBOURS,
    FOR_RESTORED,
)
from ..precision import AUTO, BF16, check_precision
from ..values import MAX_TERM, parse_bitrate, parse_count, parse_frame_rate, parse_size, parse_whole
from .presets import MEDIUM, PRESETS, SINGLE, Preset

MODES = "auto", "bitneed", "bitfree"
TUNES = {"psnr": "psnr_rgb", "ms-ssim": "ms_ssim"}  # each with the measure whose mean over frames is maximised


class Target(NamedTuple):
    """A mean over frames that an encode can be asked for: the column of its rows, and its unit."""

    measure: str
    unit: str


BITRATE = "bitrate"  # the option; with it, as with TARGETS, the quality is searched for
TARGETS = {
    "target_psnr": Target("psnr_rgb", " dB"),
    "target_xpsnr": Target("xpsnr", " dB"),
    "target_vmaf": Target("vmaf", ""),
}
MAX_INTRA_PERIOD, MAX_PARAMS, MAX_STREAM_SIDE, MAX_FRAMES = 65535, 256, 65535, 1 << 40  # what the stream can say
MAX_RATE = 1 << 40  # bits a second
# What numbers may be; the anchors' codec knows more of its quality.
RANGES: dict[str, tuple[float, float]] = {
    "intra_period": (1, MAX_INTRA_PERIOD),
    "frames": (1, MAX_FRAMES),
    "effort": (0, 1000),
    "b_offset": (-16, 16),
    "crf": (-100, 1000),
    "qp": (-100, 1000),
    "bitrate": (1, MAX_RATE),
    "maxrate": (1, MAX_RATE),
    "target_psnr": (10, 80),
    "target_xpsnr": (10, 80),
    "target_vmaf": (1, 99),
    "finer": (-100, 100),
    "tile": (128, MAX_STREAM_SIDE),
}
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
    preset: str | None = option(
        None,
        "how much work goes into a B-frame: fast, medium (default) or best. Another name is the anchor encoder's, for "
        "which there is --anchor-preset",
    )
    gop: str = option("", "ibpb, fixed:N (anchors N = 1, 2, 4 or 8 frames apart) or adaptive (default in auto)")
    tune: str = option("psnr", "the measure to optimise: psnr (default) or ms-ssim, which tunes anchors too")
    intra_period: int = option(DEFAULT_INTRA_PERIOD, "frames from I to I (default 32)", parse=parse_count, metavar="N")
    frames: int | None = option(None, "stop after N frames", parse=parse_count, metavar="N")
    model: str = option("", f"by name or .safetensors file (default {DEFAULT_CODEC}; {DEFAULT_MODEL} for bitfree)")
    effort: int | None = option(
        None, "steps to refine each B-frame (default 0; slow; 8 in best)", parse=int, metavar="N"
    )
    tta: bool | None = option(
        None,
        "average the predictions by both references and by both upside down, at twice the work (default: in best)",
        action="no-and-yes",
    )
    b_offset: float = option(0.0, "B-frames at 2^X times their usual slope", parse=float, metavar="X")
    postfilter: bool | None = option(
        None,
        "show anchors filtered by a network where that is better, for 3 to 58 bytes a period (default: in auto)",
        action="no-and-yes",
    )
    neighbours: str = option(
        "",
        f"the filter of anchors that have neighbours: {DEFAULT_NEIGHBOURS} (default), {BEST_NEIGHBOURS} (default in "
        f"best; twice the time), those with {FOR_RESTORED} (default over AV1 and all others but HEVC and H.264), a "
        f".safetensors file, or {SINGLE} (default in fast; half the time): each by itself",
        metavar="NAME",
    )
    device: str = option("auto", "auto (default), cpu, cuda, cuda:1, mps, ...")
    precision: str = option(
        AUTO,
        "of the networks that make samples: fp32, bf16 (motion and symbols stay exact) or auto (default: fp32 to "
        "encode; to decode as it was encoded, if this device has it)",
        metavar="NAME",
    )
    force: bool = switch(False, "replace outputs that are read-only", "--force")
    resume: bool = switch(
        False, "keep what is finished beside the output; go on from there if it stopped before", "--resume"
    )
    workers: int | None = option(
        None,
        "processes for B-frames, of one thread each (default: by cores); 1: this one; 0: this one, with all threads",
        parse=parse_whole,
        metavar="N",
    )

    tile: int | None = option(
        None,
        "predict by tiles of about N pixels a side: less memory for large pictures",
        parse=parse_count,
        metavar="N",
    )
    ray: str | None = option(
        None,
        "have B-frames made on a Ray cluster, or several files: auto, or its address (default: on this machine)",
        metavar="ADDRESS",
    )

    anchor: str = option(
        "x265", "their codec: x265 (default), or one that `codec anchors` lists", group=ANCHORS, metavar="NAME"
    )
    anchor_preset: str | None = option(None, "its preset", group=ANCHORS, metavar="NAME")
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
    target_xpsnr: float | None = option(None, "mean XPSNR, likewise", group=ANCHORS, parse=float, metavar="DB")
    target_vmaf: float | None = option(None, "mean VMAF, likewise", group=ANCHORS, parse=float, metavar="SCORE")
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

    vmaf: bool = switch(False, "measure VMAF too (slow; needs vmaf-torch)", group=MEASUREMENT)

    finer: float = 0.0  # octaves of slope, 1 about half a bit a sample, by which to change what crf or qp says

    def __post_init__(self) -> None:
        for each in fields(self):
            check(each.name, getattr(self, each.name), each.type)
        self._check_ranges()
        if self.mode not in MODES:
            raise InputError(f"--mode {shown(self.mode)} is not a mode; choose from {', '.join(MODES)}")
        if len(self.anchor_params) > MAX_PARAMS or not self.anchor_params.isprintable():
            raise InputError(f"--anchor-params takes printable text of up to {MAX_PARAMS} characters; give fewer")
        if self.anchor_preset is not None and self.preset is not None and self.preset not in PRESETS:
            raise InputError(f"--preset {shown(self.preset)} is not a preset; choose from {', '.join(PRESETS)}")
        self._check_together()
        check_precision(self.precision)
        if self.tune not in TUNES:
            raise InputError(f"--tune {shown(self.tune)} is not known; choose from {', '.join(TUNES)}")
        if self.schedule != ADAPTIVE:
            anchor_distance(self.schedule)

    def _check_together(self) -> None:
        """InputError if two options exclude each other."""
        given = [flag_of(name) for name in ("crf", "qp", BITRATE, *TARGETS) if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} exclude each other; give one of them")
        for name in TARGETS:
            if getattr(self, name) is not None and not self.metrics:
                raise InputError(f"{flag_of(name)} needs quality to be measured; leave out --no-metrics")
        whole = [name for name in (BITRATE, *TARGETS, "dry_run", "vmaf") if getattr(self, name)]
        if self.resume and whole:
            flag = flag_of(whole[0])
            raise InputError(f"--resume cannot go on with {flag}, which takes all of a video at once; leave one out")

    def _check_ranges(self) -> None:
        """InputError if a number is out of range."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                flag = name if name == "finer" else flag_of(name)
                raise InputError(f"{flag} {shown(value)} is out of range; give {low:.0f} to {high:.0f}")
        if self.size is not None and not all(1 <= side <= MAX_STREAM_SIDE for side in self.size):
            raise InputError(
                f"--size {shown(self.size)} is out of range; each side must be from 1 to {MAX_STREAM_SIDE}"
            )
        if self.frame_rate is not None:
            rate = Fraction(self.frame_rate)
            if not (0 < rate.numerator <= MAX_TERM and rate.denominator <= MAX_TERM):
                raise InputError(f"frame_rate {shown(rate)} (--fps) is out of range; give one such as 25 or 30000/1001")
            object.__setattr__(self, "frame_rate", rate)  # a whole number is as good

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
        predicts_alone = self.mode == "bitfree" and not self.postfilter  # which is part of a B-frame codec
        return self.model or (self._own_preset.model if predicts_alone else self._own_preset.codec)

    @property
    def refinement(self) -> int:
        """Steps to refine each B-frame, the default spelt out."""
        return self._own_preset.effort if self.effort is None else self.effort

    @property
    def averaged(self) -> bool:
        """Whether predictions are averaged over pictures turned upside down, the default spelt out."""
        return self._own_preset.tta if self.tta is None else self.tta

    def neighbour_filter(self, *, restored: bool) -> str:
        """What filters anchors that have neighbours, the default spelt out; `restored` anchors had Wiener filters."""
        chosen = self._own_preset.neighbours
        made_for = FOR_RESTORED if restored and chosen != SINGLE else ""
        return self.neighbours or chosen + made_for

    @property
    def half(self) -> bool:
        """Whether samples are made in bfloat16."""
        return self.precision == BF16

    @property
    def encoder_preset(self) -> str | None:
        """The anchor encoder's preset, whichever option it was given by."""
        return self.anchor_preset if self.preset in PRESETS else self.preset or self.anchor_preset

    @property
    def notes(self) -> list[str]:
        """What the user should know of `preset`."""
        if self.preset is None or self.preset in PRESETS:
            return []
        return [f"names a preset of the anchor encoder; give it as --anchor-preset {self.preset}"]

    @property
    def _own_preset(self) -> Preset:
        return PRESETS.get(self.preset or MEDIUM, PRESETS[MEDIUM])
