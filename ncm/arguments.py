# SPDX-License-Identifier: MIT
"""What callers give beside pictures, checked: errors name the argument."""

import math
import operator
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

import torch
from torch import Tensor

MOST_PARTS = 100_000  # 1.1 is 11/10, not the float nearest to it


def fraction(name: str, value: object) -> Fraction:
    """A number above 0, to five digits behind the point.

    TypeError if it is no number, ValueError if it is not above 0 or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r:.60}; give a number")
    try:
        exact = Fraction(value) if isinstance(value, Rational) else Fraction(float(value))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{name} is {value!r:.60}; give a finite number") from error
    if (found := exact.limit_denominator(MOST_PARTS)) <= 0:
        raise ValueError(f"{name} is {value!r:.60}; give one above 0")
    return found


def count(name: str, value: Any) -> int:  # noqa: ANN401
    """A whole number from 1. TypeError if it is none, ValueError if it is below 1."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} is {value!r:.60}; give a whole number") from error
    if number < 1:
        raise ValueError(f"{name} is {value!r:.60}; give 1 or more")
    return number


def times(value: Any, pairs: int) -> Tensor:  # noqa: ANN401
    """t as a tensor () or (N,) of float32. TypeError if it is no number, ValueError if it is not in (0,1)."""
    try:
        t = torch.as_tensor(_plain(value), dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"t is {value!r:.60}; give a number, or one for each pair of pictures") from error
    if t.shape not in ((), (1,), (pairs,)):
        raise ValueError(f"t has the shape {tuple(t.shape)}; give one number, or one for each of {pairs} pairs")
    if not bool(((t > 0) & (t < 1)).all()):
        raise ValueError(f"t is {value!r:.60}; give a time between 0 and 1, the times of both pictures")
    return t


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Fractions as floats: torch knows none. What no float can hold is as good as infinite."""
    try:
        return float(value) if isinstance(value, Real) else value
    except OverflowError:
        return math.inf
