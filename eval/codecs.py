# SPDX-License-Identifier: MIT
"""Codecs by the names they have in tables, and what `codec encode` is told for each.

ncm-MODE@ANCHOR       this project's codec on top of an encoder; ncm-MODE:N@ANCHOR with --effort N,
                      ncm-MODE:fast@ANCHOR and ncm-MODE:best@ANCHOR with that preset of ours,
                      ncm-MODE:ms-ssim@ANCHOR with --tune ms-ssim, ncm-MODE:fixed8@ANCHOR with --gop fixed:8,
                      ncm-MODE:filtered@ANCHOR and ncm-MODE:plain@ANCHOR with and without the post-filter of anchors
                      where that is not its default; several in this order
ANCHOR                that encoder alone, for all frames; ANCHOR:filtered and with the post-filter of ours
:filtered-ncm         in place of :filtered: with the filter that also sees what NCM predicts; :filtered-ncm-av1
                      over encoders with Wiener filters, such as AV1's
ANCHOR:VARIANT        a preset of it, KEY=VALUE of its own parameters, or `ibpb`: x265 and x264 in the order I-B-P-B
                      with their own B-frames
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import codec

NAME = re.compile(
    r"""(?: ncm-(?P<mode>\w+)
        (?: :(?P<effort>\d+) )?
        (?: :(?P<preset>fast|best) )?
        (?: :(?P<tune>psnr|ms-ssim) )?
        (?: :fixed(?P<fixed>[1248]) )?
        (?: :(?P<shown>filtered-ncm-av1|filtered-ncm|filtered|plain) )?
    @)?
    (?P<anchor>[\w.-]+) (?P<variants>(?: :[\w.=-]+ )*)""",
    re.VERBOSE,
)
# Variants that are parameters by another name; HM's `ibpb` is a preset.
NAMED = {
    ("x265", "ibpb"): "bframes=1:b-adapt=0:b-pyramid=0",
    ("x264", "ibpb"): "bframes=1:b-adapt=0:b-pyramid=none",
}
MODES = ("auto", "bitneed", "bitfree")
FILTERED = {
    "filtered": ["--postfilter"],
    "filtered-ncm": ["--postfilter", "--neighbours", "neighbour-ncm"],
    "filtered-ncm-av1": ["--postfilter", "--neighbours", "neighbour-ncm-av1"],
}
SHOWN = {**FILTERED, "plain": ["--no-postfilter"], "": []}


class Rates(NamedTuple):
    """The rate points of an encoder: the option that sets them, crf or qp, and its values."""

    option: str
    values: tuple[float, ...]


RATES = {
    "x265": Rates("crf", (18, 23, 28, 33)),
    "x264": Rates("crf", (18, 23, 28, 33)),
    "svtav1": Rates("crf", (30, 39, 48, 57)),
    "hm": Rates("qp", (22, 27, 32, 37)),
    "vvenc": Rates("qp", (22, 27, 32, 37)),
    "tcm": Rates("qp", (0, 1, 2, 3)),  # the rates it was trained for
}


def parse_rates(texts: Sequence[str]) -> dict[str, Rates]:
    """Rates by encoder, as given by ANCHOR=crf:18,23,28,33. InputError if a text is not so, or has a value twice."""
    found = {}
    for text in texts:
        match = re.fullmatch(r"([\w.-]+)=(crf|qp):(\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)*)", text)
        if match is None:
            raise codec.InputError(f"--rates {text!r} is not like x265=crf:18,23,28,33")
        values = tuple(map(float, match[3].split(",")))
        if len(set(values)) < len(values):
            raise codec.InputError(f"--rates {text!r} has a value twice; leave one out")
        found[match[1]] = Rates(match[2], values)
    return found


@dataclass(frozen=True)
class CodecName:
    """A codec's name taken apart; `mode` is empty for an encoder alone."""

    name: str
    anchor: str
    mode: str
    effort: str
    preset: str
    tune: str
    fixed: str
    shown: str
    variants: tuple[str, ...]

    @classmethod
    def parse(cls, name: str) -> "CodecName":
        """The parts of a codec name as in tables. InputError if it is none."""
        match = NAME.fullmatch(name)
        if match is None or (name.startswith("ncm-") and not match["mode"]):
            raise codec.InputError(f"codec {name!r} is not like ncm-bitneed@x265, ncm-bitneed:4@x265, x265 or hm:ra")
        if match["mode"] not in (None, *MODES):
            raise codec.InputError(f"codec {name!r}: {match['mode']!r} is not a mode; choose from {', '.join(MODES)}")
        variants = tuple(filter(None, match["variants"].split(":")))
        parts = {part: match[part] or "" for part in ("mode", "effort", "preset", "tune", "fixed", "shown")}
        return cls(name=name, anchor=match["anchor"], variants=variants, **parts)

    @property
    def codec_class(self) -> str:
        """What kind of codec it is: 'ncm-MODE' or 'anchor'."""
        return f"ncm-{self.mode}" if self.mode else "anchor"

    @property
    def alone(self) -> str:
        """The encoder under it, as a name of its own."""
        return ":".join((self.anchor, *self.variants))

    def rates(self, table: Mapping[str, Rates]) -> Rates:
        """Its rate points. InputError if the table has none."""
        if self.anchor not in table:
            hint = f"there are {', '.join(table)}; give them with --rates {self.anchor}=crf:20,25,30,35"
            raise codec.InputError(f"codec {self.name!r}: no rate points known for {self.anchor!r}; {hint}")
        return table[self.anchor]

    def words(self) -> list[str]:
        """Its options of `codec encode`, all but those of its rate."""
        words = ["--anchor", self.anchor]
        words += ["--mode", self.mode or "bitfree"]
        if self.fixed:
            words += ["--gop", f"fixed:{self.fixed}"]
        elif self.mode != "auto":  # which finds its own order
            words += ["--gop", "ibpb" if self.mode else "fixed:1"]
        if self.effort:
            words += ["--effort", self.effort]
        if self.preset:
            words += ["--preset", self.preset]
        if self.tune:
            words += ["--tune", self.tune]
        words += SHOWN[self.shown]
        words += [word for variant in self.variants for word in FILTERED.get(variant, [])]
        preset, params = self._variant()
        words += ["--anchor-preset", preset] if preset else []
        words += ["--anchor-params", params] if params else []
        return words

    def check(self, rates: Rates, preset: str | None) -> None:
        """InputError if its encoder is unknown, or does not know the preset, a parameter or a rate point."""
        own, params = self._variant()
        for value in rates.values:
            quality: dict[str, Any] = {rates.option: int(value) if float(value).is_integer() else value}
            try:
                codec.anchor_codec(self.anchor, preset=own or preset, params=params, **quality)
            except codec.CodecError as err:
                raise codec.InputError(f"codec {self.name!r}: {err}") from err

    def _variant(self) -> tuple[str | None, str]:
        """The preset of its encoder, if it names one, and the parameters."""
        given = [NAMED.get((self.anchor, v), v) for v in self.variants if v not in FILTERED]
        presets = [v for v in given if "=" not in v]
        if len(presets) > 1:
            raise codec.InputError(f"codec {self.name!r} has two presets, {' and '.join(presets)}; leave one out")
        return (presets[0] if presets else None), ":".join(v for v in given if "=" in v)


def rates_of(names: Sequence[CodecName], given: Sequence[str]) -> dict[CodecName, Rates]:
    """The rate points of every codec, by the table and by what is given as for `parse_rates`.

    InputError if a codec has none, or if rates are given for an encoder that no codec has.
    """
    own = parse_rates(given)
    if unused := sorted(set(own) - {name.anchor for name in names}):
        raise codec.InputError(f"--rates {unused[0]}: no codec of --codecs is on that encoder; leave it out")
    return {name: name.rates(RATES | own) for name in names}
