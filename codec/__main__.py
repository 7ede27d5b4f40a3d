# SPDX-License-Identifier: MIT
"""The command `codec`, and `python -m codec`."""

import signal
import sys


def main() -> int:
    """Run the command and return its exit status. Ctrl-C ends it quietly while its modules are still being loaded."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as command

    return command()


if __name__ == "__main__":
    sys.exit(main())
