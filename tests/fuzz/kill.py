# SPDX-License-Identifier: MIT
"""Encodes that are killed at a random moment: the old output is intact, or the new one is there, whole."""

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CLIP = Path(__file__).parents[2] / "codec" / "sample" / "bunny.mp4"
WORDS = ("--mode", "bitfree", "--preset", "ultrafast", "--frames", "3", "--no-metrics", "--model", "tiny")


def killed(count: int, seed: int, *, first: int = 0) -> dict[str, int]:
    """How often the output was the old one, the new one, or absent, after so many kills. AssertionError for others."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.ncm"
        start = time.monotonic()
        _encode(output).wait()
        whole, took = output.read_bytes(), time.monotonic() - start
        outcomes: Counter[str] = Counter()
        for number in range(first, first + count):
            rng = random.Random(f"{seed}-{number}")
            old = rng.choice((b"", b"what was there before"))
            output.unlink(missing_ok=True)
            if old:
                output.write_bytes(old)
            process = _encode(output)
            time.sleep(rng.uniform(0, 1.1 * took))
            process.kill()
            process.wait()
            found = output.read_bytes() if output.exists() else b""
            assert found in (old, whole), f"kill {number} left {len(found)} bytes, neither the old nor the new output"
            outcomes["new" if found == whole else "old" if old else "absent"] += 1
        return dict(outcomes)


def _encode(output: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "codec.cli", "encode", str(CLIP), "-o", str(output), *WORDS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
