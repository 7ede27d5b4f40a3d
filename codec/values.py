# SPDX-License-Identifier: MIT
"""Words of the command line, and of file names, as values. Each function raises InputError for what is none."""

import re
from fractions import Fraction

from .errors import InputError


def parse_frame_rate(text: str) -> Fraction:
    """Frames a second of '25', '30000/1001' or '29.97'; decimals near an NTSC rate mean it."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise InputError(f"frame rate {text!r} is not a positive number; write it like 25, 29.97 or 30000/1001")
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return ntsc if "." in text and rate.denominator > 1 and abs(rate - ntsc) < Fraction(6, 1000) else rate


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of '416x240'."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise InputError(f"{text!r} is not a size such as 416x240")
    return int(match[1]), int(match[2])


def parse_count(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise InputError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_bitrate(text: str) -> int:
    """Bits a second of '800k' or '1.5M'."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", text, re.ASCII)
    rate = round(float(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]) if match else 0
    if not rate:
        raise InputError(f"{text!r} is not a rate in bits a second such as 800k or 1.5M")
    return rate
