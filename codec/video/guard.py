# SPDX-License-Identifier: MIT
"""What an encoder that opens may do to the rest of the process, and how that is kept from it."""

import locale
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

THREADS = Path("/proc/self/task")  # on Linux
# The logging of libav is global to the process, and no encoder opens safely beside another.
_opening = threading.Lock()


@contextmanager
def process_unchanged() -> Iterator[None]:
    """One encoder opens at a time; it reads numbers as C writes them, and leaves the priority of threads alone."""
    with _opening, _decimal_points(), _same_scheduling():
        yield


@contextmanager
def _decimal_points() -> Iterator[None]:
    """Numbers as C writes them: encoders read their settings by the locale, and some locales have a decimal comma."""
    if locale.localeconv()["decimal_point"] == ".":
        yield
        return
    before = locale.setlocale(locale.LC_NUMERIC)
    locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


@contextmanager
def _same_scheduling() -> Iterator[None]:
    """Every thread scheduled as before, and new ones as the caller's.

    SVT-AV1 makes all threads real-time ones where it may, as root may in a container. Then networks, and whatever
    else this process does, would leave no time to other processes of the machine.
    """
    before = _scheduling()
    try:
        yield
    finally:
        for thread, now in _scheduling().items():
            policy, parameters = before.get(thread, before[threading.get_native_id()])
            if (policy, parameters) != now:
                with suppress(OSError):  # the thread has ended
                    os.sched_setscheduler(thread, policy, parameters)


def _scheduling() -> dict[int, tuple[int, "os.sched_param"]]:
    """Policy and parameters of every thread of this process; none where the system does not tell."""
    found = {}
    for thread in (int(path.name) for path in THREADS.iterdir()) if THREADS.is_dir() else ():
        with suppress(OSError):
            found[thread] = os.sched_getscheduler(thread), os.sched_getparam(thread)
    return found
