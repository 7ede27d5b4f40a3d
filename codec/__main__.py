# SPDX-License-Identifier: MIT
"""`python -m codec` is the command `codec`."""

import sys

from .cli import main

sys.exit(main())
