# SPDX-License-Identifier: MIT
"""Loops that numba compiles, for what takes too many tensor operations. To import this takes half a second."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A function compiled by numba: kept on disk, where there is a folder that can be written."""
    njit: Any = partial(numba.njit, nogil=True, error_model="numpy")  # its own type hides the function's
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # there is none
        return njit()(function)


def on_all_rows(kernel: Callable[..., None], count: int, *given: object) -> None:
    """Call a compiled function with (first row, end) and what is given, for all of so many rows.

    They are shared out among as many threads as torch has.
    """
    threads = min(torch.get_num_threads(), count)
    rows = list(pairwise(count * n // threads for n in range(threads + 1)))
    if threads == 1:
        kernel(rows[0], *given)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda some: kernel(some, *given), rows))  # list: an error comes out


def array(tensor: Tensor) -> Array:
    """The contiguous numpy array of a tensor's values, copied only where that is needed."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
