# SPDX-License-Identifier: MIT
"""Arguments of public functions, checked by their annotations."""

import inspect
import math
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import wraps
from numbers import Integral, Rational, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, get_args, get_origin

from .errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Fraction: "a fraction such as Fraction(30000, 1001)",
    NoneType: "None",
}
NUMBERS = {int: Integral, float: Real, Fraction: Rational}


def flag_of(name: str) -> str:
    """A setting as it is given in the shell: --target-psnr for target_psnr."""
    return f"--{name.replace('_', '-')}"


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that raises InputError, naming the argument, for a value that is not of the annotated type."""
    signature = inspect.signature(function)

    @wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            parameter = signature.parameters[name]
            if parameter.annotation is not parameter.empty and parameter.kind is not parameter.VAR_KEYWORD:
                check(name, value, parameter.annotation)
        return function(*args, **kwargs)

    return checking


def check(name: str, value: object, kind: Any) -> None:  # noqa: ANN401
    """InputError, naming the argument, if a value is not of an annotated type."""
    if not fits(value, kind):
        raise InputError(f"{name} is {shown(value)}; it must be {in_words(kind)}")


def check_range(name: str, value: float | Fraction, low: float, high: float = math.inf) -> None:
    """InputError, naming the argument, if a number is not from `low` to `high`, or is infinite or NaN."""
    if not (low <= value <= high and value < math.inf):
        most = "or more" if high == math.inf else f"to {high}"
        raise InputError(f"{name} is {shown(value)}; it must be {low} {most}")


def fits(value: object, kind: Any) -> bool:  # noqa: ANN401
    """Whether a value is of an annotated type. A whole number is a number, True and False are none."""
    if isinstance(kind, UnionType):
        return any(fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(fits, value, kinds))
    if kind in NUMBERS:
        return isinstance(value, NUMBERS[kind]) and not isinstance(value, bool)
    if kind is str or kind is Path:
        return isinstance(value, kind) and _has_bytes(str(value))
    if get_origin(kind) is Callable:
        return callable(value)
    if get_origin(kind) is Mapping:
        key, item = get_args(kind)
        return isinstance(value, Mapping) and all(fits(k, key) and fits(v, item) for k, v in value.items())
    kind = get_origin(kind) or kind
    return isinstance(value, kind) if isinstance(kind, type) else True


def _has_bytes(text: str) -> bool:
    """Whether a text can be given to the system, as a name or an option; half a pair of UTF-16 cannot."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def in_words(kind: Any) -> str:  # noqa: ANN401
    """What an annotated type asks for."""
    if isinstance(kind, UnionType):
        kinds = [one for one in get_args(kind) if one is not str or Path not in get_args(kind)]
        return " or ".join(map(in_words, kinds))
    if get_origin(kind) is tuple:
        return f"a pair of {', '.join(map(in_words, get_args(kind)))}"
    if get_origin(kind) is Callable:
        return "a function"
    if get_origin(kind) is Mapping:
        return f"a mapping of {' to '.join(map(in_words, get_args(kind)))}"
    return WORDS.get(kind) or str(getattr(kind, "__name__", kind))


def shown(value: object) -> str:
    """A value in an error message, on one line and in not too many characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # whatever a stranger's class does; of huge numbers Python refuses to print digits
        text = f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
    return text if len(text) <= 80 else f"{text[:77]}..."
