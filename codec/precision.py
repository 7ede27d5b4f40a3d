# SPDX-License-Identifier: MIT
"""Names of what networks compute in. Nothing here loads torch."""

from .errors import InputError

AUTO, FP32, BF16 = PRECISIONS = "auto", "fp32", "bf16"


def check_precision(name: str) -> None:
    """InputError if there is no precision of this name."""
    if name not in PRECISIONS:
        raise InputError(f"--precision {name!r} is none; choose from {', '.join(PRECISIONS)}")
