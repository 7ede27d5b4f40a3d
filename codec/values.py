# SPDX-License-Identifier: MIT
"""Words of the command line, and of file names, as values. Each function raises InputError for what is none."""

import math
import re
from fractions import Fraction

from .errors import InputError

NUMBER = re.compile(r"\d{1,9}(/\d{1,9})?|\d{0,9}\.\d{1,20}", re.ASCII)
LARGEST_DENOMINATOR = 10**9
MAX_TERM = (1 << 31) - 1  # of a rate or a unit of time as a fraction: what containers can say
FINEST_TIME = 10**6


def parse_frame_rate(text: str) -> Fraction:
    """Frames a second of '25', '30000/1001' or '29.97'; decimals near an NTSC rate mean it."""
    rate = fraction_of(text)
    if not rate:
        raise InputError(f"frame rate {text!r} is not a positive number; write it like 25, 29.97 or 30000/1001")
    rate = rate.limit_denominator(LARGEST_DENOMINATOR)
    ntsc = Fraction(round(rate * 1001 / 1000) * 1000, 1001)
    return ntsc if "." in text and rate.denominator > 1 and abs(rate - ntsc) < Fraction(6, 1000) else rate


def fraction_of(text: str) -> Fraction:
    """The number of '25', '30000/1001' or '29.97', and 0 of what is none; digits are few enough to reckon with."""
    try:
        return Fraction(text) if NUMBER.fullmatch(text) else Fraction(0)
    except ZeroDivisionError:
        return Fraction(0)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of '416x240'."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise InputError(f"{text!r} is not a size such as 416x240")
    return int(match[1]), int(match[2])


Place = int | float | Fraction | str  # in a video: seconds, or text as parse_place takes it


def parse_place(text: str) -> str:
    """The text, if it is a place in a video: a time as '70', '1:10' or '0:01:10.5', or a frame as '300f'."""
    place_of(text)
    return text


def place_of(place: Place) -> tuple[int | None, Fraction]:
    """A place in a video as a frame's number, or as a time in seconds with None for the number."""
    if not isinstance(place, str):
        if not 0 <= place < math.inf:
            raise InputError(f"{place} is no time in a video; give seconds from 0 on")
        return None, Fraction(place).limit_denominator(FINEST_TIME)  # 0.36 as a float is a little less
    if frame := re.fullmatch(r"(\d{1,18})f", place, re.ASCII):
        return int(frame[1]), Fraction(0)
    time = re.fullmatch(r"(?:(?:(\d{1,6}):)?(\d{1,9}):)?(\d{1,12}(?:\.\d{1,12})?)", place, re.ASCII)
    if not time:
        raise InputError(f"{place!r} is no place in a video; write a time like 70.5 or 1:10.5, or a frame like 300f")
    hours, minutes, seconds = (Fraction(part or 0) for part in time.groups())
    return None, 3600 * hours + 60 * minutes + seconds


def parse_count(text: str) -> int:
    """A whole number above 0."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) == 0:
        raise InputError(f"{text!r} is not a whole number above 0")
    return int(text)


def parse_whole(text: str) -> int:
    """A whole number, 0 or more."""
    if not (text.isascii() and text.isdecimal()):
        raise InputError(f"{text!r} is not a whole number")
    return int(text)


def parse_bitrate(text: str) -> int:
    """Bits a second of '800k' or '1.5M'."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([kM]?)", text, re.ASCII)
    rate = round(float(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]) if match else 0
    if not rate:
        raise InputError(f"{text!r} is not a rate in bits a second such as 800k or 1.5M")
    return rate
