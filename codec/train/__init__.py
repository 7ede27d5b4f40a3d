# SPDX-License-Identifier: MIT
"""The training room: a corpus, what is minimised, and the loop."""
