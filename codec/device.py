# SPDX-License-Identifier: MIT
"""The device that networks run on, and how they are kept repeatable there."""

import torch

from .errors import InputError

# On a GPU convolutions would otherwise keep ten bits of a float (TF32), and may sum in another order the next time:
# the B-frames of two machines, or of two runs, would differ by more than a level here and there.
repeatable = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def choose_device(name: str, *, exact: bool = False) -> torch.device:
    """The device of this name; 'auto' is CUDA where there is one. InputError if torch does not know or have it.

    `exact` asks for one that has float64, in which networks of whole numbers are carried; Apple's GPUs do not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device, dtype=torch.float64 if exact else torch.float32)
    except (RuntimeError, AssertionError, TypeError) as err:
        raise InputError(f"--device {name!r} cannot be used here ({str(err).splitlines()[0]}); try cpu") from err
    return device
