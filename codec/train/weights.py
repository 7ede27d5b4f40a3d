# SPDX-License-Identifier: MIT
"""Weights to start from: those of a file, renamed and cut to fit, into a model that may be larger."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ModelError
from .run import matches


def load_weights(
    model: nn.Module,
    path: Path,
    may_be_missing: tuple[str, ...] = (),
    rename: Mapping[str, str] | None = None,
    channels: Mapping[str, list[int]] | None = None,
) -> None:
    """Load a safetensors file, names changed by prefix; ModelError names any weight too many, or missing without leave.

    A prefix that becomes "" takes its weights out. Of what is in `channels`, by its new name, only these are taken: of
    a convolution's weights, these inputs; of a transposed one's, these outputs; of a bias, these.
    """
    try:
        weights = _renamed(load_file(path), rename or {})
        for name, taken in (channels or {}).items():
            weights[name] = weights[name][:, taken] if weights[name].dim() > 1 else weights[name][taken]
        result = model.load_state_dict(weights, strict=False)
    except (OSError, RuntimeError, LookupError, SafetensorError) as error:
        # The first line of torch's message says only that something is wrong.
        raise ModelError(f"{path} does not fit: {str(error).splitlines()[-1].strip()}") from error
    missing = [name for name in result.missing_keys if not matches(name, may_be_missing)]
    if missing or result.unexpected_keys:
        raise ModelError(f"{path} does not fit: missing {missing[:3]}, unexpected {result.unexpected_keys[:3]}")


def _renamed(weights: dict[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """The weights under their new names; the first prefix that fits counts."""
    kept = {}
    for name, value in weights.items():
        prefix = next((prefix for prefix in rename if name.startswith(prefix)), "")
        if not prefix or rename[prefix]:
            kept[rename.get(prefix, "") + name.removeprefix(prefix)] = value
    return kept
