# SPDX-License-Identifier: MIT
"""What motion-compensated blocks cost, and the vectors that cost least: the inner loops of the search.

Plain Python that numba compiles, once for an installation. Each block is searched by itself, so rows of blocks can be
shared out among threads, and no table of all candidates is ever in memory.
"""

import math
from typing import NamedTuple

import numpy as np

from ..compiled import Array, compiled
from .block_motion import BOTH, NETWORK, PAST
from .subpel import SHIFT, STEPS, UNIT

X = np.float32

REALITY = 2.5  # times the bits that reverse water-filling says: best of 1 to 2.5 on six clips, with chroma and without
BITS = REALITY / (2 * math.log(2))
VECTOR_BITS = 1.5  # of a component on the network's motion; 2 more for every doubling
KIND_BITS = 4.0  # of a block that is compensated or split, more than of one left to the network
ROUGH, FINE, FINEST = (np.array(steps) for steps in ((8, 4, 2), (4, 2, 1), (2, 1)))  # of a search, in quarter pixels
ONE, HALF = np.float32(1), np.float32(0.5)
C1, C2, C3, C4, C5, C6, C7 = (np.float32(math.cos(n * math.pi / 16) / 2) for n in range(1, 8))


class Pictures(NamedTuple):
    """What is searched, in rows one after the other: luma and weights of errors, (B,H,W) of this shape.

    And both references at quarter positions, (2,B,16,H+16,W+16). With these weights a coefficient pays from 1 on.
    """

    luma: Array
    weights: Array
    quarters: Array
    shape: tuple[int, int, int]


class Unit(NamedTuple):
    """Where 8x8 samples are among others: the first, and how far it is from row to row.

    Both are unsigned. A signed index might count from the end, and to look would keep loops from being vector
    instructions.
    """

    samples: Array
    first: np.uint64
    stride: np.uint64


class Place(NamedTuple):
    """A block: its sample, first row and column, and pixels to a side; and room for the error of a unit (64,)."""

    pictures: Pictures
    error: Array
    sample: int
    top: int
    left: int
    size: int


@compiled
def frequencies(a: X, b: X, c: X, d: X, e: X, f: X, g: X, h: X) -> tuple[X, X, X, X, X, X, X, X]:
    """The orthonormal DCT of eight numbers: sums of mirrored ones make the even frequencies, differences the odd."""
    s0, s1, s2, s3, d0, d1, d2, d3 = a + h, b + g, c + f, d + e, a - h, b - g, c - f, d - e
    p0, p1, m0, m1 = s0 + s3, s1 + s2, s0 - s3, s1 - s2
    return (
        C4 * (p0 + p1),
        C1 * d0 + C3 * d1 + C5 * d2 + C7 * d3,
        C2 * m0 + C6 * m1,
        C3 * d0 - C7 * d1 - C1 * d2 - C5 * d3,
        C4 * (p0 - p1),
        C5 * d0 - C1 * d1 + C7 * d2 + C3 * d3,
        C6 * m0 - C2 * m1,
        C7 * d0 - C5 * d1 + C3 * d2 - C1 * d3,
    )


@compiled
def unit_bits(x: Array) -> float:
    """Bits to code the weighted error (64,) of a unit, and what is left of it by then, in bits by the slope.

    Coefficients below the threshold are left as they are, others coded to it: reverse water-filling. The sum of their
    logarithms is the logarithm of their product. All is done in place: only so do the loops become vector
    instructions, as no pointers need be compared.
    """
    for j in range(UNIT):
        column = frequencies(x[j], x[8 + j], x[16 + j], x[24 + j], x[32 + j], x[40 + j], x[48 + j], x[56 + j])
        x[j], x[8 + j], x[16 + j], x[24 + j], x[32 + j], x[40 + j], x[48 + j], x[56 + j] = column
    for i in range(UNIT):
        for j in range(i):
            x[UNIT * i + j], x[UNIT * j + i] = x[UNIT * j + i], x[UNIT * i + j]
    for j in range(UNIT):
        row = frequencies(x[j], x[8 + j], x[16 + j], x[24 + j], x[32 + j], x[40 + j], x[48 + j], x[56 + j])
        a, b, c, d, e, f, g, h = row
        a, b, c, d, e, f, g, h = a * a, b * b, c * c, d * d, e * e, f * f, g * g, h * h
        low = (min(a, ONE) + min(b, ONE)) + (min(c, ONE) + min(d, ONE))
        x[j] = low + ((min(e, ONE) + min(f, ONE)) + (min(g, ONE) + min(h, ONE)))
        x[8 + j] = (max(a, ONE) * max(b, ONE)) * (max(c, ONE) * max(d, ONE))
        x[16 + j] = (max(e, ONE) * max(f, ONE)) * (max(g, ONE) * max(h, ONE))
    left, first, second = 0.0, 1.0, 1.0
    for j in range(UNIT):
        left += x[j]
        first *= x[8 + j]
        second *= x[16 + j]
    return (left + math.log(first) + math.log(second)) * BITS


@compiled
def mean_bits(pictures: Pictures, error: Array, sample: int, y: int, x: int, one: Unit, other: Unit) -> float:
    """Bits of the unit at (y,x) beside the mean of two predictions, which may be the same; `error` is room for it."""
    _, height, width = pictures.shape
    here, there, beside = np.uint64((sample * height + y) * width + x), one.first, other.first
    row = np.uint64(0)
    columns = len(error) // UNIT  # no constant: loops that are known to be so short become no vector instructions
    for _ in range(UNIT):
        for n in range(columns):
            j = np.uint64(n)
            mean = (one.samples[there + j] + other.samples[beside + j]) * HALF
            error[row + j] = (pictures.luma[here + j] - mean) * pictures.weights[here + j]
        here, there, beside = here + np.uint64(width), there + one.stride, beside + other.stride
        row += np.uint64(UNIT)
    return unit_bits(error)


@compiled
def unit_along(pictures: Pictures, side: int, sample: int, y: int, x: int, across: int, down: int) -> Unit:
    """The unit of a reference that a vector points at from (y,x); edges are repeated, however far away."""
    count, height, width = pictures.shape
    top = min(max(y + (down >> SHIFT), -UNIT), height) + UNIT
    left = min(max(x + (across >> SHIFT), -UNIT), width) + UNIT
    phase = STEPS * (across & (STEPS - 1)) + (down & (STEPS - 1))
    plane = (side * count + sample) * STEPS**2 + phase
    stride = width + 2 * UNIT
    first = (plane * (height + 2 * UNIT) + top) * stride + left
    return Unit(pictures.quarters, np.uint64(first), np.uint64(stride))


@compiled
def vector_bits(across: int, down: int, near: Array) -> float:
    """About how many bits a vector takes, coded off the network's motion `near` (2,)."""
    return 2 * (VECTOR_BITS + math.log2((1 + abs(across - near[0])) * (1 + abs(down - near[1]))))


@compiled
def bits_along(place: Place, side: int, other: Array, near: Array, across: int, down: int, limit: float) -> float:
    """Bits of a vector to one reference, and of what it lacks, alone or in the mean with another prediction.

    That is `other` (size*size,), or (0,) for none. From `limit` on the sum does not matter.
    """
    pictures, error, sample, top, left, size = place
    bits = vector_bits(across, down, near)
    for i in range(0, size, UNIT):
        for j in range(0, size, UNIT):
            if bits < limit:
                unit = unit_along(pictures, side, sample, top + i, left + j, across, down)
                beside = Unit(other, np.uint64(i * size + j), np.uint64(size)) if len(other) else unit
                bits += mean_bits(pictures, error, sample, top + i, left + j, unit, beside)
    return bits


@compiled
def first_of(place: Place, side: int, other: Array, near: Array, starts: Array, best: Array) -> float:
    """Into `best` (2,): that of vectors (K,2) to one reference that takes the fewest bits, which come back."""
    least = math.inf
    for n in range(len(starts)):
        tried = False
        for m in range(n):  # the blocks around often move alike
            tried = tried or (starts[m, 0] == starts[n, 0] and starts[m, 1] == starts[n, 1])
        if not tried:
            bits = bits_along(place, side, other, near, starts[n, 0], starts[n, 1], least)
            if bits < least:
                best[0], best[1], least = starts[n, 0], starts[n, 1], bits
    return least


@compiled
def improved(place: Place, side: int, other: Array, near: Array, best: Array, least: float, steps: Array) -> float:
    """Move a vector `best` (2,) by smaller and smaller steps as long as that pays: right or left, then down or up.

    It took `least` bits before; what it takes then comes back.
    """
    for step in steps:
        for axis in range(2):
            for sign in (1, -1):
                across, down = best[0] + sign * step * (axis == 0), best[1] + sign * step * (axis == 1)
                bits = bits_along(place, side, other, near, across, down, least)
                if bits < least:
                    best[0], best[1], least = across, down, bits
                    break  # the other way leads back
    return least


@compiled
def both_improved(place: Place, near: Array, pair: Array) -> float:
    """Move both vectors `pair` (2,2), one after the other, so that their mean fits; the bits of both come back."""
    least, other = math.inf, np.empty(place.size**2, np.float32)
    for side in (0, 1, 0):
        fetch(place, 1 - side, pair[1 - side, 0], pair[1 - side, 1], other)
        bits = bits_along(place, side, other, near[side], pair[side, 0], pair[side, 1], math.inf)
        least = improved(place, side, other, near[side], pair[side], bits, FINE)
    return least + vector_bits(pair[1, 0], pair[1, 1], near[1])


@compiled
def fetch(place: Place, side: int, across: int, down: int, into: Array) -> None:
    """Into (size*size,): what a vector to one reference points at."""
    pictures, _, sample, top, left, size = place
    for i in range(0, size, UNIT):
        for j in range(0, size, UNIT):
            samples, first, stride = unit_along(pictures, side, sample, top + i, left + j, across, down)
            for row in range(UNIT):
                for n in range(UNIT):
                    into[(i + row) * size + j + n] = samples[first + np.uint64(row) * stride + np.uint64(n)]


@compiled
def network_bits(place: Place, predicted: Array) -> float:
    """Bits of a block that is left to the network, which predicted luma (B*H*W,)."""
    pictures, error, sample, top, left, size = place
    _, height, width = pictures.shape
    bits = 0.0
    for y in range(top, top + size, UNIT):
        for x in range(left, left + size, UNIT):
            unit = Unit(predicted, np.uint64((sample * height + y) * width + x), np.uint64(width))
            bits += mean_bits(pictures, error, sample, y, x, unit, unit)
    return bits


@compiled
def add_errors(errors: Array, other: Array, y: int, x: int, sample: float, tried: int) -> None:
    """Add to errors (tried*tried,) those of one sample, at (y,x), moved to as many rows and columns of a reference."""
    for down in range(tried):
        first = np.uint64(down * tried)
        for right in range(tried):
            j = np.uint64(right)
            errors[first + j] += abs(other[y + down, np.uint64(x) + j] - sample)


@compiled
def look_around(rows: tuple[int, int], small: Array, other: Array, lengths: Array, vectors: Array) -> None:
    """Into `vectors` (B,h,w,2,2): the two best whole ones, x and y, of blocks in small pictures.

    small (B,h*n,w*n) is the picture, `other` (B,h*n+2r,w*n+2r) the reference with its edges repeated; r is how far
    vectors reach, lengths (2r+1,2r+1) what each counts as an error. A sample around each block counts, too.
    """
    _, height, width = small.shape
    size, tried = height // vectors.shape[1], len(lengths)
    errors = np.empty(tried**2, np.float32)
    for row in range(*rows):
        sample, i = divmod(row, vectors.shape[1])
        for j in range(vectors.shape[2]):
            for n in range(tried**2):
                errors[n] = lengths[n // tried, n % tried]
            for n in range((size + 2) ** 2):
                y = min(max(size * i - 1 + n // (size + 2), 0), height - 1)
                x = min(max(size * j - 1 + n % (size + 2), 0), width - 1)
                add_errors(errors, other[sample], y, x, small[sample, y, x], tried)
            for n in range(2):
                best = 0
                for m in range(tried**2):
                    if errors[m] < errors[best]:
                        best = m
                errors[best] = math.inf
                vectors[sample, i, j, n, 0] = best % tried - tried // 2
                vectors[sample, i, j, n, 1] = best // tried - tried // 2


@compiled
def best_of(
    place: Place,
    predicted: Array,
    near: Array,
    starts: Array,
    steps: Array,
    least: tuple[float, float],
    vectors: Array,
) -> tuple[int, float]:
    """The best kind of a block, and its bits; its vectors go into `vectors` (2,2). See `choose`."""
    vectors[:] = near
    kind, bits = NETWORK, network_bits(place, predicted)
    if bits > least[0]:
        none = np.empty(0, np.float32)
        for side in range(2):
            first = first_of(place, side, none, near[side], starts[side], vectors[side])
            alone = improved(place, side, none, near[side], vectors[side], first, steps) + KIND_BITS
            if alone < bits:
                kind, bits = PAST + side, alone
    if bits > least[1]:
        pair = vectors.copy()
        together = both_improved(place, near, pair) + KIND_BITS
        if together < bits:
            kind, bits, vectors[:] = BOTH, together, pair
    return kind, bits


@compiled
def choose(
    rows: tuple[int, int],
    pictures: Pictures,
    predicted: Array,
    near: Array,
    starts: Array,
    steps: Array,
    least: tuple[float, float],
    kinds: Array,
    vectors: Array,
    bits: Array,
) -> None:
    """Into kinds (B,h,w), vectors (B,h,w,2,2) and bits (B,h,w): the best for every block.

    predicted (B*H*W,) is the network's luma, near (B,h,w,2,2) its motion; vectors begin at starts (B,h,w,2,K,2) and
    move by `steps`. A block with one vector costs at least least[0], one with two least[1]. Rows are of blocks, counted
    over all samples.
    """
    size, error = pictures.shape[1] // kinds.shape[1], np.empty(UNIT**2, np.float32)
    for row in range(*rows):
        sample, i = divmod(row, kinds.shape[1])
        for j in range(kinds.shape[2]):
            at = sample, i, j
            place = Place(pictures, error, sample, size * i, size * j, size)
            kinds[at], bits[at] = best_of(place, predicted, near[at], starts[at], steps, least, vectors[at])
