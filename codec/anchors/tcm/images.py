# SPDX-License-Identifier: MIT
"""CompressAI's image models as the I-frame codec of TCM, with weights that the user has downloaded before.

Their strings are CompressAI's own; they know nothing of tapes. Nothing is downloaded here.
"""

import hashlib
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from entropy.strings import slack

from ...errors import ModelError, StreamError
from ...models.registry import FINGERPRINT_BYTES
from .config import Reference

QUALITY = 3  # of the model at the coarsest rate, as DCVC's authors combine them: 3, 4, 5, 6
NAMES = (
    "bmshj2018-factorized",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)
STRIDE = 64  # what strings are made for: the shape of the hyper-latents is that of the picture over this
LATENT_STRIDE = FACTORIZED_STRIDE = 16
LENGTH = struct.Struct(">I")


class ImageModel(Protocol):
    """What is used of CompressAI's models; N and M are the channels of its latents' latents, and of its latents."""

    N: int
    M: int

    def compress(self, x: Tensor) -> dict[str, Any]:
        """{"strings": one list of strings for each kind of latent}."""

    def decompress(self, strings: list[list[bytes]], shape: list[int]) -> dict[str, Any]:
        """{"x_hat": pictures (B,3,H,W) in [0,1]} from one list of strings for each kind of latent.

        shape is (h, w) of the hyper-latents, or of the latents if the model has no others.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """All weights and entropy tables of the model, as tensors by name."""


class ImageIntra:
    """One of CompressAI's models with weights for one quality."""

    def __init__(self, name: str, quality: int, device: str | torch.device = "cpu") -> None:
        """ModelError if there is no such model, or its weights are not in torch's cache."""
        self.name, self.quality = name, quality
        self.model = _load(name, quality, device)
        self.fingerprint = self._fingerprint()
        self.stride = FACTORIZED_STRIDE if "factorized" in name else STRIDE

    def _fingerprint(self) -> bytes:
        """The first bytes of the SHA-256 of all weights and tables."""
        digest = hashlib.sha256()
        for key, value in sorted(self.model.state_dict().items()):
            digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()[:FINGERPRINT_BYTES]

    @torch.no_grad()
    def write(self, x: Tensor) -> bytes:
        """The strings of a picture (1,3,H,W), sizes multiples of 64, each after its length, all after their CRC-32."""
        strings: list[list[bytes]] = self.model.compress(x)["strings"]
        body = b"".join(LENGTH.pack(len(string)) + string for (string,) in strings)
        return LENGTH.pack(zlib.crc32(body)) + body

    @torch.no_grad()
    def read(self, data: bytes, size: tuple[int, int]) -> Reference:
        """The picture of these strings. StreamError if they cannot be such."""
        data, check = data[LENGTH.size :], data[: LENGTH.size]
        if check != LENGTH.pack(zlib.crc32(data)):
            raise StreamError("the strings of an I-frame are damaged")
        strings = []
        while data:
            if len(data) < LENGTH.size or LENGTH.unpack_from(data)[0] > len(data) - LENGTH.size:
                raise StreamError("the strings of an I-frame are cut short")
            (length,) = LENGTH.unpack_from(data)
            strings.append(data[LENGTH.size : LENGTH.size + length])
            data = data[LENGTH.size + length :]
        expected = 1 if self.stride == FACTORIZED_STRIDE else 2
        if len(strings) != expected or not all(strings):
            raise StreamError(f"an I-frame has {len(strings)} strings, {self.name} makes {expected}")
        shape = [side // self.stride for side in size]
        x = self.model.decompress([[string + self._slack(string, size)] for string in strings], shape)["x_hat"]
        if not x.isfinite().all():
            raise StreamError("the strings of an I-frame make no picture")
        return Reference(x.float().clamp(0, 1))

    def _slack(self, string: bytes, size: tuple[int, int]) -> bytes:
        """What keeps CompressAI's decoder, which follows any string wherever it leads, within memory of ours."""
        latents = size[0] // LATENT_STRIDE * (size[1] // LATENT_STRIDE)
        return slack(max(self.model.M, self.model.N) * latents, len(string))


def _load(name: str, quality: int, device: str | torch.device) -> ImageModel:
    """A model with its downloaded weights. ModelError says how to get them."""
    if name not in NAMES:
        raise ModelError(f"intra={name}: no image model of CompressAI; choose from {', '.join(NAMES)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai.zoo import image_models
        from compressai.zoo.image import model_urls
    urls: dict[int, str] = model_urls[name]["mse"]
    function = name.replace("-", "_")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / urls.get(quality, "").rpartition("/")[2]
    if not cached.is_file():
        get = f'python -c "from compressai.zoo import {function}; {function}({quality}, pretrained=True)"'
        raise ModelError(f"intra={name}: its weights of quality {quality} are not downloaded; to do that, {get}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = image_models[name](quality, metric="mse", pretrained=True).to(device).eval()
            model.update()
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{cached}: cannot be used ({str(error).splitlines()[0]}); delete it and try again") from error
    return model
