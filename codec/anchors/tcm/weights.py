# SPDX-License-Identifier: MIT
"""TCM codecs of our own training: safetensors files with their sizes as metadata."""

from pathlib import Path

import torch
from torch import Tensor, nn

from entropy import freeze
from entropy.exact import UNIT_BITS, WEIGHT_BITS

from ...errors import ModelError
from ...models import store
from .config import MULTIPLE, InterCodec, IntraCodec, TcmConfig
from .tables import ChannelTables


class Tcm(nn.Module):
    """The networks of a config: `intra`, an IntraCodec, and `inter`, an InterCodec."""

    intra: IntraCodec
    inter: InterCodec
    multiple = MULTIPLE

    @property
    def padding(self) -> str:
        """The mode of `F.pad` for pictures: "constant" (zeros) for published networks, "replicate" (edges) for lite."""
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
    """Write a frozen codec. OutputError if it fails.

    Float weights are rounded to half precision; integer weights and tables stay what they are.
    """
    store.write(path, packed(model), store.TCM, model.config, notes)


def packed(model: nn.Module) -> dict[str, Tensor]:
    """The state of a frozen model in few bytes: floats as halves, and of exact layers only the integers."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for name in [name for name in tensors if name.endswith(".weight_int")]:
        layer = name.removesuffix(".weight_int")
        tensors[name] = tensors[name].short()  # at most LARGEST_WEIGHT
        del tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]
    return {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state that was `packed`: floats in single precision, weights and biases of exact layers put back."""
    state = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    for name in [name for name in state if name.endswith(".weight_int")]:
        layer = name.removesuffix(".weight_int")
        state[name] = state[name].int()
        state[f"{layer}.weight"] = state[name] / 2**WEIGHT_BITS
        state[f"{layer}.bias"] = state[f"{layer}.bias_int"] / 2 ** (WEIGHT_BITS + UNIT_BITS)
    return state


def read_tcm_config(path: Path) -> TcmConfig:
    """The sizes in a weights file. ModelError if it is none of ours."""
    return store.read_config(path, store.TCM, TcmConfig)[0]


def load_tcm(path: Path, device: str | torch.device = "cpu") -> Tcm:
    """The codec in a weights file, ready for use. ModelError if the file is none of ours or does not fit."""
    model = Tcm(read_tcm_config(path))
    try:
        tensors = unpacked(store.read_tensors(path))
    except KeyError as error:
        raise ModelError(f"{path}: its weights do not fit its sizes (it lacks {error})") from error
    store.fill(model, tensors, path)
    return model.to(device)


def is_tcm(path: Path) -> bool:
    """Whether a file holds a TCM codec of ours; only its header is read."""
    return store.holds(path, store.TCM)
