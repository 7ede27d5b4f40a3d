# SPDX-License-Identifier: MIT
"""How every script with several commands runs the one that was chosen."""

import argparse
import sys
from collections.abc import Sequence

import codec


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command that was chosen, and return its exit status; a CodecError is one line."""
    arguments = parser.parse_args(argv)
    try:
        arguments.action(arguments)
    except codec.CodecError as err:
        print(f"{parser.prog}: {err}", file=sys.stderr)
        return err.exit_status
    return 0
