# SPDX-License-Identifier: MIT
"""A model ready for use: a network, and perhaps a B-frame codec on top of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ncm import FrameSynthesis

if TYPE_CHECKING:  # CompressAI takes seconds to import, and a network alone does not need it
    from .network import BFrameCodec


@dataclass(frozen=True)
class Model:
    """A network ready for inference, its name, and the first eight bytes of its weights file's SHA-256.

    With a `codec`, that is what has the name, and the network is the one it was trained with. `path` is the file.
    """

    name: str
    fingerprint: bytes
    network: FrameSynthesis
    codec: "BFrameCodec | None" = None
    path: Path | None = None

    @property
    def device(self) -> torch.device:
        """The device that holds the network, and so computes."""
        return next(self.network.parameters()).device

    @property
    def half(self) -> bool:
        """Whether what makes samples of known motion, and of decoded anchors, is computed in bfloat16."""
        return self.network.config.half_synthesis
