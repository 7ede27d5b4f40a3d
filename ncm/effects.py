# SPDX-License-Identifier: MIT
"""What can be done with a network on plain pictures: frames between and after, slow motion, motion blur.

    import ncm

    middle = ncm.interpolate(a, b)
    quarter = ncm.interpolate(a, b, 0.25, network=ncm.load("lite"))
    slow = list(ncm.slow_motion(frames, 4))

Pictures are numpy arrays (H,W,3) or (N,H,W,3), or tensors (3,H,W) or (N,3,H,W); uint8, uint16 or floats in [0,1]. Sizes
are any. Answers have the form, type and device of what was given.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, partial

import torch
from torch import Tensor

from . import arguments
from .light import from_light, to_light
from .network import FrameSynthesis
from .pictures import Pictures, like, padded, to_rgb
from .weights import load

DEFAULTS = {"interpolation": "base", "extrapolation": "extrapolate"}
FINEST = 32  # parts of the time between two frames that are found by halving
WHOLE_TURN = 360.0  # degrees of a shutter that is open from one frame to the next


def interpolate(
    a: Pictures, b: Pictures, t: float | Tensor = 0.5, *, network: FrameSynthesis | None = None
) -> Pictures:
    """The frames at time t, a number in (0,1) or (N,), between a (at 0) and b (at 1), in the form of a.

    `network` is `base` on the device of a, unless given. ValueError if sizes, times or the network's task do not fit,
    TypeError if an argument is of another kind.
    """
    past, future, model, size = _prepared(a, b, network, "interpolation")
    return like(a, _between(past, future, model, size, arguments.times(t, len(past)).to(past.device)))


def extrapolate(a: Pictures, b: Pictures, *, network: FrameSynthesis | None = None) -> Pictures:
    """The frames that come as long after b as b comes after a, in the form of a (paper, A.3).

    `network` is `extrapolate` on the device of a, unless given. ValueError if sizes or the network's task do not fit.
    """
    return like(a, _between(*_prepared(a, b, network, "extrapolation"), 0.5))


def slow_motion(
    frames: Iterable[Pictures], factor: float | Fraction, *, network: FrameSynthesis | None = None
) -> Iterator[Pictures]:
    """Frames 1/factor apart in time from the first frame on, up to the last; frames of the source are given unchanged.

    Neither cuts nor repeated frames are looked for; the command `codec slowmo` does. Times such as 1/8 are made by
    halving, see `at_time`. ValueError if factor is not above 0, TypeError if it is no number.
    """
    step, position = 1 / arguments.fraction("factor", factor), Fraction(0)
    past: Pictures | None = None
    for index, frame in enumerate(frames):
        prepared, known = None, dict[Fraction, Tensor]()
        while position <= index:
            if past is None or position == index:
                yield frame
            else:
                prepared = prepared or _prepared(past, frame, network, "interpolation")
                a, b, model, size = prepared
                known = known or {Fraction(0): a, Fraction(1): b}
                made = at_time(position - index + 1, known, partial(_frame, model))
                yield like(past, made[..., : size[0], : size[1]])
            position += step
        past = frame


def at_time(
    time: Fraction, known: dict[Fraction, Tensor], between: Callable[[Tensor, Tensor, float], Tensor]
) -> Tensor:
    """The frame at a time in [0,1], which joins the `known` ones; of these 0 and 1 are there from the start.

    1/2, 1/4, ... up to 1/32 and their multiples are made halfway between their neighbours on that grid, which is better
    than from 0 and 1 by what docs/applications.md says. All other times are made from 0 and 1.
    """
    if time not in known:
        parts = time.denominator
        if parts <= FINEST and parts & (parts - 1) == 0:
            low, high = (at_time(time + side * Fraction(1, parts), known, between) for side in (-1, 1))
            known[time] = between(low, high, 0.5)
        else:
            known[time] = between(known[Fraction(0)], known[Fraction(1)], float(time))
    return known[time]


def motion_blur(
    a: Pictures, b: Pictures, *, samples: int = 31, shutter: float = 180.0, network: FrameSynthesis | None = None
) -> Pictures:
    """What a shutter sees that opens at a and is open for so many of the 360 degrees from a to b, in the form of a.

    It is the mean, in linear light of sRGB, of frames spread evenly over that time (paper, D.1, where it is all of it).
    ValueError if there are no samples, or if the shutter is not in (0,360].
    """
    times = exposure(samples, shutter)
    past, future, model, size = _prepared(a, b, network, "interpolation")
    light = torch.zeros_like(past[..., : size[0], : size[1]])
    for time in times:
        light += to_light(_between(past, future, model, size, time))
    return like(a, from_light(light / samples))


def exposure(samples: int, shutter: float) -> Sequence[float]:
    """The times in (0,1) of the samples of a shutter's opening. ValueError if there are none, or no such shutter."""
    samples, opening = arguments.count("samples", samples), float(arguments.fraction("shutter", shutter)) / WHOLE_TURN
    if opening > 1:
        raise ValueError(f"shutter is {shutter}; give degrees above 0 and up to 360")
    return [opening * k / (samples + 1) for k in range(1, samples + 1)]


@torch.inference_mode()
def _frame(network: FrameSynthesis, past: Tensor, future: Tensor, time: float | Tensor) -> Tensor:
    """RGB that a network makes of padded pictures."""
    return network(past, future, time).frame


def _between(
    past: Tensor, future: Tensor, network: FrameSynthesis, size: tuple[int, int], time: float | Tensor
) -> Tensor:
    """The same without the padding: (N,3,*size)."""
    return _frame(network, past, future, time)[..., : size[0], : size[1]]


def _prepared(
    a: Pictures, b: Pictures, network: FrameSynthesis | None, task: str
) -> tuple[Tensor, Tensor, FrameSynthesis, tuple[int, int]]:
    """Both pictures padded on the network's device, the network, and (height, width). ValueError if they do not fit."""
    if network is None:
        network = _default(DEFAULTS[task], a.device if isinstance(a, Tensor) else torch.device("cpu"))
    if not isinstance(network, FrameSynthesis):
        raise TypeError(f"network is {network!r:.60}; give one that ncm.load or ncm.build has made")
    if network.config.task != task:
        raise ValueError(f"this network is made for {network.config.task}, not for {task}")
    device = next(network.parameters()).device
    past, future = to_rgb(a, device), to_rgb(b, device)
    if past.shape != future.shape:
        raise ValueError(f"pictures of {tuple(past.shape)} and {tuple(future.shape)}: give two of one size")
    size = past.shape[-2], past.shape[-1]
    return padded(past, network.multiple), padded(future, network.multiple), network, size


@lru_cache(maxsize=4)
def _default(name: str, device: torch.device) -> FrameSynthesis:
    return load(name, device)
