# SPDX-License-Identifier: MIT
"""Which pictures are anchors, and how a video is cut into periods."""
