# SPDX-License-Identifier: MIT
"""How quantisers and entropy models begin, from the lambdas that a codec is trained for."""

import math
from collections.abc import Sequence

from entropy import LatentCoder

FIRST_SCALE = 0.15  # of latents before training, in quantiser steps


def check_lambdas(lambdas: Sequence[float]) -> None:
    """ValueError unless they are positive and rise: one a quality, lambda * MSE + bits a pixel."""
    if not lambdas or min(lambdas) <= 0 or list(lambdas) != sorted(lambdas):
        raise ValueError(f"lambdas is {lambdas}; it holds positive numbers, rising")


def quantiser_span(lambdas: Sequence[float]) -> float:
    """The finest quantiser over the coarsest, as high-rate theory has it."""
    return math.sqrt(lambdas[-1] / lambdas[0])


def quantiser_step(lambdas: Sequence[float]) -> float:
    """The best uniform quantiser step at the middle lambda, for orthonormal coefficients of RGB in [0,1].

    Minimises lambda * step^2 / 12 / 3 - log2(step): the MSE is a mean over three colours, bits are a pixel's.
    """
    return math.sqrt(18 / math.log(2) / math.sqrt(lambdas[0] * lambdas[-1]))


def latent_coder(
    channels: int,
    lambdas: Sequence[float],
    *,
    hyper: int,
    width: int,
    scale_width: int = 0,
    context: int = 0,
    exact_context: int = 0,
) -> LatentCoder:
    """An entropy model that says zero where nothing is sent, and begins with small scales."""
    coder = LatentCoder(
        channels,
        hyper=hyper,
        width=width,
        scale_width=scale_width,
        context=context,
        exact_context=exact_context,
        qualities=len(lambdas),
        span=quantiser_span(lambdas),
    )
    coder.expect_zeros(FIRST_SCALE)
    return coder
