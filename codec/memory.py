# SPDX-License-Identifier: MIT
"""How the process treats memory that was freed."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of glibc's mallopt
LARGEST = 2**31 - 1  # bytes kept for the next picture


def keep_freed_memory() -> None:
    """Have the C library keep what networks free, for all of this process; does nothing where that is not glibc.

    It would give every large tensor back to the system, only to ask for another one of that size right away: more than
    a quarter of the time that a picture of 1920x1080 takes goes into that. The command calls it; programs that code
    large pictures may, before all else.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(MMAP_MAX, 0)
    mallopt(TRIM_THRESHOLD, LARGEST)
