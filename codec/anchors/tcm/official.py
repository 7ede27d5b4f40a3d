# SPDX-License-Identifier: MIT
"""The published checkpoints of TCM: their files, and their names for what our networks hold.

A folder holds an I- and a P-frame checkpoint a rate, q1 (lambda 256) to q4 (2048), trained for PSNR or MS-SSIM:
intra_psnr_TMM_q1.pth.tar, inter_psnr_TMM_q1.pth.tar and so on; what stands between metric and rate does not matter.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ...models.registry import FINGERPRINT_BYTES
from .config import LAMBDAS, TcmConfig
from .weights import Tcm, freeze_tcm

SEARCH_PATH = "NCM_TCM_WEIGHTS"
METRICS = ("psnr", "msssim")
RATES = range(len(LAMBDAS))
CHECKPOINT = re.compile(r"(intra|inter)_(psnr|ms-?ssim)\w*?_q(\d)\.pth(\.tar)?", re.IGNORECASE)

INTER_NAMES = {
    "optic_flow.moduleBasic.": "search.levels.",
    "mv_encoder.": "motion_encoder.",
    "mv_prior_encoder.": "motion_hyper_encoder.",
    "mv_prior_decoder.": "motion_hyper_decoder.",
    "mv_decoder.": "motion_decoder.",
    "feature_adaptor_I.": "adaptor_i.",
    "feature_adaptor_P.": "adaptor_p.",
    "feature_extractor.": "extractor.",
    "context_fusion_net.": "fusion.",
    "contextual_encoder.": "encoder.",
    "contextual_hyper_prior_encoder.": "hyper_encoder.",
    "contextual_hyper_prior_decoder.": "hyper_decoder.",
    "temporal_prior_encoder.": "temporal_prior.",
    "contextual_entropy_parameter.": "parameters_net.",
    "contextual_decoder.": "decoder.",
    "recon_generation_net.": "generator.",
    "bit_estimator_z.": "density.",
    "bit_estimator_z_mv.": "motion_density.",
}
INTRA_NAMES = {
    "g_a.": "g_a.",
    "g_s.": "g_s.",
    "h_a.": "h_a.",
    "h_s.": "h_s.",
    "entropy_bottleneck._matrices.": "density.density.matrices.",
    "entropy_bottleneck._matrix": "density.density.matrices.",  # of other versions of CompressAI
    "entropy_bottleneck._biases.": "density.density.biases.",
    "entropy_bottleneck._bias": "density.density.biases.",
    "entropy_bottleneck._factors.": "density.density.factors.",
    "entropy_bottleneck._factor": "density.density.factors.",
    "entropy_bottleneck.quantiles": "density.density.quantiles",
}
# CompressAI's tables, empty before use, and numbers that its layers were built with: neither was trained.
CONSTANT = re.compile(
    r"gaussian_conditional\.\w.*|entropy_bottleneck\.(_offset|_quantized_cdf|_cdf_length|target|likelihood_lower_bound.*)"
    r"|.*(beta|gamma)_reparam\.(pedestal|lower_bound\.bound)"
)


class Pair(NamedTuple):
    """The two checkpoints of one rate, counted from 0."""

    intra: Path
    inter: Path
    rate: int

    def fingerprint(self) -> bytes:
        """The first bytes of the SHA-256 of both files' SHA-256. ModelError if one cannot be read."""
        both = b"".join(_digest(path) for path in (self.intra, self.inter))
        return hashlib.sha256(both).digest()[:FINGERPRINT_BYTES]


def folder_of(given: str = "") -> Path:
    """The folder with official checkpoints: the given one, or that of the environment. ModelError if there is none."""
    name = given or os.environ.get(SEARCH_PATH, "")
    if not name:
        raise ModelError(f"TCM's published checkpoints do not ship with this; name their folder in ${SEARCH_PATH}")
    if not Path(name).is_dir():
        raise ModelError(f"{name}: is no folder; ${SEARCH_PATH} names the one with TCM's checkpoints")
    return Path(name)


def pairs(folder: Path, metric: str) -> dict[int, Pair]:
    """The rates that a folder has both checkpoints of."""
    found: dict[tuple[str, int], Path] = {}
    for path in sorted(folder.iterdir()):
        match = CHECKPOINT.fullmatch(path.name)
        if match and match[2].lower().replace("-", "") == metric:
            found.setdefault((match[1].lower(), int(match[3]) - 1), path)
    both = {rate: (found.get(("intra", rate)), found.get(("inter", rate))) for rate in RATES}
    return {rate: Pair(intra, inter, rate) for rate, (intra, inter) in both.items() if intra and inter}


def pair_of(folder: Path, metric: str, rate: int) -> Pair:
    """The checkpoints of one rate. ModelError names what is missing."""
    there = pairs(folder, metric)
    if rate not in there:
        names = " and ".join(f"{part}_{metric}_TMM_q{rate + 1}.pth.tar" for part in ("intra", "inter"))
        raise ModelError(f"{folder}: has not both {names}; put TCM's published checkpoints there")
    return there[rate]


def find_pair(fingerprint: bytes) -> Pair | None:
    """The checkpoints with this fingerprint in the folder of the environment, if they are there."""
    if not os.environ.get(SEARCH_PATH):
        return None
    folder = folder_of()
    candidates = [pair for metric in METRICS for pair in pairs(folder, metric).values()]
    return next((pair for pair in candidates if pair.fingerprint() == fingerprint), None)


def load_pair(pair: Pair, device: str | torch.device = "cpu") -> Tcm:
    """The codec in two official checkpoints, ready for use. ModelError names the first weight that does not fit."""
    intra, inter = _read(pair.intra), _read(pair.inter)
    width = len(intra["g_a.6.weight"]) if "g_a.6.weight" in intra else 192
    model = Tcm(TcmConfig(network="paper", lambdas=(LAMBDAS[pair.rate],), intra_width=width))
    fill(model.intra, intra, INTRA_NAMES, pair.intra)  # type: ignore[arg-type]  # protocols of modules
    fill(model.inter, inter, INTER_NAMES, pair.inter)  # type: ignore[arg-type]
    freeze_tcm(model)
    return model.to(device)


def fill(network: nn.Module, state: Mapping[str, Tensor], names: Mapping[str, str], where: Path) -> None:
    """Load an official state dict strictly: every parameter once, none left over. ModelError if it does not fit."""
    parameters = dict(network.named_parameters())
    translated = {ours(name, names): value for name, value in state.items() if not CONSTANT.fullmatch(name)}
    missing, unknown = sorted(set(parameters) - set(translated)), sorted(set(translated) - set(parameters))
    if missing or unknown:
        raise ModelError(f"{where}: no checkpoint of TCM (missing {missing[:2]}, unknown {unknown[:2]})")
    with torch.no_grad():
        for name, parameter in parameters.items():
            value = translated[name]
            if value.shape != parameter.shape or not value.isfinite().all():
                shapes = f"{tuple(value.shape)}, not {tuple(parameter.shape)}, or not finite"
                raise ModelError(f"{where}: no checkpoint of TCM ({name} is {shapes})")
            parameter.copy_(value)


def ours(name: str, names: Mapping[str, str]) -> str:
    """What an official name is called here; itself if it is unknown."""
    prefix = max((prefix for prefix in names if name.startswith(prefix)), key=len, default="")
    name = names[prefix] + name.removeprefix(prefix) if prefix else name
    return name.replace(".downsample.", ".skip.")


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, bare or wrapped. ModelError if there is none."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise ModelError(f"{path}: cannot be read ({(str(error) or 'it is empty').splitlines()[0]})") from error
    for key in ("state_dict", "net", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path}: holds no state dict")
    return {name.removeprefix("module."): value for name, value in content.items()}


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error
