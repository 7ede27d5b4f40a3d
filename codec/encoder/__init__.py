# SPDX-License-Identifier: MIT
"""From pictures to a stream."""
