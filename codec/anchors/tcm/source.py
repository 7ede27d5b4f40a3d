# SPDX-License-Identifier: MIT
"""Where a TCM codec's weights come from: a safetensors file of ours, or the published checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ...errors import ModelError
from ...models.registry import all_weights, find, fingerprint_of, weights_files
from .config import LAMBDAS
from .official import METRICS, SEARCH_PATH, find_pair, folder_of, load_pair, pair_of
from .weights import Tcm, is_tcm, load_tcm, read_tcm_config

DEFAULT = "lite"
PREFIX = "tcm-"  # of the files of ours: preset `lite` is tcm-lite.safetensors


class Source(Protocol):
    """Weights by name; nothing is loaded before `load`."""

    @property
    def preset(self) -> str:
        """Name of the preset: "psnr" or "msssim", one of ours such as "lite", or the path of a .safetensors file."""

    @property
    def lambdas(self) -> tuple[float, ...]:
        """Lambdas that the rates were trained for, rising: bits a pixel for a unit of MSE of RGB in [0,1]."""

    @property
    def continuous(self) -> bool:
        """Whether levels between two rates exist."""

    def load(self, level: float, device: torch.device) -> tuple[bytes, Tcm]:
        """The fingerprint and the codec for a level. ModelError if that is missing."""


@dataclass(frozen=True)
class OwnFile:
    """A safetensors file with one codec for all rates."""

    preset: str
    path: Path

    @property
    def lambdas(self) -> tuple[float, ...]:
        """Lambdas of the rates, rising, as the file names them. ModelError if the file is none of ours."""
        return read_tcm_config(self.path).lambdas

    @property
    def continuous(self) -> bool:
        """Whether levels between two rates exist: they do if there are several, since gains are interpolated."""
        return len(self.lambdas) > 1

    def load(self, level: float, device: torch.device) -> tuple[bytes, Tcm]:
        """The fingerprint and the codec, one and the same for every level. ModelError if the file is none of ours."""
        return fingerprint_of(self.path), load_tcm(self.path, device)


@dataclass(frozen=True)
class OfficialFolder:
    """A folder with the published checkpoints of one metric, two files a rate."""

    preset: str
    folder: Path
    lambdas: tuple[float, ...] = LAMBDAS
    continuous: bool = False

    def load(self, level: float, device: torch.device) -> tuple[bytes, Tcm]:
        """The fingerprint and the codec of the rate nearest to a level. ModelError if a checkpoint is missing."""
        pair = pair_of(self.folder, self.preset, round(level))
        return pair.fingerprint(), load_pair(pair, device)


def source_of(preset: str | None, folder: str) -> Source:
    """The weights of a preset: psnr and msssim are published, others ours. ModelError if they are missing."""
    preset = preset or DEFAULT
    if preset in METRICS:
        return OfficialFolder(preset, folder_of(folder))
    available = weights_files()
    path = find(preset) if preset.endswith(".safetensors") else available.get(PREFIX + preset)
    if path is None or not is_tcm(path):
        ours = [name.removeprefix(PREFIX) for name in available if name.startswith(PREFIX)]
        raise ModelError(
            f"tcm has no preset {preset!r}; choose from {', '.join([*ours, *METRICS])}, or give a .safetensors file"
        )
    return OwnFile(preset, path)


def find_codec(fingerprint: bytes, device: torch.device) -> Tcm:
    """The codec with this fingerprint, whatever it is called. ModelError if it is not here."""
    for path in all_weights():
        if is_tcm(path) and fingerprint_of(path) == fingerprint:
            return load_tcm(path, device)
    if (pair := find_pair(fingerprint)) is not None:
        return load_pair(pair, device)
    raise ModelError(
        f"anchors need TCM weights with fingerprint {fingerprint.hex()}, which are not here; "
        f"name the folder of a .safetensors file in ${SEARCH_PATH}, of published checkpoints in ${SEARCH_PATH}"
    )
