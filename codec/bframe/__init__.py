# SPDX-License-Identifier: MIT
"""The learned B-frame codec."""
