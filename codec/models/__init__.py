# SPDX-License-Identifier: MIT
"""Weights files by name and fingerprint."""
