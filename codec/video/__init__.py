# SPDX-License-Identifier: MIT
"""Video files as frames, pictures and colours, and measures of quality."""
