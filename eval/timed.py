# SPDX-License-Identifier: MIT
"""Run the command `codec` in this process, and note what it took: python -m eval.timed REPORT encode IN -o OUT ...

The clock starts when torch is imported; the peak of the memory is the process's own. The exit status is the command's.
"""

import json
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import NamedTuple

import codec  # noqa: F401  (imported before the clock starts)


class Took(NamedTuple):
    """Seconds of a command, and its peak resident memory in 10^6 bytes."""

    seconds: float
    memory: float


def main() -> int:
    """Run what the command line says; the report appears only if it ends well."""
    report, *words = sys.argv[1:]
    sys.argv = ["codec", *words]
    start = time.perf_counter()
    try:
        runpy.run_module("codec.cli", run_name="__main__")
    except SystemExit as end:
        if end.code:
            return int(end.code)
    took = Took(time.perf_counter() - start, peak_memory())
    Path(report).write_text(json.dumps(took))
    return 0


def peak_memory() -> float:
    """The peak resident set of this process so far, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # not from getrusage: what it says of a process includes its parent's size before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
