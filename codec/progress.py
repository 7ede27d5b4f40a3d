# SPDX-License-Identifier: MIT
"""How long work tells how far it is: finished frames, which never become fewer."""

from collections.abc import Callable

Progress = Callable[[int, int | None], None]  # frames done, frames in all (None if unknown)


def quiet(done: int, total: int | None) -> None:
    """A progress function that says nothing."""


class Counter:
    """Counts finished frames of one job for a progress function."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def one_more(self) -> None:
        """One more frame is finished."""
        self.reached(self._done + 1)

    def reached(self, done: int) -> None:
        """So many frames are finished in all; fewer than before changes nothing."""
        if done > self._done:
            self._done = done
            self._progress(done, self._total)
