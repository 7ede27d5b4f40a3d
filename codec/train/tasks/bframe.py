# SPDX-License-Identifier: MIT
"""The B-frame codec on top of a frame-synthesis network: the paper's equation 9.

The network that predicts is named in the recipe. Of a frozen one only the fingerprint is exported with the codec; one
that learns on beside it (`joint`) is exported too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from entropy import Estimate, freeze
from ncm import Prediction
from ncm.ifblock import Motion

from ...bframe.config import BFrameConfig
from ...bframe.network import BFrameCodec, Reconstruction
from ...bframe.postfilter import QUIET
from ...bframe.side_information import AnchorFeatures, anchor_features
from ...errors import ModelError
from ...models.bframe_file import save_codec
from ...models.network_file import save_network
from ...models.open import load as load_model
from ...models.registry import DEFAULT_MODEL, find
from ...models.store import check_name
from ...video.colour import luma_levels, planes_to_rgb, unpacked
from ...video.metrics import psnr
from ...video.picture import Colour
from ..config import CodecTraining
from ..data import PEAK, Library
from ..losses import decibels, reconstruction, squared_error
from ..precision import mixed_precision
from ..run import Run
from ..sampling import Batch, ValidationItem, validation_items
from ..task import Items, Task, Validation, means_of
from ..weights import load_weights
from .postfilter import anchor_planes

CPU = torch.device("cpu")
LEFT = 0.955  # of the RMS error of anchors after a post-filter, 0.4 dB
TRADED = 0.2  # lambda times the squared error of anchors, in bits a pixel: about what their encoders do


@dataclass(frozen=True, kw_only=True)
class BFrameTraining(CodecTraining):
    """One run: what training a network has (without `supervise` and the teacher; `loss` if `joint`), and this."""

    codec: BFrameConfig = field(default_factory=BFrameConfig)
    base: str = DEFAULT_MODEL  # the network that predicts: a name, or a .safetensors file
    joint: bool = False  # whether it learns on beside the codec, from `loss` alone; its names begin with "network."
    balance: float = 0.5  # costs count with lambda^-balance; 0 = the paper's plain sum
    motion_aid: float = 0.1  # weight of lambda * MSE of the blend along the decoded motion
    rdoq_from: int = 1000  # step; before, symbols are the nearest: RDOQ by scales not yet learnt leaves none
    blocks: bool = True  # whether blocks are motion-compensated where the writer would do so
    filtered: float = 0.0  # of the samples have references as the codec's own post-filter leaves them
    octaves: float = 0.0  # within so many of what anchors of this noise trade bits for; 0 = all lambdas, equally often
    validation_qualities: tuple[int, ...] = (1, 3, 5)  # those that a model has

    table = "bframe"
    sizes = BFrameConfig


class Joint(nn.Module):
    """A codec and the network it stands on as one module, names of the network's weights beginning with "network.".

    The network stays in evaluation mode, as it is wherever it predicts.
    """

    def __init__(self, codec: BFrameCodec) -> None:
        super().__init__()
        self._codec = (codec,)  # in a tuple, where torch does not find it
        for name, part in codec.named_children():
            self.add_module(name, part)
        self.network = codec.network.requires_grad_().eval()

    @property
    def codec(self) -> BFrameCodec:
        """The B-frame codec whose parts this module holds."""
        return self._codec[0]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the codec."""
        self.codec.train(mode)
        return self


BFrameRun = Run[BFrameCodec | Joint, BFrameTraining]


def codec_of(model: BFrameCodec | Joint) -> BFrameCodec:
    """The B-frame codec of what is trained: that itself, or the part of a Joint."""
    return model.codec if isinstance(model, Joint) else model


class BFrameTask(Task[BFrameCodec | Joint, BFrameTraining]):
    """Learns lambda * MSE + bits a pixel at every lambda of the recipe. The score is what it saves of that cost."""

    name = "bframe"
    recipe = BFrameTraining

    def build(self, config: BFrameTraining, device: torch.device) -> BFrameCodec | Joint:
        """The codec on its network. ModelError if `base` or `init` does not fit."""
        network = load_model(config.base, device).network.to(memory_format=torch.channels_last)
        codec = BFrameCodec(config.codec, network)
        if config.init:
            load_weights(codec, find(config.init), config.may_be_missing, config.rename, config.channels)
        codec = codec.to(device).to(memory_format=torch.channels_last)
        return Joint(codec) if config.joint else codec

    def losses(self, run: BFrameRun, batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one batch, scalars by name: "loss", which is minimised, and the parts that it is made of.

        The loss is lambda * MSE + bits a pixel. A quality is drawn for each sample. Source: paper, equation 9.
        """
        config, model = run.config, codec_of(run.model)
        if config.filtered:
            chosen = torch.from_numpy(rng.random(len(batch.past)) < config.filtered)
            batch = filtered(model, batch, chosen.to(batch.past.device), bf16=config.bf16)
        quality = drawn_qualities(rng, batch.noise, config.codec.lambdas, config.octaves)
        return objective(model, batch, config, quality=quality, rdoq=run.step >= config.rdoq_from)

    def items(self, run: BFrameRun, library: Library) -> Items:
        """Triplets with decoded references, if the recipe has them; and filtered ones, if it has those."""
        count, decoded = run.config.validation_clips, bool(run.config.decoded)
        items = list(validation_items(library, count, multiple=BFrameCodec.multiple, decoded=decoded))
        if run.config.filtered:
            model, device = codec_of(run.model), next(run.model.parameters()).device
            every = torch.tensor([True], device=device)
            shown = [filtered(model, item.batch.to(device), every, bf16=False).to(CPU) for item in items]
            items += [item._replace(batch=batch) for item, batch in zip(items, shown, strict=True)]
        return {"frames": items}

    def validate(self, run: BFrameRun, items: Items, device: torch.device) -> Validation:
        """Costs at some qualities; the score is the mean saving over them.

        The saving is 1 - cost / cost of bitfree, costs being lambda * MSE + bpp summed over the clips. Where the
        network learns too, bitfree is no fixed rival: then the score is against the plain mean of both references.
        """
        config = run.config
        rival = "cost_mean" if config.joint else "cost_free"
        qualities = [q for q in config.validation_qualities if q < len(config.codec.lambdas)] or [0]
        with run.averaged() as model:
            codec = codec_of(model)
            rows = [measure(codec, item, qualities, device, blocks=config.blocks) for item in items["frames"]]
        means = means_of(rows)
        for costs in means:
            costs["saving"] = 1 - costs["cost"] / costs["cost_free"]
        score = float(np.mean([1 - costs["cost"] / costs[rival] for costs in means]))
        return Validation.of_qualities(score, [(f"quality {q}", q) for q in qualities], means)

    def export(self, run: BFrameRun, path: Path) -> None:
        """Write the averaged weights with integer networks and tables frozen. OutputError if it fails.

        A network that learnt too is written first, beside it, as NAME-base.safetensors.
        """
        check_name(path)
        model, base = run.averaged_copy(), run.config.base
        if isinstance(model, Joint):
            base = str(path.with_name(f"{path.stem}-base.safetensors"))
            save_network(model.network, Path(base), **run.notes)
        codec = codec_of(model).eval()
        freeze(codec)
        save_codec(codec, path, base=load_model(base), **run.notes)


TASK = BFrameTask()


def drawn_qualities(rng: np.random.Generator, noise: Tensor, lambdas: Sequence[float], octaves: float) -> Tensor:
    """Indices of lambdas (B,): all equally often, or within `octaves` of what anchors of this noise (B,) trade for."""
    known = torch.tensor(lambdas)
    if not octaves:
        return torch.from_numpy(rng.integers(len(known), size=len(noise))).to(noise.device)
    off = torch.from_numpy(rng.uniform(-octaves, octaves, len(noise)))
    wanted = (TRADED / noise.cpu().clamp(min=QUIET) ** 2).log2() + off
    return (known.log2() - wanted[:, None]).abs().argmin(1).to(noise.device)


@torch.no_grad()
def filtered(model: BFrameCodec, batch: Batch, chosen: Tensor, *, bf16: bool) -> Batch:
    """The batch, the references of `chosen` samples (B,) as the codec's post-filter shows them, in whole levels.

    ModelError if the codec carries no post-filter.
    """
    if not chosen.any():
        return batch
    if model.postfilter is None:
        raise ModelError(
            "bframe.filtered needs a codec that carries a post-filter: give codec.postfilter_width and init"
        )
    noise = torch.where(chosen, batch.noise * LEFT, batch.noise)
    sides = []
    for pictures in (batch.past, batch.future):
        planes = anchor_planes(pictures[chosen])
        with mixed_precision(planes.device, bf16):
            change = model.postfilter(planes, batch.noise[chosen])
        levels = (PEAK * (planes + change)).round().clamp(0, PEAK)
        shown = pictures.clone()
        shown[chosen] = planes_to_rgb(unpacked(levels), Colour(), 8)
        sides.append(shown)
    return batch._replace(past=sides[0], future=sides[1], noise=noise)


def objective(
    model: BFrameCodec, batch: Batch, config: BFrameTraining, *, quality: Tensor, rdoq: bool = True
) -> dict[str, Tensor]:
    """lambda * MSE + bits a pixel for one batch, in scalars: "loss" and what it was made of; quality (B,) is an index.

    A sample's cost counts with lambda^-balance, or the finest qualities would be all that is learnt.
    If `joint`, "student" is the network's own loss on all samples. Those with clean references, should there be others,
    are for the network alone; and no gradient of what is coded goes back into it, or it would lose what bitfree shows.
    """
    student = None
    with mixed_precision(batch.past.device, config.bf16):
        prediction = model.network(batch.past, batch.future, batch.time, batch.noise)
        if config.joint:
            student = reconstruction(prediction.frame, batch.target, config.loss)
            batch, quality, prediction = _to_be_coded(batch, quality, prediction)
    past, target, future, time, noise = batch
    exact = exact_of(past, future, noise)
    tape = Estimate("mixed")
    with mixed_precision(past.device, config.bf16):
        context = model.context(
            past, future, time=time, noise=noise, quality=quality, exact=exact, prediction=prediction
        )
        done = model(tape, context, model.target(context, target, rdoq=rdoq, blocks=config.blocks))
    slope = quality.new_tensor(config.codec.lambdas, dtype=torch.float32)[quality]
    parts = _costs(model, tape, done, target, slope, config)
    return parts if student is None else {"loss": parts.pop("loss") + student, "student": student, **parts}


def _costs(
    model: BFrameCodec, tape: Estimate, done: Reconstruction, target: Tensor, slope: Tensor, config: BFrameTraining
) -> dict[str, Tensor]:
    """ "loss" and what it was made of, in scalars, of what was coded on a tape; slope (B,) is lambda.

    `aid` adds the error of the blend along the decoded motion: a motion that is not yet good for the frame must not
    fall silent. Of the rates, "bpp_z" is what of them goes into hyper-latents: zero means that these have died.
    """
    error, error_free, error_blend = (squared_error(x, target) for x in (done.frame, done.predicted, done.blend))
    pixels = target.shape[2] * target.shape[3]
    parts = ["frame", *(["motion"] if model.motion else []), *(["blocks"] if config.blocks else [])]
    rates = {name: sum_of(tape, name, like=error) / pixels for name in parts}
    cost, cost_free = slope * error + torch.stack(list(rates.values())).sum(0), slope * error_free
    weight = (slope / 256) ** -config.balance
    aid = config.motion_aid * slope * error_blend if model.motion else torch.zeros_like(cost)
    return {
        "loss": (weight * (cost + aid)).mean(),
        **{f"bpp_{name}": value.mean() for name, value in rates.items()},
        "bpp_z": torch.stack([bits for name, bits in tape.bits.items() if name.endswith(".z")]).sum(0).mean() / pixels,
        "psnr": decibels(error).mean(),
        "psnr_free": decibels(error_free).mean(),
        "psnr_blend": decibels(error_blend).mean(),
        "saving": 1 - (weight * cost.detach()).sum() / (weight * cost_free).sum(),
    }


def _to_be_coded(batch: Batch, quality: Tensor, prediction: Prediction) -> tuple[Batch, Tensor, Prediction]:
    """The samples with decoded references, all if there are none, without gradients."""
    chosen = batch.noise > 0
    chosen = chosen if chosen.any() else torch.ones_like(chosen)
    motion = Motion(*(x[chosen].detach() for x in prediction.motion))
    known = Prediction(prediction.frame[chosen].detach(), [motion])
    return Batch(*(x[chosen] for x in batch)), quality[chosen], known


def exact_of(past: Tensor, future: Tensor, noise: Tensor) -> AnchorFeatures:
    """`anchor_features` of references (B,3,H,W) in RGB: their planes come back exactly by our own conversion."""
    planes = [luma_levels(pictures, Colour(), 8) for pictures in (past, future)]
    return anchor_features(planes[0], planes[1], noise.cpu())  # in float64, which not every device has


def sum_of(tape: Estimate, name: str, *, like: Tensor) -> Tensor:
    """Bits of each sample (B,) of a part of the frame, zeros where it has none."""
    coded = any(key.startswith(name) for key in tape.bits)
    return tape.total(name) if coded else torch.zeros_like(like)


@torch.no_grad()
def measure(
    model: BFrameCodec, item: ValidationItem, qualities: list[int], device: torch.device, *, blocks: bool
) -> list[dict[str, float]]:
    """For each quality, rate, distortion and cost of one picture, and what bitfree and no network give, in float32."""
    batch, rows = item.batch.to(device), []
    past, target, future, time, noise = batch
    exact, prediction = exact_of(past, future, noise), model.network(past, future, time, noise)
    pixels = item.width * item.height
    for quality in qualities:
        tape = Estimate("round")
        context = model.context(
            past, future, time=time, noise=noise, quality=quality, exact=exact, prediction=prediction
        )
        done = model(tape, context, model.target(context, target, blocks=blocks))
        slope, bpp = model.config.lambdas[quality], float(tape.total()) / pixels
        motion = float(tape.total("motion")) / pixels if model.motion else 0.0
        mse, free, mean = (item.error(x, target) for x in (done.frame, done.predicted, (past + future) / 2))
        row = {"bpp": bpp, "bpp_motion": motion, "psnr": psnr(mse), "psnr_free": psnr(free)}
        costs = {"cost": slope * mse + bpp, "cost_free": slope * free, "cost_mean": slope * mean}
        rows.append(row | costs)
    return rows
