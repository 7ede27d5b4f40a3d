# SPDX-License-Identifier: MIT
"""Mixed precision where the device has it."""

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16; a CPU without AVX-512 emulates it, ten times slower than float32."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def mixed_precision(device: torch.device, wanted: bool) -> torch.autocast:
    """The context in which networks compute in bfloat16, if that is wanted and pays."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device))
