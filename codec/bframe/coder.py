# SPDX-License-Identifier: MIT
"""Payloads of B-frames: written where they lower the Lagrangian cost R + lambda * D, and decoded."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from entropy import EntropyError, Estimate, Read, ReadMany, Write, WriteMany
from ncm import Prediction

from ..bitstream.units import BFramePacket
from ..device import repeatable
from ..errors import StreamError
from ..video.colour import (
    Planes,
    all_rounded,
    crop_planes,
    packed,
    plane_weights,
    rgb_to_planes,
    unpacked,
)
from ..video.metrics import structural_weight
from ..video.picture import Yuv420, pad
from .block_motion import Blocks
from .judge import Judge
from .latent_refinement import Shifted, Shifts, refine
from .loop_filter import best_strengths, code_strengths, strength_bits, strengthened
from .network import BFrameCodec, EncoderTarget, FrameContext, Reconstruction
from .predictor import Predictor
from .records import BLOCKS, FILTERS, LOOP_FILTER, Choice, Interval, ToWrite, Trial
from .side_information import AnchorFeatures, anchor_features, luma_planes
from .wiener_choice import NO_FILTERS, Filters, code_filters, worthwhile
from .wiener_filter import Fit, Vector, filtered, fits_of

PARTS = BLOCKS, FILTERS, LOOP_FILTER  # a payload may have any of them
PACKET_OVERHEAD = 3  # bytes that a payload costs besides its own, about
QUALITY_STEPS = 32  # of the stream's quality byte in one quality of the model
# The lambda of the quality is so many times lower than the slope. RDOQ leaves out symbols that save less than they
# cost, so fewer symbols of larger steps are better: 1 % on eight clips, crf 18 to 33; best of 1 to 2.
COARSER = 2**0.5


class BFrameCoder(Predictor):
    """Reads and writes the B-frames of one video with a model that has a B-frame codec.

    `reader` makes a tape of the bytes of a payload.
    """

    reader: Callable[[bytes], Read] = Read

    @property
    def codec(self) -> BFrameCodec:
        """The B-frame codec of the model; a model without one gets a Predictor instead of this coder."""
        assert self.model.codec is not None  # `predictor` sees to it
        return self.model.codec

    def quality_of(self, slope: float) -> int:
        """The quality byte for a slope, bits a pixel for a unit of MSE of [0,1] RGB: by a lambda a little lower."""
        lambdas = self.codec.config.lambdas
        exact = np.interp(math.log(slope / COARSER), np.log(lambdas), np.arange(len(lambdas)))
        return round(float(exact) * QUALITY_STEPS)

    @repeatable
    @torch.no_grad()
    def read_all(self, intervals: Sequence[Interval], packets: Sequence[BFramePacket]) -> list[Yuv420]:
        """The B-frames that payloads describe, all at once. StreamError if one of them cannot be read."""
        known = BLOCKS | FILTERS | LOOP_FILTER * (self.codec.loop_filter is not None)
        for packet in packets:
            if packet.mode & ~known or packet.quality > (len(self.codec.config.lambdas) - 1) * QUALITY_STEPS:
                raise StreamError(f"payload of mode {packet.mode}, quality {packet.quality}; the model knows none such")
        blocks, filters, looped = (
            torch.tensor([bool(packet.mode & part) for packet in packets], device=self.device) for part in PARTS
        )
        try:
            tapes = [self.reader(packet.data) for packet in packets]
            tape, qualities = ReadMany(tapes), [packet.quality for packet in packets]
            context = self._context(intervals, self.references(intervals), qualities)
            done = self.codec(tape, context, blocks=blocks.view(-1, 1, 1, 1) if blocks.any() else None)
            planes = self._planes(done.frame)
            if looped.any():
                strengths = code_strengths(tape, None, looped)
                planes = strengthened(planes, self._changes(done, context), strengths)
            if filters.any():
                planes = filtered(planes, code_filters(tape, None, filters, like=done.frame))
            for each in tapes:
                each.finish()
        except EntropyError as error:
            raise StreamError(f"its payload cannot be read ({error})") from error
        return all_rounded(planes, self.info.bit_depth)

    @repeatable
    @torch.no_grad()
    def write_all(self, wanted: Sequence[ToWrite]) -> list[Choice]:
        """Code source pictures, all at once, and send what lowers score + bits per pixel.

        The score of a picture that others refer to weighs more (`Interval.weight`); the cost is told without that.
        All of them must have the same effort, be judged alike, and have blocks to start from, or none of them.
        """
        judge, intervals = Judge(wanted, self.info.colour, self.device), [one.interval for one in wanted]
        references = self.references(intervals)
        prediction = self._predictions(intervals, *references)
        pictures = self._all_shown(prediction.frame)
        unsent = judge.scores(pictures)
        free = [Choice(picture, None, [], cost, cost) for picture, cost in zip(pictures, unsent, strict=True)]
        given_up = [one.give_up is not None and one.give_up(cost) for one, cost in zip(wanted, unsent, strict=True)]
        if not any(given_up):
            return self._coded(judge, references, prediction, free)
        rest = [replace(one, give_up=None) for one, ended in zip(wanted, given_up, strict=True) if not ended]
        coded = iter(self.write_all(rest) if rest else [])
        return [choice if ended else next(coded) for choice, ended in zip(free, given_up, strict=True)]

    def _coded(
        self, judge: Judge, references: tuple[Tensor, Tensor], prediction: Prediction, free: Sequence[Choice]
    ) -> list[Choice]:
        """The best trial of each B-frame; what is `free` where that costs no more."""
        wanted = judge.wanted
        slopes = [one.interval.weight * one.slope for one in wanted]
        qualities = [self.quality_of(slope) for slope in slopes]
        frame = self._padded([one.source for one in wanted])
        weight = self._weight(frame, structural=wanted[0].structural)
        context = self._context([one.interval for one in wanted], references, qualities, prediction)
        starts = [one.start for one in wanted if one.start is not None]
        start = Blocks.together(starts) if starts else None
        target = self.codec.target(context, frame, weight=weight, blocks=True, start=start)

        def cost(shifts: Shifts) -> Tensor:
            tape = Estimate("mixed")
            decoded = self.codec(Shifted(tape, shifts), context, target).frame
            error = weight * (decoded - frame).square().mean(1, keepdim=True)
            return (error.new_tensor(slopes) * error.sum((1, 2, 3))).sum() + tape.total().sum()

        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(wanted[0].poc)  # the noise of quantisation: the same video gives the same bytes
            tried = refine(partial(self._attempt, judge, context, target), cost, steps=wanted[0].effort)
        found = [None] * len(wanted) if target.blocks is None else target.blocks.each()
        every = zip(wanted, free, zip(*tried, strict=True), found, qualities, strict=True)
        return [self._best(*each) for each in every]

    @staticmethod
    def _best(wanted: ToWrite, free: Choice, tried: Sequence[Trial], blocks: Blocks | None, quality: int) -> Choice:
        """What to send of one B-frame: the trial that costs least, or nothing."""
        best, weight = min(tried, key=lambda trial: trial.cost), wanted.interval.weight
        if not best.data or best.cost >= weight * free.cost:
            return free._replace(trials=list(tried), blocks=blocks)
        packet = BFramePacket(wanted.poc, best.mode, quality, best.data)
        cost = best.cost - (weight - 1) * best.score
        return Choice(best.picture, packet, list(tried), cost, free.cost, blocks)

    def _attempt(self, judge: Judge, context: FrameContext, target: EncoderTarget, shifts: Shifts) -> list[Trial]:
        """A trial of each B-frame."""
        tapes = [Write() for _ in judge.wanted]
        tape = WriteMany(tapes)
        done = self.codec(Shifted(tape, shifts), context, target)
        planes, strengths = self._planes(done.frame), None
        if self.codec.loop_filter is not None:
            changes = self._changes(done, context)
            strengths = self._strengths(planes, changes, judge)
            if strengths.any():
                planes = strengthened(planes, changes, code_strengths(tape, strengths, strengths.any(1)))
        filters = self._filters(planes, judge)
        if filters is not None:
            planes = filtered(planes, code_filters(tape, filters, filters.used, like=planes[0]))
        modes = _modes(len(tapes), target.blocks, filters, strengths)
        payloads = [own.finish() for own in tapes]
        rates = [8 * (len(payload) + PACKET_OVERHEAD) / self.info.pixels for payload in payloads]
        shown = all_rounded(planes, self.info.bit_depth)
        errors = judge.errors(shown)
        scores = judge.scores(shown, errors)
        costs = [
            one.interval.weight * score + rate for one, score, rate in zip(judge.wanted, scores, rates, strict=True)
        ]
        return list(map(Trial, shown, modes, payloads, costs, scores, errors))

    def _changes(self, done: Reconstruction, context: FrameContext) -> Planes:
        """What the loop filter adds to the planes of decoded B-frames, in levels, without the padding."""
        assert self.codec.loop_filter is not None  # whoever asks has seen that there is one
        colour, depth = self.info.colour, self.info.bit_depth
        peak = (1 << depth) - 1
        pictures = done.frame, context.past, context.future, done.before
        decoded, *references, predicted = (packed(rgb_to_planes(each, colour, depth)) / peak for each in pictures)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.model.half):
            change = self.codec.loop_filter.change(decoded, references, predicted, context.noise)
        return crop_planes(unpacked(peak * change), self.info.width, self.info.height)

    def _strengths(self, planes: Planes, changes: Planes, judge: Judge) -> Tensor:
        """(B,3): eighths of the changes that leave the least error; 0 for a picture where it is not worth its bits."""
        errors = [source - plane for source, plane in zip(judge.levels, planes, strict=True)]
        best = best_strengths(changes, errors)
        shown = (all_rounded(each, self.info.bit_depth) for each in (planes, strengthened(planes, changes, best)))
        before, after = (torch.tensor(judge.weighed(each), device=self.device) for each in shown)
        return best * ((before - after) * self.info.pixels > strength_bits(best))[:, None]

    def _filters(self, planes: Planes, judge: Judge) -> Filters | None:
        """The filters that lower the Lagrangian costs of these decoded planes; None if none does for any picture.

        Lambda of a squared error in levels follows from how much the best filters lower the score.
        """
        fits = list(zip(*map(fits_of, planes, judge.levels), strict=True))
        best = np.array([[fit.best() for fit in own] for own in fits])
        candidates = planes, filtered(planes, torch.from_numpy(best))
        before, after = (judge.weighed(all_rounded(each, self.info.bit_depth)) for each in candidates)
        each = zip(fits, best, before, after, strict=True)
        found = [self._worthwhile(own, rows, old - new) for own, rows, old, new in each]
        if all(one is None for one in found):
            return None
        kinds, weights = zip(*(one or NO_FILTERS for one in found), strict=True)
        return Filters(*(torch.tensor(np.array(part), device=self.device) for part in (kinds, weights)))

    def _worthwhile(self, fits: Sequence[Fit], best: Vector, gained: float) -> tuple[Vector, Vector] | None:
        """Kinds and weights of the filters that are worth their bits; the best weights lower the score by `gained`."""
        weight = plane_weights(self.info.colour)
        errors = -sum(w * float(fit.change(row)) for w, fit, row in zip(weight, fits, best, strict=True))
        if gained <= 0 or errors <= 0:
            return None
        return worthwhile(fits, [w * gained * self.info.pixels / errors for w in weight])

    def _context(
        self,
        intervals: Sequence[Interval],
        references: tuple[Tensor, Tensor],
        qualities: Sequence[int],
        prediction: Prediction | None = None,
    ) -> FrameContext:
        """What is known of B-frames, at quality bytes."""
        if prediction is None:
            # Features are for the teacher, which works for writers alone.
            prediction = self._predictions(intervals, *references)._replace(features=None)
        time, noise = self._times_and_noises(intervals)
        return self.codec.context(
            *references,
            time=time,
            noise=noise,
            quality=torch.tensor(qualities, dtype=torch.float64, device=self.device) / QUALITY_STEPS,
            exact=self._features(intervals),
            prediction=prediction,
        )

    def _weight(self, padded: Tensor, *, structural: bool) -> Tensor:
        """(B,1,H,W): what errors weigh at each pixel of pictures (B,3,H,W); 0 in the padding, which is not shown."""
        height, width = self.info.height, self.info.width
        weight = structural_weight(padded) if structural else torch.ones_like(padded[:, :1])
        weight[..., height:, :] = 0
        weight[..., width:] = 0
        return weight

    def _features(self, intervals: Sequence[Interval]) -> AnchorFeatures:
        """Integer features of the decoded anchors around B-frames, which scales may depend on.

        References that are B-frames are not used: they differ from machine to machine by a level.
        """
        past, future = (
            luma_planes(
                [pad(interval.anchor_pictures[side], self.model.network.multiple).y for interval in intervals],
                self.info.bit_depth,
            )
            for side in (0, 1)
        )
        return anchor_features(past, future, torch.tensor([interval.noise for interval in intervals])).to(self.device)


def _modes(count: int, blocks: Blocks | None, filters: Filters | None, strengths: Tensor | None) -> list[int]:
    """The mode of each B-frame of a batch: what there is in its payload."""
    with_blocks = [False] * count if blocks is None else blocks.used.flatten().tolist()
    with_filters = [False] * count if filters is None else filters.used.tolist()
    looped = [False] * count if strengths is None else strengths.any(1).tolist()
    parts = zip(with_blocks, with_filters, looped, strict=True)
    return [sum(part * has for part, has in zip(PARTS, each, strict=True)) for each in parts]
