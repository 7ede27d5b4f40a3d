# SPDX-License-Identifier: MIT
"""From a stream to pictures."""
