# SPDX-License-Identifier: MIT
"""Rate-distortion optimisation: which pictures are anchors, and what is sent for the others."""
