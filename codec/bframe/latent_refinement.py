# SPDX-License-Identifier: MIT
"""Encoder-side refinement: the latents of one frame moved down the gradient of its own rate-distortion cost.

The networks answer well for pictures like those they were trained on; one picture can do better (Campos et al.,
"Content adaptive optimization for neural image compression", 2019). The decoder knows nothing of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from entropy import Coded, Prior, Tape

from .records import Trial

RATE = 0.05  # quantiser steps that a latent moves at most in the first step; the last moves none
CALM = 20.0  # bits a quantiser step: latents with smaller gradients move less, or all zeros would turn into symbols
Shifts = dict[str, Tensor]


class Shifted:
    """A tape that moves latents, by name, before another tape codes them; names not seen yet begin at zero."""

    def __init__(self, tape: Tape, shifts: Shifts) -> None:
        self.tape, self.shifts = tape, shifts

    def code(self, name: str, y: Tensor | None, prior: Prior, rdoq_lambda: float | Tensor | None = None) -> Coded:
        """Code y, moved by the shifts of this name, on the other tape; return what that returns, symbols and value.

        Shifts not seen yet are zeros of the shape of y, with gradient; y itself gets none. ValueError without y.
        """
        if y is None:
            raise ValueError(f"{name}: nothing to move without the latent")
        if name not in self.shifts:
            self.shifts[name] = torch.zeros_like(y, requires_grad=True)
        y = y.detach() + self.shifts[name]
        return self.tape.code(name, y, prior, rdoq_lambda)


def refine(
    attempt: Callable[[Shifts], list[Trial]], cost: Callable[[Shifts], Tensor], *, steps: int
) -> list[list[Trial]]:
    """What the encoder has tried of some frames, as is first, then after each step.

    `cost` is differentiable, in bits.
    """
    shifts: Shifts = {}
    trials = [attempt(shifts)]
    optimiser: torch.optim.Optimizer | None = None
    for step in range(steps):
        with torch.enable_grad():
            gradients = torch.autograd.grad(cost(shifts), list(shifts.values()), allow_unused=True)
        optimiser = optimiser or torch.optim.Adam(shifts.values(), betas=(0.8, 0.95), eps=CALM)
        for shift, gradient in zip(shifts.values(), gradients, strict=True):
            shift.grad = gradient
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimiser.step()
        trials.append(attempt(shifts))
    return trials
