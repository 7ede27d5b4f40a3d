# SPDX-License-Identifier: MIT
"""Peak memory of a piece of work."""

import ctypes
import gc
import math
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most memory that the block takes beyond what was there before, in 10^6 bytes, as `peak`.

    Of a GPU what torch allocates; of a CPU the growth of the resident set, which only Linux tells: NaN elsewhere.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak = math.nan
        self._before = math.nan

    def __enter__(self) -> Self:
        gc.collect()
        if self.device.type == "cuda":
            self._before = self._now("VmRSS")
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError, AttributeError):  # what malloc keeps for later would not count as growth
                ctypes.CDLL(None).malloc_trim(0)
            with suppress(OSError):
                RESET.write_text("5")
            self._before = self._now("VmRSS")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peak = (self._now("VmHWM") - self._before) / 1e6

    def _now(self, what: str) -> float:
        """Bytes in use (VmRSS), or at most since the reset (VmHWM)."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            if what == "VmRSS":
                return float(torch.cuda.memory_allocated(self.device))
            return float(torch.cuda.max_memory_allocated(self.device))
        if not STATUS.exists() or not RESET.exists():
            return math.nan
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{what}:"))
        return float(line.split()[1]) * 1024
