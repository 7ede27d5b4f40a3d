# SPDX-License-Identifier: MIT
"""What a user should know that is no error: a line each, as warnings of the logger `codec`."""

import logging
from collections.abc import Iterable

LOGGER = logging.getLogger("codec")


def tell(name: str, notes: Iterable[str]) -> None:
    """Say something about a file. The command writes it to standard error, each line once."""
    for note in notes:
        LOGGER.warning("%s: %s", name, note)
