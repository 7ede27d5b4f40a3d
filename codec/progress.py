# SPDX-License-Identifier: MIT
"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[[int, int | None], None]  # pictures done, pictures in all (None if unknown)


def quiet(done: int, total: int | None) -> None:
    """A progress function that says nothing."""
