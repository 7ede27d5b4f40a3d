# SPDX-License-Identifier: MIT
"""The .ncm stream: syntax, writer, reader."""
