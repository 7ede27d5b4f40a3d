# SPDX-License-Identifier: MIT
"""Options of the file header: what only some streams need to say, packed and read back by the tables of syntax.py."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import VersionError
from .fields import Cursor, Values, pack, put_uint, unpack
from .syntax import OPTIONS, SKIPPABLE, Option


def pack_options(values: Mapping[str, Values], options: Iterable[Option] = OPTIONS) -> bytes:
    """Options by name, in the order of their tags: tag, length, fields. ValueError if one cannot be written."""
    known = {option.name: option for option in options}
    if unknown := values.keys() - known.keys():
        raise ValueError(f"the file header has no option {min(unknown)}")
    out = bytearray()
    for option in sorted((known[name] for name in values), key=lambda option: option.tag):
        body = pack(option.fields, values[option.name])
        out += put_uint(option.tag) + put_uint(len(body)) + body
    return bytes(out)


def read_options(data: bytes, options: Iterable[Option] = OPTIONS) -> dict[str, dict[str, Any]]:
    """Options by name. StreamError if they are damaged; VersionError if one has to be known and is not.

    An unknown option whose tag is SKIPPABLE or more is passed over.
    """
    known = {option.tag: option for option in options}
    cursor, last = Cursor(data, "file header"), 0
    values: dict[str, dict[str, Any]] = {}
    while cursor.left:
        tag, body = cursor.uint(), cursor.take(cursor.uint())
        if tag <= last:
            raise cursor.fail(f"option {tag} follows option {last}")
        last = tag
        if option := known.get(tag):
            values[option.name] = unpack(option.fields, body, f"file header, option {option.name}")
        elif tag < SKIPPABLE:
            raise VersionError(
                f"the stream needs option {tag} of the file header; a newer version of this program has it"
            )
    return values
