# SPDX-License-Identifier: MIT
"""Payloads of B-frames: written where they lower the Lagrangian cost R + lambda * D, and decoded."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from entropy import EntropyError, Estimate, Read, ReadMany, Write
from ncm import Prediction

from ..bitstream.units import BFramePacket
from ..device import repeatable
from ..errors import StreamError
from ..video.colour import Planes, in_levels, plane_weights
from ..video.metrics import structural_weight
from ..video.picture import Yuv420, pad
from .latent_refinement import Shifted, Shifts, refine
from .network import BFrameCodec, FrameContext
from .predictor import Predictor
from .records import BLOCKS, FILTERS, Choice, Interval, Score, ToWrite, Trial
from .side_information import AnchorFeatures, anchor_features, luma_planes
from .wiener_filter import Filters, Fit, code_filters, filtered, worthwhile

MODES = 0, BLOCKS, FILTERS, BLOCKS + FILTERS
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
        """The B-frames that payloads describe, all at once; either all or none of them have blocks.

        StreamError if one of them cannot be read.
        """
        for packet in packets:
            if packet.mode not in MODES or packet.quality > (len(self.codec.config.lambdas) - 1) * QUALITY_STEPS:
                raise StreamError(f"payload of mode {packet.mode}, quality {packet.quality}; the model knows none such")
        try:
            tapes = [self.reader(packet.data) for packet in packets]
            qualities = [packet.quality for packet in packets]
            context = self._context(intervals, self.references(intervals), qualities)
            frame = self.codec(ReadMany(tapes), context, blocks=bool(packets[0].mode & BLOCKS)).frame
            planes = zip(*(x.chunk(len(tapes)) for x in self._planes(frame)), strict=True)
            return [self._read_filters(*each) for each in zip(tapes, packets, planes, strict=True)]
        except EntropyError as error:
            raise StreamError(f"its payload cannot be read ({error})") from error

    def _read_filters(self, tape: Read, packet: BFramePacket, planes: Sequence[Tensor]) -> Yuv420:
        """A picture of decoded planes, by the filters that follow on the tape, if any do."""
        y, u, v = planes
        if packet.mode & FILTERS:
            y, u, v = filtered((y, u, v), code_filters(tape, None, like=y))
        tape.finish()
        return self._rounded((y, u, v))

    @repeatable
    @torch.no_grad()
    def write(self, wanted: ToWrite) -> Choice:
        """Code a source picture, and send that if score + bits per pixel is less with it than without.

        The score of a picture that others refer to weighs more (`Interval.weight`); the cost is told without that.
        """
        interval, source, slope = wanted.interval, wanted.source, wanted.slope
        error = self._errors(source)
        score = self._score(wanted, error)
        references = self.references([interval])
        prediction = self._predictions([interval], *references)
        free = self._shown(prediction.frame)
        unsent = score(free)
        if wanted.give_up is not None and wanted.give_up(unsent):
            return Choice(free, None, [], unsent, unsent)
        slope = interval.weight * slope
        quality = self.quality_of(slope)
        frame = self.reference(source)
        weight = self._weight(frame, structural=wanted.structural)
        context = self._context([interval], references, [quality], prediction)
        target = self.codec.target(context, frame, weight=weight, blocks=True, start=wanted.start)

        def weighed(shown: Yuv420) -> float:
            """What errors cost, those of frames that refer to this one among them."""
            return interval.weight * score(shown)

        def attempt(shifts: Shifts) -> Trial:
            tape = Write()
            planes = self._planes(self.codec(Shifted(tape, shifts), context, target).frame)
            filters = self._filters(planes, source, weighed)
            mode = (BLOCKS if target.blocks else 0) + (FILTERS if filters else 0)
            if filters:
                planes = filtered(planes, code_filters(tape, filters, like=planes[0]))
            shown = self._rounded(planes)
            data = tape.finish()
            rate = 8 * (len(data) + PACKET_OVERHEAD) / self.info.pixels
            return Trial(shown, mode, data, weighed(shown) + rate, error(shown))

        def cost(shifts: Shifts) -> Tensor:
            tape = Estimate("mixed")
            decoded = self.codec(Shifted(tape, shifts), context, target).frame
            error = (decoded - frame).square().mean(1, keepdim=True)
            return slope * (weight * error).sum() + tape.total().sum()

        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(wanted.poc)  # the noise of quantisation: the same video gives the same bytes
            trials = refine(attempt, cost, steps=wanted.effort)
        best = min(trials, key=lambda trial: trial.cost)
        if not best.data or best.cost >= interval.weight * unsent:
            return Choice(free, None, trials, unsent, unsent, target.blocks)
        packet = BFramePacket(wanted.poc, best.mode, quality, best.data)
        cost_alone = best.cost
        if interval.weight > 1:
            alone = score(best.picture)
            cost_alone = best.cost - interval.weight * alone + alone
        return Choice(best.picture, packet, trials, cost_alone, unsent, target.blocks)

    def _filters(self, planes: Planes, source: Yuv420, score: Score) -> Filters | None:
        """The filters that lower the Lagrangian cost of these decoded planes; None if none does.

        Lambda of a squared error in levels follows from how much the best filters lower the score.
        """
        fits = [Fit(*pair) for pair in zip(planes, in_levels(source, self.device), strict=True)]
        best = [fit.best() for fit in fits]
        gained = score(self._rounded(planes)) - score(self._rounded(filtered(planes, torch.tensor(np.array(best)))))
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
            prediction = self._predictions(intervals, *references)
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
        """(1,1,H,W): what errors weigh at each pixel of a picture (1,3,H,W); 0 in the padding, which is not shown."""
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
