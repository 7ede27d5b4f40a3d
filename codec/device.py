# SPDX-License-Identifier: MIT
"""The device that networks run on, and how they are kept repeatable there."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .arguments import checked
from .errors import InputError
from .precision import AUTO, BF16, check_precision

# On a GPU convolutions would otherwise keep ten bits of a float (TF32), and may sum in another order the next time:
# the B-frames of two machines, or of two runs, would differ by more than a level here and there.
repeatable = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


@checked
def choose_device(name: str, *, exact: bool = False) -> torch.device:
    """The device of this name; 'auto' is CUDA where there is one. InputError if torch does not know or have it.

    `exact` asks for one that has float64, in which networks of whole numbers are carried; Apple's GPUs do not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device, dtype=torch.float64 if exact else torch.float32).cpu()  # "meta" gives none back
    except (RuntimeError, AssertionError, TypeError) as err:
        raise InputError(f"--device {name!r} cannot be used here ({str(err).splitlines()[0]}); try cpu") from err
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16; a CPU without AVX-512 emulates it, ten times slower than float32."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def is_half(precision: str, device: torch.device, *, streams: bool) -> bool:
    """Whether to compute in bfloat16: as the name of a precision says. InputError if there is none of this name.

    By default as the stream was made, where the device need not emulate it.
    """
    check_precision(precision)
    return streams and has_bfloat16(device) if precision == AUTO else precision == BF16


class _OneThread:
    """Counts who wants torch to use one thread; the last to leave restores what was."""

    def __init__(self) -> None:
        self._lock, self._count, self._before = threading.Lock(), 0, 1

    def enter(self) -> None:
        """One more wants it."""
        with self._lock:
            if not self._count:
                self._before = torch.get_num_threads()
                torch.set_num_threads(1)
            self._count += 1

    def leave(self) -> None:
        """One less does."""
        with self._lock:
            self._count -= 1
            if not self._count:
                torch.set_num_threads(self._before)


_ONE_THREAD = _OneThread()


@contextmanager
def one_thread() -> Iterator[None]:
    """torch uses one thread in this process, so that sums are rounded as a worker process rounds them."""
    _ONE_THREAD.enter()
    try:
        yield
    finally:
        _ONE_THREAD.leave()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
