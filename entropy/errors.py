# SPDX-License-Identifier: MIT
"""The one error of reading."""


class EntropyError(ValueError):
    """A string that is not what this model wrote: truncated, damaged, or made with other tables."""
