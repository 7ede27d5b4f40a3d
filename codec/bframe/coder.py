# SPDX-License-Identifier: MIT
"""Payloads of B-frames: written where they lower the Lagrangian cost R + lambda * D, and decoded."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from entropy import EntropyError, Estimate, Read, Write
from ncm import Prediction

from ..bitstream.units import BFramePacket
from ..device import repeatable
from ..errors import StreamError
from ..video.colour import Planes, in_levels, plane_weights, yuv_to_rgb
from ..video.metrics import structural_weight
from ..video.picture import Yuv420, pad
from .block_motion import Blocks
from .latent_refinement import Shifted, Shifts, refine
from .network import BFrameCodec, FrameContext
from .predictor import Predictor
from .records import Choice, GiveUp, Interval, Score, Trial
from .side_information import AnchorFeatures, anchor_features, luma_plane
from .wiener_filter import Filters, Fit, code_filters, filtered, worthwhile

BLOCKS, FILTERS = 2, 4  # modes: sums of what a payload has; 1 was blocks with hard edges
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
    def read(self, interval: Interval, packet: BFramePacket) -> Yuv420:
        """The B-frame that a payload describes. StreamError if it cannot be read."""
        if packet.mode not in MODES or packet.quality > (len(self.codec.config.lambdas) - 1) * QUALITY_STEPS:
            raise StreamError(f"payload of mode {packet.mode}, quality {packet.quality}; the model knows none such")
        try:
            tape = self.reader(packet.data)
            frame = self.codec(tape, self._context(interval, packet.quality), blocks=bool(packet.mode & BLOCKS)).frame
            planes = self._planes(frame)
            if packet.mode & FILTERS:
                planes = filtered(planes, code_filters(tape, None, like=frame))
            tape.finish()
        except EntropyError as error:
            raise StreamError(f"its payload cannot be read ({error})") from error
        return self._rounded(planes)

    @repeatable
    @torch.no_grad()
    def write(
        self,
        interval: Interval,
        source: Yuv420,
        poc: int,
        *,
        slope: float,
        effort: int = 0,
        score: Score | None = None,
        structural: bool = False,
        give_up: GiveUp | None = None,
        start: Blocks | None = None,
    ) -> Choice:
        """Code a source picture for a slope, and send that if score + bits per pixel is less with it than without.

        The score is slope * MSE of RGB unless another is given; if that is of structure, `structural` weighs errors by
        pixel as it does. `effort` is the number of steps of gradient descent on the latents; the best of all attempts
        is taken. Nothing is tried if `give_up` says so of the prediction's score. Blocks to `start` from were
        found for the same picture between others much like these references.
        """
        score = self._score(score, slope, source)
        prediction = self._prediction(*interval[:4])
        free = self._shown(prediction.frame)
        unsent = score(free)
        if give_up is not None and give_up(unsent):
            return Choice(free, None, [], unsent, unsent)
        quality = self.quality_of(slope)
        frame = yuv_to_rgb(pad(source, self.model.network.multiple), self.info.colour, self.device)
        weight = self._weight(frame, structural=structural)
        context = self._context(interval, quality, prediction)
        target = self.codec.target(context, frame, weight=weight, blocks=True, start=start)

        def attempt(shifts: Shifts) -> Trial:
            tape = Write()
            planes = self._planes(self.codec(Shifted(tape, shifts), context, target).frame)
            filters = self._filters(planes, source, score)
            mode = (BLOCKS if target.blocks else 0) + (FILTERS if filters else 0)
            if filters:
                planes = filtered(planes, code_filters(tape, filters, like=planes[0]))
            shown = self._rounded(planes)
            data = tape.finish()
            rate = 8 * (len(data) + PACKET_OVERHEAD) / self.info.pixels
            return Trial(shown, mode, data, score(shown) + rate, self._error(source, shown))

        def cost(shifts: Shifts) -> Tensor:
            tape = Estimate("mixed")
            decoded = self.codec(Shifted(tape, shifts), context, target).frame
            error = (decoded - frame).square().mean(1, keepdim=True)
            return slope * (weight * error).sum() + tape.total().sum()

        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(poc)  # the noise of quantisation: the same video gives the same bytes
            trials = refine(attempt, cost, steps=effort)
        best = min(trials, key=lambda trial: trial.cost)
        if not best.data or best.cost >= unsent:
            return Choice(free, None, trials, unsent, unsent, target.blocks)
        packet = BFramePacket(poc, best.mode, quality, best.data)
        return Choice(best.picture, packet, trials, best.cost, unsent, target.blocks)

    def _filters(self, planes: Planes, source: Yuv420, score: Score) -> Filters | None:
        """The filters that lower the Lagrangian cost of these decoded planes; None if none does.

        Lambda of a squared error in levels follows from how much the best filters lower the score.
        """
        fits = [Fit(*pair) for pair in zip(planes, in_levels(source, self.device), strict=True)]
        best = [fit.best() for fit in fits]
        gained = score(self._rounded(planes)) - score(self._rounded(filtered(planes, torch.tensor(np.array(best)))))
        weight = plane_weights(self.info.colour)
        errors = -sum(w * fit.change(row) for w, fit, row in zip(weight, fits, best, strict=True))
        if gained <= 0 or errors <= 0:
            return None
        return worthwhile(fits, [w * gained * self.info.pixels / errors for w in weight])

    def _context(self, interval: Interval, quality: int, prediction: Prediction | None = None) -> FrameContext:
        """What is known of a B-frame, at a quality byte."""
        noise = torch.tensor([interval.noise], device=self.device)
        return self.codec.context(
            interval.past,
            interval.future,
            time=interval.time,
            noise=noise,
            quality=quality / QUALITY_STEPS,
            exact=self._features(interval),
            prediction=prediction,
        )

    def _weight(self, padded: Tensor, *, structural: bool) -> Tensor:
        """(1,1,H,W): what errors weigh at each pixel of a picture (1,3,H,W); 0 in the padding, which is not shown."""
        height, width = self.info.height, self.info.width
        weight = structural_weight(padded) if structural else torch.ones_like(padded[:, :1])
        weight[..., height:, :] = 0
        weight[..., width:] = 0
        return weight

    def _features(self, interval: Interval) -> AnchorFeatures:
        """Integer features of the decoded anchors around a B-frame, which scales may depend on.

        References that are B-frames are not used: they differ from machine to machine by a level.
        """
        padded = (pad(anchor, self.model.network.multiple) for anchor in interval.anchor_pictures)
        past, future = (luma_plane(anchor.y, self.info.bit_depth) for anchor in padded)
        return anchor_features(past, future, torch.tensor([interval.noise])).to(self.device)
