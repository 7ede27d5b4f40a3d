# SPDX-License-Identifier: MIT
"""Mixed precision where the device has it."""

import torch

from ..device import has_bfloat16


def mixed_precision(device: torch.device, wanted: bool) -> torch.autocast:
    """The context in which networks compute in bfloat16, if that is wanted and pays."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and has_bfloat16(device))
