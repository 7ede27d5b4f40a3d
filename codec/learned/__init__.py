# SPDX-License-Identifier: MIT
"""Learned transform coding that the B-frame codec and tcm-lite share."""
