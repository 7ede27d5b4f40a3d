# SPDX-License-Identifier: MIT
"""The commands of the applications. Nothing here loads torch before a command needs it."""

import argparse
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..terminal import progress_on_terminal, typed
from ..values import fraction_of, parse_count, parse_frame_rate

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

VIDEO = ".y4m, anything PyAV opens, or - for standard input"


def add_apps(commands: "Commands") -> None:
    """Add the commands; each sets `command`, which returns a status."""
    _add_slowmo(commands.add_parser("slowmo", help="slow a video down, or change its frame rate"))
    _add_blur(commands.add_parser("blur", help="give a video motion blur, or make it of two pictures"))
    _add_dejitter(commands.add_parser("dejitter", help="make a video of a low frame rate smooth, live too"))
    _add_flow(commands.add_parser("flow", help="draw how a frame between two pictures is made"))


def _add_slowmo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="VIDEO", help=VIDEO)
    add("--factor", type=typed(parse_factor), default=Fraction(1), metavar="N", help="times as long: 4, 2.5, 5/4 (1)")
    add("--fps", type=typed(parse_frame_rate), metavar="RATE", help="frame rate of the output (default: as it is)")
    what = "stretch (default, with its pitch), keep (at its speed) or drop"
    add("--sound", choices=("stretch", "keep", "drop"), default="stretch", help=what)
    _add_output(parser)
    parser.set_defaults(command=_slowmo)


def _add_blur(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="VIDEO", nargs="+", help=f"{VIDEO}; or two pictures")
    add("--shutter", type=float, default=180.0, metavar="DEGREES", help="how long it is open; 360 is a frame (180)")
    add("--samples", type=typed(parse_count), default=31, metavar="N", help="pictures in each mean (31)")
    add("--sound", choices=("keep", "drop"), default="keep", help="keep (default) or drop")
    _add_output(parser)
    parser.set_defaults(command=_blur)


def _add_dejitter(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("src", metavar="VIDEO", help=VIDEO)
    schemes = "interpolation (default; FACTOR - 1 pictures late) or extrapolation (no delay)"
    add("--scheme", choices=("interpolation", "extrapolation"), default="interpolation", help=schemes)
    add("--factor", type=typed(parse_count), default=4, metavar="N", help="times as many pictures a second (4)")
    add("--foresee", metavar="NAME", help="network that extrapolates (extrapolate)")
    what = "extrapolation: show received pictures as they are, not interpolated again"
    add("--no-smooth", dest="smooth", action="store_false", help=what)
    _add_output(parser)
    parser.set_defaults(command=_dejitter)


def _add_flow(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("first", metavar="FIRST", help="a picture: .png, .jpg or .webp")
    add("second", metavar="SECOND", help="a later one")
    add("-o", "--output", required=True, metavar="FILE", help="sheet of flows, mask, warped pictures and prediction")
    add("--time", type=float, default=0.5, metavar="T", help="of the frame between them, in (0,1) (0.5)")
    add("--extrapolate", action="store_true", help="the frame after both, instead")
    _add_network(parser)
    parser.set_defaults(command=_flow)


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Options of every command that writes a video."""
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FILE", help=".mp4, .mkv, .mov, .y4m, .yuv or - (y4m)")
    add("--video-codec", metavar="NAME", help="PyAV encoder for .mp4, .mkv and .mov (libx264)")
    add("--crf", type=float, metavar="N", help="quality of libx264 and libx265 (16)")
    _add_network(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", metavar="NAME", help="network, by name or .safetensors file")
    add("--tta", action="store_true", help="average with the answer for pictures upside down; twice the time")
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps, ...")


def parse_factor(text: str) -> Fraction:
    """A factor such as 4, 2.5 or 5/4. InputError if it is none."""
    factor = fraction_of(text)
    if not factor:
        raise InputError(f"{text!r} is not a factor above 0 such as 4, 2.5 or 5/4")
    return factor


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in names}


NETWORK = ("model", "tta", "device")
OUTPUT = ("video_codec", "crf", *NETWORK)


def _slowmo(arguments: argparse.Namespace) -> int:
    from .slow_motion import slow_motion

    if arguments.factor == 1 and arguments.fps is None:
        raise InputError("neither --factor nor --fps is given; nothing would change")
    with progress_on_terminal("slowing down") as progress:
        options = _given(arguments, "factor", "fps", "sound", *OUTPUT)
        slow_motion(arguments.src, arguments.output, progress=progress, **options)
    return 0


def _blur(arguments: argparse.Namespace) -> int:
    from .motion_blur import blur_pictures, motion_blur

    if len(arguments.src) == 2:
        first, second = arguments.src
        blur_pictures(first, second, arguments.output, **_given(arguments, "shutter", "samples", *NETWORK))
        return 0
    if len(arguments.src) > 2:
        raise InputError(f"{len(arguments.src)} inputs; give one video or two pictures")
    with progress_on_terminal("blurring") as progress:
        options = _given(arguments, "shutter", "samples", "sound", *OUTPUT)
        motion_blur(arguments.src[0], arguments.output, progress=progress, **options)
    return 0


def _dejitter(arguments: argparse.Namespace) -> int:
    from .dejitter import dejitter

    with progress_on_terminal("smoothing") as progress:
        options = _given(arguments, "scheme", "factor", "foresee", "smooth", *OUTPUT)
        done = dejitter(arguments.src, arguments.output, progress=progress, **options)
    text = (
        f"{done.pictures} pictures, each shown {1000 * float(done.delay):.0f} ms after it came, and what making takes"
    )
    print(text, file=sys.stderr if arguments.output == "-" else sys.stdout)
    return 0


def _flow(arguments: argparse.Namespace) -> int:
    from .motion_pictures import show_motion

    options = _given(arguments, "time", "extrapolate", *NETWORK)
    show_motion(arguments.first, arguments.second, arguments.output, **options)
    return 0
