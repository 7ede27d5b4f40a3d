# SPDX-License-Identifier: MIT
"""ONNX files of the networks that see nothing but pictures: those that predict frames, and post-filters.

kind of weights file       what is exported       inputs                                  output
a network             -->  the network            past, future, time, noise               frame
a B-frame codec       -->  its post-filter        planes, noise                           change

Batch and size are dynamic. docs/applications.md says what the inputs are.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arguments import checked
from ..errors import InputError, ModelError, OutputError
from ..files import PathLike, replacing
from . import store
from .bframe_file import load_codec
from .network_file import load_network
from .registry import find

OPSET = 18
NEEDED = "onnx", "onnxruntime", "onnxscript"
SUFFIX = ".onnx"
EXPORTED, CHECKED = (4, 5), ((5, 4), (17, 18))  # sizes of examples, in units of what they must divide by
LARGEST = 1 << 16  # of these units to a side
CLOSE = 1e-4  # of samples in [0,1]
COUNT, SMOOTH, MOVED, TIME, NOISE = 2, 8, 4, 0.4, 0.02  # of examples


class Part(NamedTuple):
    """A module to export, the names of its inputs and its output, and what the sides of pictures must divide by."""

    module: nn.Module
    pictures: tuple[str, ...]
    channels: int
    numbers: dict[str, float]
    output: str
    multiple: int

    def example(self, rows: int, columns: int) -> dict[str, Tensor]:
        """Inputs by name, of so many units; a second picture shows the first one moved, as one of a video does.

        Between pictures that have nothing in common, rounding alone can move what a network answers by more than CLOSE.
        """
        height, width = self.multiple * rows, self.multiple * columns
        coarse = COUNT, self.channels, height // SMOOTH + 2, width // SMOOTH + 2
        scene = F.interpolate(torch.rand(coarse), (height + MOVED, width + MOVED), mode="bilinear")
        offsets = range(0, MOVED + 1, MOVED)
        pictures = {
            name: scene[..., n : n + height, n : n + width].contiguous()
            for name, n in zip(self.pictures, offsets, strict=False)
        }
        return pictures | {name: torch.full((COUNT,), value) for name, value in self.numbers.items()}


class Frame(nn.Module):
    """The frame alone of what a network answers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, past: Tensor, future: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """(B,3,H,W) from past and future (B,3,H,W), time (B,) and noise (B,)."""
        frame: Tensor = self.network(past, future, time, noise).frame
        return frame


@checked
def export_onnx(model: str, output: PathLike) -> None:
    """Write a model, by name or .safetensors file, as an ONNX file for pictures of any size.

    ModelError if it is missing, holds no network for pictures alone, or if onnxruntime does not answer what torch does;
    InputError without the libraries that write the format; OutputError if the file cannot be written.
    """
    if Path(output).suffix != SUFFIX:
        raise OutputError(f"{output}: a network is exported into a {SUFFIX} file; give such a name")
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InputError(f"--onnx needs {' and '.join(missing)}; install the extra `onnx` of this program")
    part = part_of(find(model))
    with replacing(output) as file:  # before the minutes that it takes
        data = serialised(part)
        for size in CHECKED:
            if (difference := differs(part, data, *size)) > CLOSE:
                raise ModelError(f"model {model!r}: onnxruntime's answer differs from torch's by {difference:.2g}")
        file.write(data)


def part_of(path: Path) -> Part:
    """What is exported of a weights file. ModelError if there is nothing."""
    for kind in (store.TCM, store.NEIGHBOUR):
        if store.holds(path, kind):
            raise ModelError(f"{path}: {store.KINDS[kind]} cannot be exported; a network that predicts frames can")
    if store.holds(path, store.BFRAME):
        alone = load_codec(path).postfilter
        if alone is None:
            raise ModelError(f"{path}: has no post-filter; to export what predicts for it, name that network")
        return Part(alone, ("planes",), 6, {"noise": NOISE}, "change", 1)
    network = load_network(path)
    return Part(Frame(network), ("past", "future"), 3, {"time": TIME, "noise": NOISE}, "frame", network.multiple)


def serialised(part: Part) -> bytes:
    """The bytes of an ONNX file."""
    inputs = part.example(*EXPORTED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of what it calls and will rename
        exported = torch.export.export(part.module, tuple(inputs.values()), dynamic_shapes=_dynamic(part), strict=False)
        program = torch.onnx.export(
            exported,
            input_names=list(inputs),
            output_names=[part.output],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # as long as no file is given
    data: bytes = program.model_proto.SerializeToString()
    return data


@torch.no_grad()
def differs(part: Part, data: bytes, rows: int, columns: int) -> float:
    """The largest difference between onnxruntime's answer and torch's, to an example of so many units."""
    import onnxruntime

    inputs = part.example(rows, columns)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (answer,) = session.run([part.output], {name: value.numpy() for name, value in inputs.items()})
    return float((torch.from_numpy(answer) - part.module(*inputs.values())).abs().max())


def _dynamic(part: Part) -> tuple[dict[int, Any], ...]:
    """For each input its dynamic sides: the first, samples; and of pictures the last two."""
    batch = torch.export.Dim("samples", min=1, max=1 << 10)
    height, width = (torch.export.Dim(name, min=2, max=LARGEST) for name in ("rows", "columns"))
    sides = {0: batch, 2: part.multiple * height, 3: part.multiple * width}
    return (*(sides for _ in part.pictures), *({0: batch} for _ in part.numbers))
