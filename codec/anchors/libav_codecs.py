# SPDX-License-Identifier: MIT
"""The table of what differs between the encoders of libavcodec, and the checks of a user's settings against it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ..errors import InputError

START_CODE = b"\x00\x00\x00\x01"
X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
X26X_TUNES = ("psnr", "ssim", "grain", "animation", "fastdecode", "zerolatency")


def choose(name: str, what: str, value: str, choices: tuple[str, ...]) -> str:
    """The value, if it is one of the choices. InputError, listing them, if not."""
    if value not in choices:
        raise InputError(f"{name} has no {what} {value!r}; choose from {', '.join(choices)}")
    return value


@dataclass(frozen=True)
class LibavRow:
    """What sets one codec apart. Parameters are `key=value:...` of the encoder itself."""

    name: str
    encoder: str
    decoders: tuple[str, ...]  # the first that there is decodes
    stream: str  # what the packets are of: hevc, avc or av1
    presets: tuple[str, ...]
    preset: str
    crf: float
    crf_range: tuple[int, int]
    qp_range: tuple[int, int]  # qp, like crf and preset, is an option of libavcodec's wrapper
    slopes: Mapping[str, tuple[float, float]]  # log2 of -dR/dD at quality q is a - b * q, for crf and for qp
    params_option: str
    prefix: bytes  # every packet starts with it, so it is left out of AnchorPacket.data
    fixed: str  # parameters that encode() relies on; {keyint} is the longest group
    endless: str = "-1"  # the encoder's word for a keyint without limit
    fractional_crf: bool = True
    regular: bool = False  # whether its own B-pyramid needs anchors evenly spaced
    remembers: bool = False  # whether its rate control goes by what it coded before
    defaults: str = ""  # parameters that a user may override
    structural: Mapping[str, str] = field(default_factory=dict)  # those that tune it for SSIM, likewise
    options: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what libavcodec takes out of the parameters
    depths: tuple[int, ...] = (8, 10)

    def checked_preset(self, preset: str | None) -> str:
        """The preset, or the default one. InputError if the encoder has no such preset."""
        return choose(self.name, "preset", self.preset if preset is None else preset, self.presets)

    def checked_quality(self, crf: float | None, qp: int | None) -> tuple[str, str]:
        """The one option, and its value, that sets the quality. InputError if out of range."""
        if crf is not None and qp is not None:
            raise InputError("crf and qp exclude each other; give one of them")
        option, value, (low, high) = ("crf", crf, self.crf_range) if qp is None else ("qp", qp, self.qp_range)
        value = self.crf if value is None else value
        whole = option == "qp" or not self.fractional_crf
        if not low <= value <= high or (whole and value != int(value)):
            kind = "a whole number from " if whole else ""
            raise InputError(f"{self.name} has no {option} {value:g}; choose {kind}{low} to {high}")
        return option, f"{value:g}"

    def shifted_quality(self, option: str, value: float, finer: float) -> tuple[str, str]:
        """A quality whose slope is 2^finer times as steep, as near to it as the scale allows."""
        low, high = self.crf_range if option == "crf" else self.qp_range
        value = min(max(value - finer / self.slopes[option][1], low), high)
        return option, f"{value:.2f}" if option == "crf" and self.fractional_crf else f"{value:.0f}"

    def checked_params(self, params: str) -> dict[str, str]:
        """`key=value:flag:...` as a dict. InputError for keys that are set elsewhere and for bad choices."""
        taken = {entry.partition("=")[0] for entry in self.fixed.split(":")} | {"preset", "crf", "qp"}
        parsed = {}
        for entry in filter(None, params.split(":")):
            key, equals, value = entry.partition("=")
            if key in taken:
                raise InputError(f"{self.name} parameter {key!r} cannot be given; the codec sets it itself")
            choose(self.name, key, value, self.choices.get(key, (value,)))
            parsed[key] = value if equals else "1"
        return parsed


def _x264_asm() -> str:
    """AVX-512 off: x264's mbtree then reads memory that nobody wrote (build 165), and no two runs give the same bytes.

    Naming a set switches it on without a check, so only where the processor has it.
    """
    return ":asm=AVX2" if torch.backends.cpu.get_cpu_capability().startswith("AVX") else ""


# Slopes: fitted to the mean over bedroom, juggle, carphone and bikes (32 frames, one I, defaults, every fifth crf from
# 18 to 33 and so on); clips scatter around it by half an octave.
_X265 = LibavRow(
    name="x265",
    encoder="libx265",
    decoders=("hevc",),
    stream="hevc",
    presets=X26X_PRESETS,
    preset="medium",
    crf=28,
    crf_range=(0, 51),
    qp_range=(0, 51),
    remembers=True,
    slopes={"crf": (17.26, 0.353), "qp": (18.02, 0.344)},
    params_option="x265-params",
    prefix=START_CODE,
    fixed="keyint={keyint}:min-keyint=1:scenecut=0:open-gop=0:info=0:repeat-headers=1:annexb=1:log-level=none",
    # Bytes depend on the numbers of frame and pool threads, which are the machine's unless given. Frame threads cost
    # no bits and do without wavefronts (wpp), which cost 0.3 to 1 % at 416x240.
    defaults="frame-threads=4:pools=2:wpp=0:lookahead-slices=0",
    structural={"tune": "ssim"},
    options={"forced-idr": "1"},
    choices={"tune": X26X_TUNES, "profile": ("main", "main10")},
)
_SVTAV1 = LibavRow(
    name="svtav1",
    encoder="libsvtav1",
    decoders=("libdav1d", "libaom-av1", "av1"),
    stream="av1",
    presets=tuple(map(str, range(14))),
    preset="6",
    crf=35,
    crf_range=(1, 63),
    qp_range=(1, 63),
    fractional_crf=False,
    regular=True,  # promoting single frames cost it 5 % where x265 gained 10
    slopes={"crf": (14.49, 0.156), "qp": (15.86, 0.199)},
    params_option="svtav1-params",
    prefix=b"\x12\x00",  # a temporal delimiter
    fixed="keyint=-1:irefresh-type=2:scd=0",
    defaults="tune=1",  # PSNR
    structural={"tune": "2"},
)
_X264 = LibavRow(
    name="x264",
    encoder="libx264",
    decoders=("h264",),
    stream="avc",
    presets=X26X_PRESETS,
    preset="medium",
    crf=23,
    crf_range=(0, 51),
    qp_range=(0, 51),
    remembers=True,
    slopes={"crf": (16.98, 0.355), "qp": (18.46, 0.351)},
    params_option="x264-params",
    prefix=START_CODE,
    fixed="keyint={keyint}:min-keyint=1:scenecut=0:open-gop=0:repeat-headers=1:annexb=1",
    endless="infinite",
    defaults="threads=1" + _x264_asm(),  # each further frame thread costs 2 % at 416x240
    structural={"tune": "ssim"},
    options={"forced-idr": "1"},
    choices={"tune": (*X26X_TUNES, "film", "stillimage"), "profile": ("baseline", "main", "high", "high10")},
)
ROWS = {row.name: row for row in (_X265, _SVTAV1, _X264)}
