# SPDX-License-Identifier: MIT
"""TCM, a learned codec of I- and P-frames, as an anchor codec: as published, and small.

config.py    sizes, and the protocols of networks      lite.py, search.py         the small networks
inter.py, intra.py, layers.py, tables.py               the published networks, their probability tables
weights.py   files of ours                              official.py                published checkpoints
images.py    CompressAI's image models for key frames
source.py    which weights                              group.py, anchors.py       streams

What is imported from here takes seconds: it brings CompressAI.
"""

from .anchors import TcmAnchors, tcm_anchors

__all__ = ["TcmAnchors", "tcm_anchors"]
