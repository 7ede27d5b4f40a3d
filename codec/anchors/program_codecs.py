# SPDX-License-Identifier: MIT
"""Codecs that are programs of their own: the table of what differs, and where the programs are found."""

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from ..errors import AnchorError, InputError
from .libav_codecs import choose


@dataclass(frozen=True)
class Command:
    """A program and its arguments as templates; docs/anchors.md lists the fields in braces that each run fills in."""

    programs: tuple[str, ...]  # the first that is found
    arguments: tuple[str, ...]
    version: tuple[str, str] = ("", "")  # arguments that make it tell its version, and the pattern that finds it

    @classmethod
    def parse(cls, line: str, version: tuple[str, str] = ("", "")) -> "Command":
        """The command of one line, split as a shell does. ValueError if it is empty or a quotation is not closed."""
        program, *arguments = shlex.split(line)
        return cls((program,), tuple(arguments), version)


@dataclass(frozen=True)
class ProgramRow:
    """What sets one codec apart. Each closed group is one run of the encoder, and one of the decoder."""

    name: str
    encoder: Command
    decoder: Command
    formats: Mapping[int, str]  # {format}, the encoder's word for each bit depth it takes
    stream: str  # 'hevc' or 'vvc', which are cut into pictures, or 'whole': all bytes go with a group's first picture
    quality: str = "qp"  # the option that sets it, qp or crf
    quality_range: tuple[float, float] = (0, 51)
    default: float = 32
    presets: tuple[str, ...] = ()
    preset: str = ""
    video: str = "yuv"  # how pictures come and go: yuv or y4m
    parameter: str = "--{key}={value}"  # how a parameter of the user's is put; stands for the argument {params}
    slopes: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # by preset: log2 of -dR/dD is a - b * q
    variable: str = ""  # the environment variable that names the programs' folder
    minimum_size: int = 16
    ignored: str = ""  # how the encoder warns of a parameter that it goes on without
    lost: str = ""  # how the decoder warns of a picture that it misses and goes on without
    folder: Path = field(default_factory=Path)  # {folder}, where files lie that the commands name

    def checked_preset(self, preset: str | None) -> str:
        """The preset, or the default one. InputError if the encoder has no such preset."""
        if not self.presets and preset is not None:
            raise InputError(f"{self.name} has no presets; give --anchor-params instead")
        return choose(self.name, "preset", self.preset if preset is None else preset, self.presets or ("",))

    def checked_quality(self, crf: float | None, qp: int | None) -> tuple[str, str]:
        """The one option, and its value, that sets the quality. InputError if out of range."""
        given = {"crf": crf, "qp": qp}
        value = given.pop(self.quality)
        for other, unwanted in given.items():
            if unwanted is not None:
                raise InputError(f"{self.name} has no {other}; give {self.quality}")
        value = self.default if value is None else value
        low, high = self.quality_range
        if not low <= value <= high:
            raise InputError(f"{self.name} has no {self.quality} {value:g}; choose {low:g} to {high:g}")
        return self.quality, f"{value:g}"

    def checked_params(self, params: str) -> dict[str, str]:
        """`key=value:flag:...` as a dict. InputError for keys that the command sets itself or cannot take."""
        options = (argument.partition("=")[0] for argument in self.encoder.arguments if argument.startswith("-"))
        taken = {option.lstrip("-") for option in options}
        parsed = {}
        for entry in filter(None, params.split(":")):
            key, equals, value = entry.partition("=")
            if key in taken or not re.fullmatch(r"\w[\w-]*", key):
                raise InputError(f"{self.name} parameter {key!r} cannot be given; the codec sets it itself")
            parsed[key] = value if equals else "1"
        if parsed and "{params}" not in self.encoder.arguments:
            raise InputError(f"{self.name} takes no parameters; put {{params}} into its encoder's command")
        return parsed

    def find(self, command: Command, given: str | Path | None = None) -> str:
        """The path of a program: the one given, else in the folder that the variable names, else on PATH.

        AnchorError if it is missing.
        """
        what = "encoder" if command is self.encoder else "decoder"
        if given is not None:
            found = shutil.which(given)
            if found is None:
                raise AnchorError(f"{given}: no program to be run; give --anchor-{what} the path of {self.name}'s")
            return found
        names = [name.replace("{folder}", str(self.folder)) for name in command.programs]
        folder = os.environ.get(self.variable) if self.variable else None
        for path in (folder, None) if folder else (None,):
            for name in names:
                if found := shutil.which(name, path=path):
                    return found
        raise AnchorError(f"{self.name} needs the program {names[0]}, which is not there; {self.remedy(what)}")

    def remedy(self, what: str) -> str:
        """What makes a missing program found."""
        variable = f"put its folder into ${self.variable} or PATH" if self.variable else "put it on PATH"
        return f"{variable}, or give its path with --anchor-{what}"


# Slopes: fitted as in rows.py, hm's ldb on bedroom and carphone (half an octave apart), its others on carphone alone,
# vvenc's on bedroom, carphone and juggle with the preset faster. What was not measured has its nearest kin's.
HM = ProgramRow(
    name="hm",
    encoder=Command(
        ("TAppEncoderStatic", "TAppEncoder"),
        (
            *("-c", "{folder}/common.cfg", "-c", "{folder}/{preset}.cfg"),
            *("--InputFile={input}", "--BitstreamFile={output}", "--ReconFile={recon}", "--QP={qp}"),
            *("--SourceWidth={width}", "--SourceHeight={height}", "--ConformanceWindowMode=1"),
            *("--FrameRate={rate}", "--FramesToBeEncoded={frames}"),
            *("--InputBitDepth={depth}", "--InternalBitDepth={depth}", "--Profile={format}"),
            # Early versions have no temporal filter and go on without it; other unknown words are an error of ours.
            *("--WarnUnknowParameter=1", "{params}"),
        ),
        ("--help", r"Encoder Version \[([\w.-]+)\]"),
    ),
    decoder=Command(
        ("TAppDecoderStatic", "TAppDecoder"),
        ("--BitstreamFile={input}", "--ReconFile={output}", "--OutputBitDepth={depth}"),
        ("--help", r"Decoder Version \[([\w.-]+)\]"),
    ),
    formats={8: "main", 10: "main10"},
    stream="hevc",
    presets=("ra", "ldb", "ldp", "ipp", "ibpb", "ibpb_tuned"),
    preset="ra",
    slopes={
        "ldb": (18.98, 0.403),
        "ldp": (18.98, 0.403),
        "ra": (18.44, 0.392),
        "ipp": (18.98, 0.374),
        "ibpb": (18.98, 0.374),
        "ibpb_tuned": (18.98, 0.374),
    },
    variable="NCM_HM",
    ignored=r"Unknown option [`'](?!TemporalFilter)(\w+)",
    lost="inserting lost poc",
    folder=Path(str(files("codec.anchors") / "hm")),
)
VVENC = ProgramRow(
    name="vvenc",
    encoder=Command(
        ("vvencapp",),
        (
            *("--y4m", "--input", "{input}", "--output", "{output}", "--preset", "{preset}", "--qp", "{qp}"),
            *("--qpa", "0", "--threads", "1", "--intraperiod", "{endless}", "--refreshtype", "idr_no_radl", "{params}"),
        ),
        ("--version", r"version ([\w.-]+)"),
    ),
    decoder=Command(
        ("vvdecapp",),
        ("--bitstream", "{input}", "--output", "{output}", "--y4m"),
        ("--version", r"version ([\w.-]+)"),
    ),
    formats={8: "yuv420", 10: "yuv420_10"},
    stream="vvc",
    quality_range=(0, 63),
    presets=("faster", "fast", "medium", "slow", "slower"),
    preset="faster",
    slopes=dict.fromkeys(("faster", "fast", "medium", "slow", "slower"), (17.38, 0.364)),
    lost="missing reference picture",
    video="y4m",
    variable="NCM_VVENC",
)
PROGRAM_ROWS = {row.name: row for row in (HM, VVENC)}
