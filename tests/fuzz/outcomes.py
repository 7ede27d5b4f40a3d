# SPDX-License-Identifier: MIT
"""What becomes of a stream that was tampered with.

Whatever breaks a promise raises: an exception that is no CodecError, an AssertionError for what is shown, SlowError for
what takes too long.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from codec.container.opening import info
from codec.container.remux import remux
from codec.decoder import assembly
from codec.decoder.video import Video
from codec.errors import CodecError, DamageError, StreamError
from codec.models.open import load_fingerprint

PARSE_SECONDS, DECODE_SECONDS = 5, 60  # of processor time; the streams are small


class SlowError(Exception):
    """It took more time than a stream of this size may."""


def parsed(path: Path) -> str:
    """'whole', 'damaged' or 'refused': what `codec info` says of a stream."""
    with _timed(PARSE_SECONDS):
        try:
            found = info(path)
        except StreamError as error:
            assert str(error) and "\n" not in str(error)
            return "refused"
    pocs = [frame.poc for frame in found.frames]
    assert pocs == sorted(set(pocs)) and list(found.pts) == sorted(set(found.pts))
    return "damaged" if found.damage else "whole"


def decoded(path: Path) -> str:
    """'whole', 'damaged' or 'refused': what becomes of a stream that is decoded."""
    with patch.object(assembly, "load_fingerprint", _load), _timed(DECODE_SECONDS):  # a model once for all streams
        try:
            with Video(path, device="cpu") as video:
                times = [frame.pts for frame in video]
                problems = video.problems
        except CodecError as error:
            assert str(error) and "\n" not in str(error)
            return "refused"
    assert times and times == sorted(set(times))
    return "damaged" if problems else "whole"


def remuxed(path: Path) -> str:
    """'whole', 'damaged' or 'refused': what becomes of a stream that is put into a film, and into .ncm again."""
    with tempfile.TemporaryDirectory() as folder, _timed(PARSE_SECONDS):
        film, back = Path(folder) / "film.mkv", Path(folder) / "back.ncm"
        there, again = _remuxed(path, film), _remuxed(film, back)
        assert {*Path(folder).iterdir()} <= {film, back}
        if there == again == "whole":
            assert len(info(back).frames) == len(info(path).frames)  # nothing is lost without a word
        if path.suffix == ".ncm" and there == parsed(path) == "whole":
            assert back.read_bytes() == path.read_bytes()
    return there


def _remuxed(source: Path, target: Path) -> str:
    try:
        remux(source, target)
    except DamageError:
        assert target.exists()
        return "damaged"
    except CodecError as error:
        assert str(error) and "\n" not in str(error) and not target.exists()
        return "refused"
    return "whole"


@contextmanager
def _timed(seconds: float) -> Iterator[None]:
    """SlowError if the block takes more processor time, however it ends."""
    start = time.process_time()
    try:
        yield
    finally:
        if (took := time.process_time() - start) > seconds:
            raise SlowError(f"{took:.1f} s")


_load: Callable[..., object] = cache(load_fingerprint)
