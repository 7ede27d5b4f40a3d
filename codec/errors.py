# SPDX-License-Identifier: MIT
"""What can go wrong, as one tree.

CodecError                  one clear line for the user; exit status 2
├── InputError              a video or option that cannot be used as given
├── OutputError             a destination that cannot be written
├── StreamError             not an .ncm stream, or one that is damaged beyond concealment
│   └── VersionError        written by a newer version of the format
├── ModelError              weights that are missing, unknown or do not fit
├── AnchorError             an anchor encoder or decoder that is missing or refuses
├── WorkerError             a worker process that fails, or workers that die
└── DamageError             decoded, but some pictures were concealed; exit status 1
"""

from collections.abc import Sequence


class CodecError(Exception):
    """Base of all errors meant for the user: names the file, what was found and what to do."""

    exit_status = 2


class InputError(CodecError):
    """A video or an option that cannot be used as given."""


class OutputError(CodecError):
    """A destination that cannot be written."""


class StreamError(CodecError):
    """Not an .ncm stream, or one that is damaged beyond concealment."""


class VersionError(StreamError):
    """A stream written by a newer version of the format."""


class ModelError(CodecError):
    """Weights that are missing, unknown or do not fit their network."""


class AnchorError(CodecError):
    """An anchor encoder or decoder that is missing or refuses its input."""


class WorkerError(CodecError):
    """A worker process that fails where none should, or workers that die one after another."""


class DamageError(CodecError):
    """The stream was read, but parts of it are damaged: pictures are concealed or missing."""

    exit_status = 1

    @classmethod
    def of(cls, name: str, problems: Sequence[str], remedy: str) -> "DamageError":
        """The first of several problems with a stream, and how many more there are."""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return cls(f"{name}: {problems[0]}{more}; {remedy}")
