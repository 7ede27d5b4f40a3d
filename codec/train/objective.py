# SPDX-License-Identifier: MIT
"""What a network is asked for: the frame that is supervised, and the paper's loss on it (Jia 2022, equation 8)."""

from torch import Tensor

from ncm import FrameSynthesis
from ncm.estimator import CoarseToFine
from ncm.network import Prediction, blend_of, time_plane

from .config import TrainConfig
from .losses import distillation, reconstruction
from .precision import mixed_precision
from .sampling import Batch


def predict(model: FrameSynthesis, batch: Batch, config: TrainConfig) -> Prediction:
    """The frame of the whole network; in stage I, the blend along the flows of the coarse blocks, which come first."""
    past, _, future, at, noise = batch
    if config.supervise == "frame":
        return model(past, future, at, noise)
    quality = model.embed_quality(past, noise)
    steps = model.flow(past, future, time_plane(past, at), quality)[: config.model.coarse_blocks]
    return Prediction(blend_of(past, future, steps[-1]), steps)


def objective(model: FrameSynthesis, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """The paper's equation 8 for one batch: "loss" and the parts that it was made of."""
    past, target, future, at, _ = batch
    with mixed_precision(past.device, config.bf16):
        frame, steps = predict(model, batch, config)
        parts = {"student": reconstruction(frame, target, config.loss)}
        loss = parts["student"]
        if config.teacher:
            assert isinstance(model.flow, CoarseToFine)  # checked in TrainConfig
            taught = model.flow.teach(past, future, time_plane(past, at), steps[-1], target)
            parts["teacher"] = reconstruction(blend_of(past, future, taught), target, config.loss)
            parts["distillation"] = distillation(steps, taught, past, future, target)
            loss = loss + config.teacher * parts["teacher"] + config.distillation * parts["distillation"]
    return {"loss": loss, **parts}
