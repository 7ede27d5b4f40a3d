# SPDX-License-Identifier: MIT
"""Models by name: build from the config in the weights file, load strictly, identify by fingerprint.

A weights file holds a network, which predicts B-frames, or a B-frame codec, which names the network it stands on.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from ncm import FrameSynthesis, NcmConfig, build

from .errors import ModelError, OutputError

if TYPE_CHECKING:
    from .bcodec import BFrameCodec

DEFAULT_MODEL = "base"
DEFAULT_CODEC = "bframe"
FINGERPRINT_BYTES = 8
SEARCH_PATH = "NCM_WEIGHTS"  # folders with further weights, separated as in PATH


@dataclass(frozen=True)
class Model:
    """A network ready for inference, its name, and the first eight bytes of its weights file's SHA-256.

    With a `codec`, that is what has the name, and the network is the one it was trained with.
    """

    name: str
    fingerprint: bytes
    network: FrameSynthesis
    codec: "BFrameCodec | None" = None


def weights_files() -> dict[str, Path]:
    """All weights this installation has, by name: those in the folders of $NCM_WEIGHTS before those that ship."""
    folders = [Path(p) for p in os.environ.get(SEARCH_PATH, "").split(os.pathsep) if p]
    found: dict[str, Path] = {}
    for folder in (*folders, Path(str(files("codec") / "weights"))):
        for path in sorted(folder.glob("*.safetensors")):
            found.setdefault(path.stem, path)
    return found


def load(name: str, device: str | torch.device = "cpu") -> Model:
    """The model of this name, or at this path if it ends in .safetensors. ModelError if missing or damaged."""
    return _load_file(find(name), device)


def find(name: str) -> Path:
    """The weights file of this name, or this path if it ends in .safetensors. ModelError if there is none."""
    available = weights_files()
    path = Path(name) if name.endswith(".safetensors") else available.get(name)
    if path is None or not path.is_file():
        known = ", ".join(available)
        raise ModelError(f"model {name!r} is not installed; there are {known}, or give a .safetensors file")
    return path


def load_fingerprint(
    fingerprint: bytes, name: str, device: str | torch.device = "cpu", *, beside: Path | None = None
) -> Model:
    """The model with this fingerprint, whatever it is called, here or in a folder. ModelError says what is missing."""
    return _load_file(find_fingerprint(fingerprint, name, beside=beside), device)


def find_fingerprint(fingerprint: bytes, name: str, *, beside: Path | None = None) -> Path:
    """The weights file with this fingerprint; see `load_fingerprint`."""
    nearby = sorted(beside.glob("*.safetensors")) if beside else []
    for path in (*weights_files().values(), *nearby):
        if fingerprint_of(path) == fingerprint:
            return path
    raise ModelError(
        f"model {name!r}, fingerprint {fingerprint.hex()}, is needed and not installed; "
        f"put its .safetensors file into a folder named in ${SEARCH_PATH}"
    )


def check_name(path: Path) -> None:
    """OutputError if a file to be written is not named as weights are."""
    if path.suffix != ".safetensors":
        raise OutputError(f"{path}: weights go into a .safetensors file")


def save(network: FrameSynthesis, path: Path, **metadata: str) -> None:
    """Write the weights as fp16 safetensors with the config and further notes, beside first, then renamed."""
    tensors = {key: value.detach().half().contiguous().cpu() for key, value in network.state_dict().items()}
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(serialise(tensors, metadata={"config": json.dumps(asdict(network.config)), **metadata}))
    part.replace(path)


def read_config(path: Path) -> tuple[NcmConfig, dict[str, str]]:
    """The network's config and the other notes in a weights file. ModelError if it is not one of ours."""
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
        values: dict[str, Any] = json.loads(metadata.pop("config"))
        tuples: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        config = NcmConfig(**tuples)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as err:
        raise ModelError(f"{path}: not a weights file of this project ({err})") from err
    return config, metadata


def _load_file(path: Path, device: str | torch.device) -> Model:
    if _holds(path, "tcm"):
        raise ModelError(f"{path}: codes anchors and predicts no B-frames; it is for --anchor tcm, not for --model")
    if _holds(path, "bframe"):
        from .bweights import load_codec  # CompressAI takes seconds to import

        codec = load_codec(path, device)
        return Model(path.stem, fingerprint_of(path), codec.network, codec)
    config, _ = read_config(path)
    network = build(config)
    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 (not a mapping)
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError) as err:
        raise ModelError(f"{path}: its weights do not fit its config ({str(err).splitlines()[0]})") from err
    network.requires_grad_(False)
    # With channels last, convolutions are a sixth faster on a CPU.
    return Model(path.stem, fingerprint_of(path), network.to(device).to(memory_format=torch.channels_last))


def _holds(path: Path, kind: str) -> bool:
    """Whether a file's metadata say that it holds this kind of codec."""
    try:
        with safe_open(path, "pt") as file:
            return kind in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False  # whoever reads on says what is wrong


def fingerprint_of(path: Path) -> bytes:
    """The first bytes of a file's SHA-256, by which streams name their weights."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()[:FINGERPRINT_BYTES]


def warm_start(config: NcmConfig, name: str = "rife5") -> FrameSynthesis:
    """A network of this config whose shared parts carry another model's weights; its additions change nothing yet.

    ModelError if a part both have differs in shape, or if the other has a part this one lacks.
    """
    torch.manual_seed(0)  # the additions' inner layers start at random, behind zero-initialised ones
    network = build(config)
    source = load(name).network.state_dict()
    try:
        unknown = network.load_state_dict(source, strict=False).unexpected_keys
    except RuntimeError as err:
        raise ModelError(f"{name!r} does not fit this config ({str(err).splitlines()[-1].strip()})") from err
    if unknown:
        raise ModelError(f"{name!r} has parts this config lacks, {unknown[0]} among them")
    return network
