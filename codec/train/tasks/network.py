# SPDX-License-Identifier: MIT
"""A frame-synthesis network: the supervised frame, and the paper's loss on it (Jia 2022, equation 8)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncm import FrameSynthesis
from ncm.estimator import CoarseToFine
from ncm.network import Prediction, blend_of, time_plane

from ...models.network_file import save_network
from ...models.registry import find
from ...video.metrics import psnr
from ..config import TrainConfig
from ..data import Library
from ..losses import distillation, reconstruction
from ..precision import mixed_precision
from ..run import Run
from ..sampling import Batch, ValidationItem, validation_items
from ..task import Items, Task, Validation
from ..weights import load_weights

NetworkRun = Run[FrameSynthesis, TrainConfig]


class NetworkTask(Task[FrameSynthesis, TrainConfig]):
    """Learns to predict the frame between two references, or after them. The score is a PSNR in dB."""

    name = "network"
    recipe = TrainConfig

    def build(self, config: TrainConfig, device: torch.device) -> FrameSynthesis:
        """The network, channels last. ModelError if `init` does not fit."""
        model = FrameSynthesis(config.model)
        if config.init:
            load_weights(model, find(config.init), config.may_be_missing, config.rename, config.channels)
        return model.to(device).to(memory_format=torch.channels_last)

    def losses(self, run: NetworkRun, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """The paper's loss, at a coarse ratio that is drawn for every step if the recipe has several."""
        config = run.config
        if config.coarse_ratios:
            draw = np.random.default_rng((config.seed, run.step, 1))
            run.model.flow.config = replace(config.model, coarse_ratio=float(draw.choice(config.coarse_ratios)))
        return objective(run.model, batch, config)

    def items(self, run: NetworkRun, library: Library) -> Items:
        """Triplets with original references, "clean", and if the recipe has them with "decoded" ones."""
        config, multiple = run.config, run.model.multiple
        kinds = {"clean": False, "decoded": True} if config.decoded else {"clean": False}
        count, task = config.validation_clips, config.model.task
        return {
            kind: list(validation_items(library, count, multiple=multiple, decoded=decoded, task=task))
            for kind, decoded in kinds.items()
        }

    @torch.no_grad()
    def validate(self, run: NetworkRun, items: Items, device: torch.device) -> Validation:
        """The mean over clips of the RGB PSNR of whole pictures, in dB, computed in float32, of each kind."""
        with run.averaged() as model:
            model.flow.config = run.config.model
            values = {
                kind: float(np.mean([psnr_of(model, item, run.config, device) for item in found]))
                for kind, found in items.items()
                if found
            }
        score = float(np.mean(list(values.values())))
        shown = "  ".join(f"{kind} {value:.3f}" for kind, value in values.items())
        gain = score - run.first if run.step else 0.0
        line = f"validation {shown} dB, {gain:+.3f} since the start"
        return Validation(score, {f"psnr_{kind}": value for kind, value in values.items()}, [line])

    @torch.no_grad()
    def row(self, run: NetworkRun, item: ValidationItem, device: torch.device) -> Tensor:
        """(3,H,4W) in [0,1]: past, future, target, prediction."""
        batch = item.batch.to(device)
        with run.averaged() as model:
            model.flow.config = run.config.model
            frame = predict(model, batch, run.config).frame
        row = torch.cat([batch.past, batch.future, batch.target, frame])[:, :, : item.height, : item.width]
        return torch.cat(list(row), 2).clamp(0, 1)

    def export(self, run: NetworkRun, path: Path) -> None:
        """Write the averaged weights in half precision. OutputError if it fails."""
        save_network(run.averaged_copy(), path, **run.notes)


TASK = NetworkTask()


def predict(model: FrameSynthesis, batch: Batch, config: TrainConfig) -> Prediction:
    """The frame of the whole network; in stage I, the blend along the flows of the coarse blocks, which come first."""
    past, _, future, at, noise = batch
    if config.supervise == "frame":
        return model(past, future, at, noise)
    quality = model.embed_quality(past, noise)
    steps = model.flow(past, future, time_plane(past, at), quality)[: config.model.coarse_blocks]
    return Prediction(blend_of(past, future, steps[-1]), steps)


def objective(model: FrameSynthesis, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """The paper's equation 8 for one batch, in scalars: "loss" and the parts that it was made of."""
    past, target, future, at, _ = batch
    with mixed_precision(past.device, config.bf16):
        prediction = predict(model, batch, config)
        steps = prediction.steps
        parts = {"student": reconstruction(prediction.frame, target, config.loss)}
        loss = parts["student"]
        if config.teacher:
            assert isinstance(model.flow, CoarseToFine)  # checked in TrainConfig
            taught = model.flow.teach(past, future, time_plane(past, at), steps[-1], target)
            parts["teacher"] = reconstruction(blend_of(past, future, taught), target, config.loss)
            parts["distillation"] = distillation(steps, taught, past, future, target)
            loss = loss + config.teacher * parts["teacher"] + config.distillation * parts["distillation"]
    return {"loss": loss, **parts}


def psnr_of(model: FrameSynthesis, item: ValidationItem, config: TrainConfig, device: torch.device) -> float:
    """The RGB PSNR of a whole picture, in dB, computed in float32."""
    batch = item.batch.to(device)
    difference = predict(model, batch, config).frame - batch.target
    error = difference[:, :, : item.height, : item.width].square().mean()
    return psnr(float(error))
