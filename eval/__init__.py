# SPDX-License-Identifier: MIT
"""Measuring: rate-distortion runs, BD-rate, tables. Sees only codec's public names."""
