# SPDX-License-Identifier: MIT
"""TCM, a learned codec of I- and P-frames, as an anchor codec; in two sizes, as published and small."""
