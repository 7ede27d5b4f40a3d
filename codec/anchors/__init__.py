# SPDX-License-Identifier: MIT
"""Codecs of anchors, the pictures that an ordinary codec makes: protocol, registry, and each kind of them."""
