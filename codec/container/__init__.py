# SPDX-License-Identifier: MIT
"""An .ncm stream inside an .mp4 or .mkv that every player opens: its anchors are the film's pictures."""
