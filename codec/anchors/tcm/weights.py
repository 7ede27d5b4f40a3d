# SPDX-License-Identifier: MIT
"""TCM codecs of our own training: safetensors files with their sizes as metadata."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from entropy import freeze
from entropy.exact import UNIT_BITS, WEIGHT_BITS

from ...errors import ModelError, OutputError
from ...models import check_name
from .config import MULTIPLE, InterCodec, IntraCodec, TcmConfig
from .tables import ChannelTables


class Tcm(nn.Module):
    """The networks of a config: `intra`, an IntraCodec, and `inter`, an InterCodec."""

    intra: IntraCodec
    inter: InterCodec
    multiple = MULTIPLE

    @property
    def padding(self) -> str:
        """How pictures are padded: with zeros as in the paper, or with their edges."""
        return "replicate" if self.config.network == "lite" else "constant"

    def __init__(self, config: TcmConfig) -> None:
        super().__init__()
        self.config = config
        if config.network == "lite":
            from .lite import LiteInter, LiteIntra

            self.intra, self.inter = LiteIntra(config), LiteInter(config)
        else:
            from .inter import PaperInter
            from .intra import PaperIntra

            self.intra, self.inter = PaperIntra(config.intra_width), PaperInter()


def freeze_tcm(model: Tcm) -> None:
    """Fix the tables and integer weights that writer and reader must share, and make the model ready for use."""
    freeze(model)
    for module in model.modules():
        if isinstance(module, ChannelTables):
            module.freeze()
    model.eval().requires_grad_(False)


def save_tcm(model: Tcm, path: Path, **notes: str) -> None:
    """Write a frozen codec, beside first, then renamed. Float weights are rounded to half precision; integer weights
    and tables stay what they are. OutputError if it fails."""
    check_name(path)
    tensors = packed(model)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(serialise(tensors, metadata={"tcm": json.dumps(asdict(model.config)), **notes}))
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error


def packed(model: nn.Module) -> dict[str, Tensor]:
    """The state of a frozen model in few bytes: floats as halves, and of exact layers only the integers."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for name in [name for name in tensors if name.endswith(".weight_int")]:
        layer = name.removesuffix(".weight_int")
        tensors[name] = tensors[name].short()  # at most LARGEST_WEIGHT
        del tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
    return {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`, up to rounding."""
    state = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    for name in [name for name in state if name.endswith(".weight_int")]:
        layer = name.removesuffix(".weight_int")
        state[name] = state[name].int()
        state[f"{layer}.weight"] = state[name] / 2**WEIGHT_BITS
        state[f"{layer}.bias"] = state[f"{layer}.bias_int"] / 2 ** (WEIGHT_BITS + UNIT_BITS)
    return state


def read_config(path: Path) -> tuple[TcmConfig, dict[str, str]]:
    """The sizes and the other notes in a weights file. ModelError if it is none of ours."""
    try:
        with safe_open(path, "pt") as file:
            notes: dict[str, str] = file.metadata() or {}
        table: dict[str, Any] = json.loads(notes.pop("tcm"))
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
        config = TcmConfig(**values)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not the weights of a TCM codec ({error})") from error
    return config, notes


def load_tcm(path: Path, device: str | torch.device = "cpu") -> Tcm:
    """The codec in a weights file, ready for use. ModelError if the file is none of ours or does not fit."""
    config, _ = read_config(path)
    model = Tcm(config)
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        model.load_state_dict(unpacked(tensors))
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: its weights do not fit its sizes ({str(error).splitlines()[-1].strip()})") from error
    model.eval().requires_grad_(False)
    return model.to(device)


def is_tcm(path: Path) -> bool:
    """Whether a file holds a TCM codec of ours; only its header is read."""
    try:
        with safe_open(path, "pt") as file:
            return "tcm" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False
