"""Memory that was freed is used again, and not asked of the system for every picture."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from codec.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
keep_freed_memory()
faults()  # the heap grows until it holds what is in use at a time
print(first, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc that is told")
def test_a_process_keeps_what_it_freed():
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split())
    if before < 1000:
        pytest.skip("this C library keeps memory anyway")
    assert after < before / 10
