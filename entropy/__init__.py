# SPDX-License-Identifier: MIT
"""Latent coders on CompressAI's entropy models and rANS coder. Knows nothing of video.

coder = LatentCoder(48, context=32, qualities=8)
tape = Estimate()                                            # training
y_hat = coder(tape, "motion", y, quality=3.0, context=c)     # tape.total("motion") is bits a sample, differentiable

freeze(coder.eval())                                         # integer weights and tables, into the state_dict
tape = Write()                                               # or Read(data), with y=None and size=(h, w)
y_hat = coder(tape, "motion", y, quality=3.0, context=c)
data = tape.finish()                                         # Read.finish() checks that all was read
"""

from .bottleneck import Bottleneck
from .errors import EntropyError
from .exact import ExactConv2d, to_units
from .fixed import FixedTables, around_zero, choices
from .gain import Gain
from .hyperprior import LatentCoder, freeze, hyper_size
from .strings import Read, ReadMany, Write, WriteMany
from .tables import CdfTables, ScaleTables, Table
from .tape import Coded, DryRun, Estimate, Prior, Tape

__all__ = [
    "Bottleneck",
    "CdfTables",
    "Coded",
    "DryRun",
    "EntropyError",
    "Estimate",
    "ExactConv2d",
    "FixedTables",
    "Gain",
    "LatentCoder",
    "Prior",
    "Read",
    "ReadMany",
    "ScaleTables",
    "Table",
    "Tape",
    "Write",
    "WriteMany",
    "around_zero",
    "choices",
    "freeze",
    "hyper_size",
    "to_units",
]
