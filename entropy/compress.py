# SPDX-License-Identifier: MIT
"""What we use of CompressAI, imported without the deprecation warnings of what it imports itself."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from compressai.ans import BufferedRansEncoder, RansDecoder
    from compressai.entropy_models import EntropyBottleneck
    from compressai.ops.bound_ops import LowerBoundFunction

__all__ = ["BufferedRansEncoder", "EntropyBottleneck", "LowerBoundFunction", "RansDecoder"]
