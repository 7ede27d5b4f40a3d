# SPDX-License-Identifier: MIT
"""A film's presentation as options of the file header: one option a field, of the same name."""

from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from typing import Any

from ..video.presentation import Presentation
from .fields import Values
from .syntax import OPTIONS

NAMES = {field.name for field in fields(Presentation)}
FIELDS = {option.name: tuple(field.name for field in option.fields) for option in OPTIONS if option.name in NAMES}


def options_of(presentation: Presentation) -> dict[str, Values]:
    """The options that say what is not as by default."""
    options: dict[str, Values] = {}
    for name in presentation.said:
        value = getattr(presentation, name)
        if name == "start":  # the only number that may be a negative fraction
            value = value.numerator, value.denominator
        options[name] = dict(zip(FIELDS[name], value if isinstance(value, tuple) else (value,), strict=True))
    return options


def presentation_of(options: Mapping[str, Values]) -> Presentation:
    """What the options of a header say; those of other subjects are passed over."""
    said: dict[str, Any] = {}
    for name, values in options.items():
        if name in NAMES:
            found = tuple(values.values())
            said[name] = Fraction(*found) if name == "start" else found if len(FIELDS[name]) > 1 else found[0]
    return Presentation(**said)
