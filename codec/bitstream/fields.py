# SPDX-License-Identifier: MIT
"""The codes that fields of an .ncm stream are written in, and tables of such fields packed into bytes and read back.

Writer, reader, `codec info` and docs/stream.md all go by the tables of syntax.py, so they cannot disagree.
"""

import reprlib
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from ..errors import StreamError
from .limits import Budget

MAX_UINT = (1 << 56) - 1  # leaves room for six bits of width in a list's first varint
MAX_TEXT = 512
MAX_LIST = 1 << 22  # a list of equal numbers takes no space, so its length needs a bound of its own

Values = Mapping[str, Any]


class Cursor:
    """Reads bytes from the front; StreamError, naming `what`, instead of running off the end.

    `budget` bounds the lists that take no bytes.
    """

    def __init__(self, data: bytes, what: str, budget: Budget | None = None) -> None:
        self._data, self._what, self.position = data, what, 0
        self._budget = budget or Budget()

    def fail(self, problem: str) -> StreamError:
        """An error that says what was read."""
        return StreamError(f"{self._what}: {problem}")

    @property
    def left(self) -> int:
        """Number of bytes that have not been read yet."""
        return len(self._data) - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes. StreamError if fewer are left."""
        if size > self.left:
            raise self.fail(f"wanted {size} bytes at {self.position}, {self.left} are left")
        self.position += size
        return self._data[self.position - size : self.position]

    def uint(self) -> int:
        """The next number: a varint of seven bits a byte, low bits first, below 2^63.

        StreamError if it is larger or ends too early.
        """
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128 and value < 1 << 63:
                return value
        raise self.fail(f"the number that ends at {self.position} is too large")

    def uints(self, count: int) -> list[int]:
        """The next `count` numbers.

        They are coded as varint(64 * least + width), then each minus the least in `width` bits, low bits first.
        For no numbers there are no bytes. StreamError if there are more than MAX_LIST or the budget allows, or the
        bytes end too early.
        """
        if not 0 <= count <= MAX_LIST:
            raise self.fail(f"a list of {count} numbers at {self.position}")
        least, width = divmod(self.uint() if count else 0, 64)
        if not width:
            if not self._budget.spend(count):
                raise self.fail(f"{count} equal numbers, more than so short a stream may have")
            return [least] * count
        data = iter(self.take((count * width + 7) // 8))
        numbers = []
        pending = bits = 0
        for _ in range(count):
            while bits < width:
                pending |= next(data) << bits
                bits += 8
            numbers.append(least + (pending & ((1 << width) - 1)))
            pending, bits = pending >> width, bits - width
        return numbers

    def sints(self, count: int) -> list[int]:
        """The next `count` numbers, coded like uints, of 0, 1, 2, 3, 4, ... for 0, -1, 1, -2, 2, ..."""
        numbers = self.uints(count)
        if count and numbers.count(numbers[0]) == count:
            return [unzigzag(numbers[0])] * count
        return [*map(unzigzag, numbers)]


def put_uint(value: int) -> bytes:
    """A non-negative number, seven bits a byte, low bits first; the high bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_uints(values: Iterable[int]) -> bytes:
    """Numbers as varint(64 * least + width), then each minus the least in `width` bits, low bits first.

    Nothing for an empty list, and one or two bytes for a list of equal numbers, which most lists here are.
    """
    if not (values := list(values)):
        return b""
    least = min(values)
    width = (max(values) - least).bit_length()
    out = bytearray(put_uint(64 * least + width))
    pending = bits = 0
    for value in values:
        pending |= (value - least) << bits
        bits += width
        while bits >= 8:
            out.append(pending & 255)
            pending, bits = pending >> 8, bits - 8
    return bytes(out) + bytes([pending] if bits else [])


def zigzag(value: int) -> int:
    """0, -1, 1, -2, 2, ... as 0, 1, 2, 3, 4, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


def unzigzag(value: int) -> int:
    """0, 1, 2, 3, 4, ... as 0, -1, 1, -2, 2, ..."""
    return -(value + 1 >> 1) if value & 1 else value >> 1


class Field(NamedTuple):
    """A named element of the syntax. `count` gives a list's length from the fields before it."""

    name: str
    code: str
    meaning: str
    low: int = 0
    high: int = MAX_UINT
    choices: tuple[str, ...] = ()
    count: Callable[[Values], int] = lambda _: 0

    def fits(self, value: object) -> bool:
        """Whether the value may be written."""
        return CODES[self.code].fits(self, value)


class Code(NamedTuple):
    """How a field is written and read. `take` may return what does not fit, such as None; the caller checks."""

    meaning: str
    fits: Callable[[Field, Any], bool]
    put: Callable[[Field, Any], bytes]
    take: Callable[[Field, Cursor, int], Any]


def pack(table: Iterable[Field], values: Values) -> bytes:
    """The bytes of a table's fields. ValueError naming the field whose value does not fit."""
    out = bytearray()
    for field in table:
        value = values[field.name]
        if not field.fits(value) or (isinstance(value, list) and len(value) != field.count(values)):
            raise ValueError(f"{field.name} {reprlib.repr(value)} cannot be written; {limits(field)}")
        out += CODES[field.code].put(field, value)
    return bytes(out)


def unpack(table: Iterable[Field], data: bytes, what: str, budget: Budget | None = None) -> dict[str, Any]:
    """The values of a table's fields. StreamError, naming `what` and the field, if they are not exactly that."""
    cursor, values = Cursor(data, what, budget), dict[str, Any]()
    for field in table:
        value = CODES[field.code].take(field, cursor, field.count(values))
        if not field.fits(value):
            raise cursor.fail(f"{field.name} {reprlib.repr(value)} is not allowed; {limits(field)}")
        values[field.name] = value
    if cursor.left:
        raise cursor.fail(f"{cursor.left} bytes too many")
    return values


def limits(field: Field) -> str:
    """Which values a field allows, in words."""
    if field.choices:
        return "one of " + ", ".join(field.choices)
    if field.code in ("uint", "uints", "sint", "sints", "byte", "bytes"):
        return f"{_power(field.low)} to {_power(field.high)}"
    return {"fraction": "both parts 1 to 2^32 - 1", "text": f"at most {MAX_TEXT} bytes"}.get(field.code, "")


def _power(value: int) -> str:
    """A number for people, with large powers of two as such."""
    for near, suffix in ((value, ""), (value + 1, " - 1")):
        if abs(near) >= 1 << 20 and abs(near).bit_count() == 1:
            return f"{'-' if near < 0 else ''}2^{abs(near).bit_length() - 1}{suffix}"
    return str(value)


def _in_range(field: Field, value: object) -> bool:
    return isinstance(value, int) and field.low <= value <= field.high


def _all_in_range(field: Field, value: object) -> bool:
    return isinstance(value, list) and (not value or (field.low <= min(value) and max(value) <= field.high))


def _is_ratio(_: Field, value: object) -> bool:
    return isinstance(value, Fraction) and all(0 < part < 1 << 32 for part in (value.numerator, value.denominator))


def _take_ratio(_: Field, cursor: Cursor, __: int) -> Fraction | None:
    numerator, denominator = cursor.uint(), cursor.uint()
    return Fraction(numerator, denominator) if denominator else None


def _is_text(_: Field, value: object) -> bool:
    return isinstance(value, str) and len(value.encode("utf-8", "replace")) <= MAX_TEXT and value.isprintable()


def _take_text(_: Field, cursor: Cursor, __: int) -> str:
    return cursor.take(cursor.uint()).decode("utf-8", "surrogateescape")


def _take_choice(field: Field, cursor: Cursor, _: int) -> str | int:
    index = cursor.take(1)[0]
    return field.choices[index] if index < len(field.choices) else index


CODES = {
    "uint": Code(
        "varint: seven bits a byte, low bits first, the high bit set on all but the last; at most 10 bytes",
        _in_range,
        lambda _, value: put_uint(value),
        lambda _, cursor, __: cursor.uint(),
    ),
    "sint": Code(
        "varint of 0, 1, 2, 3, 4, ... for 0, -1, 1, -2, 2, ...",
        _in_range,
        lambda _, value: put_uint(zigzag(value)),
        lambda _, cursor, __: unzigzag(cursor.uint()),
    ),
    "byte": Code("one byte", _in_range, lambda _, value: bytes([value]), lambda _, cursor, __: cursor.take(1)[0]),
    "flag": Code(
        "one byte, 0 or 1",
        lambda _, value: isinstance(value, bool),
        lambda _, value: bytes([value]),
        lambda _, cursor, __: {0: False, 1: True}.get(byte := cursor.take(1)[0], byte),
    ),
    "choice": Code(
        "one byte: 0 for the first choice, 1 for the next, ...",
        lambda field, value: value in field.choices,
        lambda field, value: bytes([field.choices.index(value)]),
        _take_choice,
    ),
    "fraction": Code(
        "two varints, numerator and denominator",
        _is_ratio,
        lambda _, value: put_uint(value.numerator) + put_uint(value.denominator),
        _take_ratio,
    ),
    "text": Code(
        "varint of the length in bytes, then printable UTF-8",
        _is_text,
        lambda _, value: put_uint(len(value.encode())) + value.encode(),
        _take_text,
    ),
    "id": Code(
        "8 bytes",
        lambda _, value: isinstance(value, bytes) and len(value) == 8,
        lambda _, value: value,
        lambda _, cursor, __: cursor.take(8),
    ),
    "uints": Code(
        "a list whose length is known: varint of 64 * (least value) + width, then each value minus the least in "
        "`width` bits, low bits first, the last byte filled with zeros; nothing at all for an empty list",
        _all_in_range,
        lambda _, value: put_uints(value),
        lambda _, cursor, count: cursor.uints(count),
    ),
    "sints": Code(
        "like uints, of 0, 1, 2, 3, 4, ... for 0, -1, 1, -2, 2, ...",
        _all_in_range,
        lambda _, value: put_uints(map(zigzag, value)),
        lambda _, cursor, count: cursor.sints(count),
    ),
    "rest": Code(
        "all bytes up to the end of the packet's body",
        lambda _, value: isinstance(value, bytes),
        lambda _, value: value,
        lambda _, cursor, __: cursor.take(cursor.left),
    ),
}
