# SPDX-License-Identifier: MIT
"""What decodes a stream, found by its header: the anchors' codec, the model, and the loop over both."""

from collections.abc import Container, Iterable
from contextlib import AbstractContextManager

from ..anchors.protocol import AnchorCodec
from ..anchors.registry import anchor_codec
from ..bframe.model import Model
from ..bframe.predictor import Predictor
from ..bitstream.reader import StreamReader
from ..bitstream.units import Header, Unit
from ..device import choose_device, is_half
from ..errors import InputError, StreamError
from ..files import PathLike
from ..models.neighbour_file import load_neighbour
from ..models.open import load_fingerprint, predictor, prepared
from ..models.registry import find_fingerprint
from ..parallel.executor import Executor
from ..parallel.open import executor_for, work_of
from .decoder import Decoder
from .reconstruct import Reconstructor

SECONDS = 7e-6  # to decode a pixel, on one core


def stream_anchor_codec(header: Header, name: str, anchor: str | None, anchor_decoder: PathLike | None) -> AnchorCodec:
    """The codec of a stream's anchors; `anchor` is the .toml file that defines it, if the user has given one.

    InputError if that file defines another, StreamError if the stream names a file: it may not choose what is opened.
    """
    if anchor is None and (header.anchor_codec.endswith(".toml") or not header.anchor_codec):
        raise StreamError(
            f"{name}: its anchors are of {header.anchor_codec!r}, which is no codec; fetch the file again"
        )
    codec = anchor_codec(anchor or header.anchor_codec, decoder=anchor_decoder)
    if codec.name != header.anchor_codec:
        need = f"its anchors are of {header.anchor_codec!r}; leave --anchor out or give that one"
        raise InputError(f"{name}: --anchor is {codec.name!r}, but {need}")
    return codec


def stream_model(header: Header, device: str, precision: str, tile: int | None) -> tuple[Model, Predictor]:
    """The model of a stream by its fingerprint, and what makes B-frames with it. ModelError if it is missing.

    Its precision is that of the stream, unless one is given, or the device would have to emulate it. It predicts by
    tiles, if their side is given, and filters anchors beside their neighbours by what the stream names for that, if it
    does.
    """
    chosen = choose_device(device)
    model = prepared(
        load_fingerprint(header.fingerprint, header.model, chosen),
        turned="averaged" in header.options,
        half=is_half(precision, chosen, streams="half" in header.options),
        tile=tile,
    )
    neighbours = None
    if (named := header.options.get("neighbour_filter")) is not None:
        neighbours = load_neighbour(find_fingerprint(named["fingerprint"], named["name"]), chosen)
    return model, predictor(model, header.info, neighbours)


def executor_of(
    bframes: Predictor, frames: int | None, workers: int | None, cluster: str | None
) -> AbstractContextManager[Executor]:
    """What makes the B-frames of a video of so many frames, if that is known; `workers` are processes.

    They are on a Ray cluster if its address is given.
    """
    return executor_for(bframes, workers, work_of(bframes.info, frames, SECONDS), cluster)


def decoder_of(
    reader: StreamReader,
    units: Iterable[Unit],
    codec: AnchorCodec,
    bframes: Predictor,
    executor: Executor,
    wanted: Container[int],
) -> Decoder:
    """The loop over the units of a reader, for the pictures of some POCs."""
    return Decoder(reader, units, Reconstructor(reader.header.info, codec, bframes, executor), wanted)
