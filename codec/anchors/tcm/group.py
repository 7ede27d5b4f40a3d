# SPDX-License-Identifier: MIT
"""One closed group of TCM: a key frame and its P-frames, written or read in order by the same lines.

A key frame's payload is a KeyHead and a string; a P-frame's is one rANS string. Between P-frames the reference stays
as the network made it, a float picture with its features, on both sides.
"""

import struct
from typing import NamedTuple

import torch
from torch import Tensor

from entropy import Read, Write

from ...device import repeatable
from ...errors import StreamError
from ...models.registry import FINGERPRINT_BYTES
from .config import Reference
from .images import ImageIntra
from .weights import Tcm

VERSION = 1
LEVEL_STEPS = 32  # of the stream's level in one rate
DEVICES = ("cpu", "cuda", "mps")
FIXED = struct.Struct(f">BBBB{FINGERPRINT_BYTES}s")
IMAGE = struct.Struct(f">B{FINGERPRINT_BYTES}s")


class KeyHead(NamedTuple):
    """What a group needs: the kind of device, the level in LEVEL_STEPS, weights, and an image model if it has one."""

    device: str
    level: int
    fingerprint: bytes
    image: str = ""
    image_quality: int = 0
    image_fingerprint: bytes = b""

    def pack(self) -> bytes:
        """The bytes of this head, with which the payload of a key frame begins. ValueError for an unknown device."""
        name = self.image.encode()
        head = FIXED.pack(VERSION, DEVICES.index(self.device), self.level, len(name), self.fingerprint)
        return head + (name + IMAGE.pack(self.image_quality, self.image_fingerprint) if name else b"")

    @classmethod
    def parse(cls, data: bytes) -> tuple["KeyHead", bytes]:
        """A head and what follows it. StreamError if it is none."""
        if len(data) < FIXED.size:
            raise StreamError("a key frame of TCM is cut short")
        version, device, level, length, fingerprint = FIXED.unpack_from(data)
        if version != VERSION or device >= len(DEVICES):
            raise StreamError(f"a key frame of TCM, version {version}, device {device}; this program knows neither")
        rest = data[FIXED.size :]
        if not length:
            return cls(DEVICES[device], level, fingerprint), rest
        name = rest[:length].decode("ascii", "replace")
        rest = rest[length:]
        if len(rest) < IMAGE.size:
            raise StreamError("a key frame of TCM is cut short")
        return cls(DEVICES[device], level, fingerprint, name, *IMAGE.unpack_from(rest)), rest[IMAGE.size :]


class Group:
    """The state of both sides after each picture.

    EntropyError for strings that cannot be right, ValueError for latents that are not finite.
    """

    def __init__(self, codec: Tcm, level: int, image: ImageIntra | None = None) -> None:
        """StreamError if the codec has no such level."""
        self.codec, self.image = codec, image
        self.quality = level / LEVEL_STEPS if len(codec.config.lambdas) > 1 else 0.0
        if self.quality > len(codec.config.lambdas) - 1:
            raise StreamError(f"level {level} of a TCM codec that has {len(codec.config.lambdas)} rates")
        self.reference: Reference | None = None

    @repeatable
    @torch.no_grad()
    def write(self, x: Tensor) -> bytes:
        """The string of the next picture (1,3,H,W), padded; the first is the key frame."""
        size, tape = (x.shape[2], x.shape[3]), Write()
        if self.reference is not None:
            self.reference = self.codec.inter(tape, x, self.reference, quality=self.quality)
        elif self.image is not None:
            data = self.image.write(x)
            self.reference = self.image.read(data, size)
            return data
        else:
            self.reference = self.codec.intra(tape, x, size=size, quality=self.quality)
        return tape.finish()

    @repeatable
    @torch.no_grad()
    def read(self, data: bytes, size: tuple[int, int]) -> Tensor:
        """The next picture (1,3,H,W), padded, from its string. After an error, the group is lost."""
        if self.reference is None and self.image is not None:
            self.reference = self.image.read(data, size)
            return self.reference.frame
        tape = Read(data)
        if self.reference is None:
            reference = self.codec.intra(tape, None, size=size, quality=self.quality)
        else:
            reference = self.codec.inter(tape, None, self.reference, quality=self.quality)
        tape.finish()
        self.reference = reference
        return reference.frame
