# SPDX-License-Identifier: MIT
"""What an encode is put together from, by its settings: the anchors' codec, the source, networks and measures."""

from typing import NamedTuple

from ..anchors.protocol import AnchorCodec
from ..anchors.registry import anchor_codec
from ..bframe.anchor_filter import AnchorFilter
from ..bframe.model import Model
from ..bframe.neighbour_filter import NeighbourFilter
from ..bframe.predictor import Predictor
from ..bitstream.units import Header
from ..device import choose_device
from ..errors import InputError, ModelError
from ..files import PathLike
from ..gop.structure import longest_group
from ..models.neighbour_file import NamedFilter, named_filter
from ..models.open import predictor
from ..models.registry import DEFAULT_CODEC, find
from ..video.metrics import MS_SSIM_SHORTEST
from ..video.picture import VideoInfo
from ..video.reader import open_source
from ..video.source import VideoSource
from .header import header_of
from .measurement import Measurement
from .presets import SINGLE
from .settings import EncodeSettings


class Parts(NamedTuple):
    """What codes one video and measures it; `postfilter` is None where anchors are shown as they are coded."""

    anchor_codec: AnchorCodec
    bframes: Predictor
    postfilter: AnchorFilter | None
    header: Header
    measurement: Measurement

    @classmethod
    def of(cls, settings: EncodeSettings, info: VideoInfo, anchor_codec: AnchorCodec, model: Model) -> "Parts":
        """The parts that settings ask for. InputError or ModelError where they cannot be had."""
        neighbours = neighbours_of(settings, model, anchor_codec)
        bframes = predictor_of(settings, model, info, neighbours.network if neighbours else None)
        header = header_of(settings, info, anchor_codec, model, neighbours)
        postfilter = bframes.anchor_filter if is_filtered(settings, model) else None
        measurement = Measurement(info, settings)
        if settings.structural and min(info.width, info.height) < MS_SSIM_SHORTEST:
            raise InputError(f"--tune {settings.tune} needs sides of {MS_SSIM_SHORTEST} and more; take psnr")
        return cls(anchor_codec, bframes, postfilter, header, measurement)


def anchor_codec_of(settings: EncodeSettings) -> AnchorCodec:
    """The anchors' codec, for the distance between anchors and the quality that are wanted."""
    distance = settings.distance or 1
    longest = longest_group(settings.intra_period, distance)
    codec = anchor_codec(
        settings.anchor,
        preset=settings.encoder_preset,
        crf=settings.crf,
        qp=settings.qp,
        params=settings.anchor_params,
        structural=settings.structural,
        anchor_distance=distance,
        longest_group=longest,
        encoder=settings.anchor_encoder,
        decoder=settings.anchor_decoder,
    )
    return codec.variant(distance=distance, longest_group=longest, finer=settings.finer) if settings.finer else codec


def source_of(src: PathLike, settings: EncodeSettings) -> VideoSource:
    """The video to be coded, opened. InputError as `open_source`."""
    return open_source(src, size=settings.size, frame_rate=settings.frame_rate, pixel_format=settings.pixel_format)


def is_filtered(settings: EncodeSettings, model: Model) -> bool:
    """Whether anchors may be filtered. ModelError if that is asked for and the model cannot."""
    able = model.codec is not None and model.codec.postfilter is not None
    if settings.postfilter and not able:
        remedy = f"give --model one that has, such as {DEFAULT_CODEC!r}"
        raise ModelError(f"model {model.name!r} has no filter for anchors; {remedy}, or leave --postfilter out")
    return able and (settings.mode == "auto" if settings.postfilter is None else settings.postfilter)


def neighbours_of(settings: EncodeSettings, model: Model, anchor_codec: AnchorCodec) -> NamedFilter | None:
    """What filters anchors beside their neighbours, if anything does. ModelError if it cannot be loaded."""
    name = settings.neighbour_filter(restored=anchor_codec.restores)
    if name == SINGLE or not is_filtered(settings, model):
        return None
    return named_filter(find(name), choose_device(settings.device))


def predictor_of(
    settings: EncodeSettings, model: Model, info: VideoInfo, neighbours: NeighbourFilter | None
) -> Predictor:
    """What makes B-frames in this mode. ModelError if they are to be coded and the model only predicts."""
    if settings.mode == "bitfree":
        return Predictor(model, info, neighbours)
    if model.codec is None:
        need = f"--mode {settings.mode} needs one that codes, such as {DEFAULT_CODEC!r}; or give --mode bitfree"
        raise ModelError(f"model {model.name!r} only predicts; {need}")
    return predictor(model, info, neighbours)
