# SPDX-License-Identifier: MIT
"""A run of the B-frame codec between two steps: its recipe, state, validation and export."""

import copy
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from entropy import Estimate, freeze

from ..bframe.config import BFrameConfig
from ..bframe.network import BFrameCodec
from ..models.bframe_file import save_codec
from ..models.network_file import save_network
from ..models.open import load as load_model
from ..models.registry import DEFAULT_MODEL, find
from ..models.store import check_name
from .data import Library
from .recipe import CodecTraining, resumed
from .sampling import ValidationItem, validation_items
from .state import TrainState, load_weights, matches, optimizer_of, read_checkpoint
from .watch import Watch

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BFrameTraining(CodecTraining):
    """One run: what training a network has (without `supervise` and the teacher; `loss` if `joint`), and this."""

    codec: BFrameConfig = field(default_factory=BFrameConfig)
    base: str = DEFAULT_MODEL  # the network that predicts: a name, or a .safetensors file
    joint: bool = False  # whether it learns on beside the codec, from `loss` alone; its names begin with "network."
    balance: float = 0.5  # costs count with lambda^-balance; 0 = the paper's plain sum
    motion_aid: float = 0.1  # weight of lambda * MSE of the blend along the decoded motion
    rdoq_from: int = 1000  # step; before, symbols are the nearest: sparing bits by scales not yet learnt leaves none
    blocks: bool = True  # of the references are copied where the writer would
    validation_qualities: tuple[int, ...] = (1, 3, 5)  # those that a model has

    table = "bframe"
    sizes = BFrameConfig


class Joint(nn.Module):
    """A codec and the network it stands on as one module, names of the network's weights beginning with "network."."""

    multiple = BFrameCodec.multiple

    def __init__(self, codec: BFrameCodec) -> None:
        super().__init__()
        self._codec = (codec,)  # in a tuple, where torch does not find it
        for name, part in codec.named_children():
            self.add_module(name, part)
        self.network = codec.network

    @property
    def codec(self) -> BFrameCodec:
        """The codec."""
        return self._codec[0]


@dataclass
class BFrameState(TrainState):
    """What a checkpoint holds; `average` has parameters alone, and `best_psnr` is the best so far: see `BWatch`."""

    config: BFrameTraining
    model: BFrameCodec | Joint  # type: ignore[assignment]  # trained by the same rules, but another network

    @property
    def codec(self) -> BFrameCodec:
        """The codec, whatever is trained."""
        return self.model.codec if isinstance(self.model, Joint) else self.model


def start_bframe(config: BFrameTraining, data: str, device: torch.device) -> BFrameState:
    """A run before its first step."""
    torch.manual_seed(config.seed)
    network = load_model(config.base, device).network.to(memory_format=torch.channels_last)
    codec = BFrameCodec(config.codec, network)
    if config.init:
        load_weights(codec, find(config.init), config.may_be_missing)
    codec = codec.to(device).to(memory_format=torch.channels_last)
    model = Joint(codec) if config.joint else codec
    if config.joint:
        network.requires_grad_()
    for name, parameter in model.named_parameters():
        if matches(name, config.freeze):
            parameter.requires_grad_(False)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    return BFrameState(config, model, average, optimizer_of(model, config), data)


def resume_bframe(run: Path, device: torch.device, *, steps: int | None = None) -> BFrameState:
    """The run as it was when its checkpoint was written; InputError if it has none that can be read."""
    return resumed(run, device, BFrameTraining, start_bframe, steps=steps)


def is_bframe_run(run: Path) -> bool:
    """Whether a run trains a B-frame codec, and not a network. InputError if it has no checkpoint."""
    return "codec" in json.loads(read_checkpoint(run, torch.device("cpu"))["config"])["train"]


class BWatch(Watch):
    """Keeps a run's log and clock, validates, and saves when that is due."""

    state: BFrameState  # type: ignore[assignment]

    def find_items(self, library: Library) -> dict[str, list[ValidationItem]]:
        """See Watch."""
        count, decoded = self.state.config.validation_clips, bool(self.state.config.decoded)
        return {"frames": list(validation_items(library, count, multiple=self.state.codec.multiple, decoded=decoded))}

    def validate(self) -> None:
        """Measure the averaged weights at some qualities; keep them as best.safetensors if they are the best so far.

        The saving is 1 - cost / cost of bitfree, costs being lambda * MSE + bpp summed over the clips; the run's is
        the mean over qualities. Where the network learns too, bitfree is no fixed rival: then the best has saved most
        on the plain mean of both references.
        """
        state, savings = self.state, []
        rival = "cost_mean" if state.config.joint else "cost_free"
        qualities = [q for q in state.config.validation_qualities if q < len(state.config.codec.lambdas)] or [0]
        with averaged(state) as model:
            rows = [
                measure(model, item, qualities, self.device, blocks=state.config.blocks)
                for item in self.items["frames"]
            ]
        for index, quality in enumerate(qualities):
            means = {name: float(np.mean([row[index][name] for row in rows])) for name in rows[0][index]}
            means["saving"] = 1 - means["cost"] / means["cost_free"]
            savings.append(1 - means["cost"] / means[rival])
            shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            log.info("step %d: quality %d  %s", state.step, quality, shown)
            self._record({f"valid{quality}_{name}": value for name, value in means.items()})
        if np.mean(savings) > state.best_psnr:
            state.best_psnr = float(np.mean(savings))
            export_bframe(state, self.run / "best.safetensors")
        self.clock = time.monotonic()  # validation is not training time


@torch.no_grad()
def measure(
    model: BFrameCodec, item: ValidationItem, qualities: list[int], device: torch.device, *, blocks: bool
) -> list[dict[str, float]]:
    """For each quality, rate, distortion and cost of one picture, and what bitfree and no network give, in float32."""
    from .bframe import exact_of

    batch, rows = item.batch.to(device), []
    past, target, future, time, noise = batch
    exact = exact_of(past, future, noise)
    prediction = model.network(past, future, time, noise)
    pixels = item.width * item.height

    def error(frame: Tensor) -> float:
        return float((frame - target)[:, :, : item.height, : item.width].square().mean())

    for quality in qualities:
        tape = Estimate("round")
        context = model.context(
            past, future, time=time, noise=noise, quality=quality, exact=exact, prediction=prediction
        )
        done = model(tape, context, model.target(context, target, blocks=blocks))
        slope, bpp = model.config.lambdas[quality], float(tape.total()) / pixels
        motion = float(tape.total("motion")) / pixels if model.motion else 0.0
        mse, free = error(done.frame), error(done.predicted)
        psnr, psnr_free = (-10 * float(np.log10(e + 1e-10)) for e in (mse, free))
        row = {"bpp": bpp, "bpp_motion": motion, "psnr": psnr, "psnr_free": psnr_free}
        costs = {"cost": slope * mse + bpp, "cost_free": slope * free, "cost_mean": slope * error((past + future) / 2)}
        rows.append(row | costs)
    return rows


@contextmanager
def averaged(state: BFrameState) -> Iterator[BFrameCodec]:
    """The model in evaluation mode with its averaged weights, for as long as the context lasts."""
    with parameters_in(state.model, state.average):
        state.model.eval()
        yield state.codec.eval()


@contextmanager
def parameters_in(model: nn.Module, values: dict[str, Tensor]) -> Iterator[None]:
    """Other values in a model's parameters, for as long as the context lasts."""
    current = {name: value.detach().clone() for name, value in model.named_parameters()}
    put_parameters(model, values)
    try:
        yield
    finally:
        put_parameters(model, current)


@torch.no_grad()
def put_parameters(model: nn.Module, values: dict[str, Tensor]) -> None:
    """Set a model's parameters."""
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])


def export_bframe(state: BFrameState, path: Path) -> None:
    """Write the averaged weights with integer networks and tables frozen, and what made them as metadata.

    A network that learnt too is written first, beside it, as NAME-base.safetensors.
    """
    check_name(path)
    model = copy.deepcopy(state.model)
    put_parameters(model, state.average)
    base = load_model(state.config.base)
    if isinstance(model, Joint):
        beside = path.with_name(f"{path.stem}-base.safetensors")
        save_network(model.network, beside, **state.notes)
        base, model = load_model(str(beside)), model.codec
    freeze(model.eval())
    save_codec(model, path, base=base, **state.notes)
